"""Riemannian batch normalization with SGD-G and Adam-G. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.start import main
from grassmann.settings import Settings


def method():
    from grassmann.program import Grassmann
    return Grassmann()


if __name__ == "__main__":
    main(Settings, method)
