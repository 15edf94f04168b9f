"""The optimizers under the names that the original program gives them.

    import grassmann_optimizer                      # in this folder, as the original's programs do
    from grassmann import grassmann_optimizer       # with this repository on the path: the same classes

SgdG and AdamG stand in common/riemannian/optimizers.py, HybridOptimizer in grassmann/optimizers.py.
"""

import os
import sys

if not __package__:  # imported in this folder: the root is made known
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from grassmann.optimizers import AdamG as AdamgOptimizer
from grassmann.optimizers import HybridOptimizer
from grassmann.optimizers import SgdG as SgdgOptimizer

__all__ = ["AdamgOptimizer", "HybridOptimizer", "SgdgOptimizer"]
