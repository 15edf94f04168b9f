"""OPT with the Cayley transform. Run `python train.py --help`."""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from common.cli.recipe import Method
from common.nn.kernels import rotated
from opt_cp.cayley import METHODS, cayley

WAYS = {way: rotated(functools.partial(cayley, method=way)) for way in METHODS}
METHOD = Method("opt_cp", rotated(cayley), map_methods=WAYS, widths=(32, 64, 128, 128))

if __name__ == "__main__":
    main(METHOD)
