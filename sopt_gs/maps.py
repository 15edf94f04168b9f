"""The maps that stochastic OPT can rotate its subsets with; each has a generator at which its Q is the identity.

An episode begins at that generator, `kernels.identity_of` the map, with the kernels that the last episode has left.
"""

from common.graph.linalg import padded_by_identity
from opt_cp.cayley import cayley
from opt_gs.gram_schmidt import gram_schmidt
from opt_hr.householder import householder, last_row_negated
from opt_ls.lowdin import lowdin


def proper_householder(generator, weights, algorithm="auto", names=None):
    """Returns Q(P) D @ weights, Q of `householder`, D = diag(1, ..., 1, (-1)^(n-1)); arguments are that map's.

    det Q(P) = (-1)^(n-1) whatever P is, so for even n, 144 in the paper's layers, no generator gives the identity, and
    an episode would begin with a reflection. Where n is even, D takes the reflection back: Q(P) D has determinant 1 for
    every P, covers all rotations, as the other maps do, and is the identity at P = I.
    """
    if int(generator.shape[-1]) % 2 == 0:
        weights = last_row_negated(weights)
    return householder(generator, weights, algorithm, names)


proper_householder.algorithms = householder.algorithms
proper_householder.scale_free_axis = householder.scale_free_axis
proper_householder.pad = padded_by_identity  # Q D is a rotation whatever n is

MAPS = {"gs": gram_schmidt, "hr": proper_householder, "ls": lowdin, "cp": cayley}
