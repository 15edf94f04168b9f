"""OPT with a penalty in place of a map. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from opt_or.method import OrthogonalRegularisation

METHOD = OrthogonalRegularisation()

if __name__ == "__main__":
    main(METHOD)
