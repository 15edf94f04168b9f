"""OPT with a penalty in place of a map. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.settings import OptSettings as Settings
from common.cli.start import main


def method():
    from opt_or.method import OrthogonalRegularisation
    return OrthogonalRegularisation()


if __name__ == "__main__":
    main(Settings, method)
