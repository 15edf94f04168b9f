"""OPT with Householder reflections. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.settings import OptSettings as Settings
from common.cli.start import main


def method():
    from common.cli.recipe import Method
    from opt_hr.householder import householder
    return Method("opt_hr", householder, fashion_lr=0.2)


if __name__ == "__main__":
    main(Settings, method)
