"""Riemannian batch normalization with SGD-G and Adam-G. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from grassmann.program import Grassmann

METHOD = Grassmann()

if __name__ == "__main__":
    main(METHOD)
