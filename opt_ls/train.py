"""OPT with Löwdin's symmetric orthogonalisation. Run `python train.py --help`."""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from common.cli.recipe import SHORTER_STEPS, Method
from common.nn.kernels import rotated
from opt_ls.lowdin import METHODS, lowdin

WAYS = {way: rotated(functools.partial(lowdin, method=way)) for way in METHODS}
METHOD = Method("opt_ls", rotated(lowdin), map_methods=WAYS, short_steps=SHORTER_STEPS)

if __name__ == "__main__":
    main(METHOD)
