"""OPT with orthogonality-preserving gradient descent. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.start import main
from opt_ogd.settings import OgdSettings as Settings


def method():
    from opt_ogd.method import Ogd
    return Ogd()


if __name__ == "__main__":
    main(Settings, method)
