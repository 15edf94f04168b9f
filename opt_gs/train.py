"""OPT with Gram-Schmidt orthogonalisation. Run `python train.py --help`."""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.cli.program import main
from common.cli.recipe import Method
from common.graph.orthonormal import METHODS
from common.nn.kernels import rotated
from opt_gs.gram_schmidt import gram_schmidt

WAYS = {way: rotated(functools.partial(gram_schmidt, method=way)) for way in METHODS}
METHOD = Method("opt_gs", rotated(gram_schmidt), map_methods=WAYS)

if __name__ == "__main__":
    main(METHOD)
