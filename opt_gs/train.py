"""OPT with Gram-Schmidt orthogonalisation. Run `python train.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common.kernels import rotated
from common.program import main
from common.recipe import Method
from opt_gs.gram_schmidt import gram_schmidt

METHOD = Method("opt_gs", rotated(gram_schmidt))

if __name__ == "__main__":
    main(METHOD)
