"""OPT with Gram-Schmidt orthogonalisation. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.settings import OptSettings as Settings
from common.cli.start import main


def method():
    from common.cli.recipe import Method
    from opt_gs.gram_schmidt import gram_schmidt
    return Method("opt_gs", gram_schmidt, fashion_lr=0.03)


if __name__ == "__main__":
    main(Settings, method)
