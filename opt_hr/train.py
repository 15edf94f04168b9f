"""OPT with Householder reflections. Run `python train.py --help`."""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.kernels import rotated
from common.orthonormal import METHODS
from common.program import main
from common.recipe import Method
from opt_hr.householder import householder

WAYS = {way: rotated(functools.partial(householder, method=way)) for way in METHODS}
METHOD = Method("opt_hr", rotated(householder), map_methods=WAYS)

if __name__ == "__main__":
    main(METHOD)
