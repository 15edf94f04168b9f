"""OPT with Löwdin's symmetric orthogonalisation. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.settings import OptSettings as Settings
from common.cli.start import main


def method():
    from common.cli.recipe import Method
    from opt_ls.lowdin import lowdin
    return Method("opt_ls", lowdin, short_lr=0.01, fashion_lr=0.2, short_steps=400)


if __name__ == "__main__":
    main(Settings, method)
