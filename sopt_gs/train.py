"""Stochastic OPT, with Gram-Schmidt or another map. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from sopt_gs.method import StochasticOpt

METHOD = StochasticOpt()

if __name__ == "__main__":
    main(METHOD)
