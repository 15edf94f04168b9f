"""Stochastic OPT, with Gram-Schmidt or another map. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from common.cli.start import main
from sopt_gs.settings import EpisodeSettings as Settings


def method():
    from sopt_gs.method import StochasticOpt
    return StochasticOpt()


if __name__ == "__main__":
    main(Settings, method)
