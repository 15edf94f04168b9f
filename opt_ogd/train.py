"""OPT with orthogonality-preserving gradient descent. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from opt_ogd.method import Ogd

METHOD = Ogd()

if __name__ == "__main__":
    main(METHOD)
