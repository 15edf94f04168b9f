"""OPT with Householder reflections. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.kernels import rotated
from common.program import main
from common.recipe import Method
from opt_hr.householder import householder

METHOD = Method("opt_hr", rotated(householder))

if __name__ == "__main__":
    main(METHOD)
