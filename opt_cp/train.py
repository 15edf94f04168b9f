"""OPT with the Cayley transform. Run `python train.py --help`."""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.kernels import rotated
from common.program import main
from common.recipe import Method
from opt_cp.cayley import METHODS, cayley

WAYS = {way: rotated(functools.partial(cayley, method=way)) for way in METHODS}
METHOD = Method("opt_cp", rotated(cayley), map_methods=WAYS, widths=(32, 64, 128, 128))

if __name__ == "__main__":
    main(METHOD)
