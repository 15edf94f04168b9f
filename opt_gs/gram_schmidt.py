"""Gram-Schmidt on the rows of P, in order: P = L Q with L lower triangular and its diagonal positive.

One of the maps of OPT (Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3).
"""

import functools

from common.graph import linalg, orthonormal
from common.graph.linalg import matmul
from common.graph.members import run_algorithm


def gram_schmidt(generator, weights, algorithm="auto", names=None):
    """Returns Q(generator) @ weights.

    With G the gradient of Y = Q W: W' = Q^T G. The gradient of Q is G W^T, and (G W^T) Q^T = G Y^T, so P' = L^-T U Q
    with U the strict upper triangle of G Y^T - Y G^T. The gradient takes L and Q from the forward pass.
    Q takes nothing of P's last row but on which side of the other rows' hyperplane it is. So the last row's gradient is
    zero, and where P goes through det P = 0 the last row of Q changes its sign.

    Args:
      generator: P [..., n, n] with n >= 1, float32 or float64. Q does not depend on the scale of its rows.
      weights: W [..., n, m], of the same type. With the identity the result is Q.
      algorithm: how to factor, see `orthonormal.factor`.
      names: of the members of the batch, for messages.

    Returns Q W [..., n, m], of the same type.

    Raises:
      ValueError: arguments do not fit.
      tf.errors.InvalidArgumentError: when run, a generator is not finite, a row of it is zero, or one before the last
        depends on those before it.
    """
    return run_algorithm("gram_schmidt", _ALGORITHMS, algorithm, generator, weights, names)


def _rotate(generator, weights, members, algorithm):
    factors = orthonormal.factor(generator, members, by_rows=True, algorithm=algorithm)
    rotated = matmul(factors.rows, weights)

    def gradient(upstream):
        of_weights = matmul(factors.rows, upstream, transpose_a=True)
        return orthonormal.pull_back(factors, upstream, rotated), of_weights

    return rotated, gradient


_ALGORITHMS = {name: functools.partial(_rotate, algorithm=name) for name in orthonormal.ALGORITHMS}
gram_schmidt.algorithms = tuple(_ALGORITHMS)
gram_schmidt.scale_free_axis = -1  # rows
gram_schmidt.pad = linalg.padded_by_identity
