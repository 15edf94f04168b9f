"""Gram-Schmidt on the rows of P, in order: P = L Q with L lower triangular and its diagonal positive.

One of the maps of OPT (Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3).
"""

from common.compat import tf
from common.graph import orthonormal
from common.graph.map_arguments import checked

_NAME = "gram_schmidt"


def gram_schmidt(generator, weights, method="auto"):
    """Returns Q(generator) @ weights.

    With G the gradient of Y = Q W: W' = Q^T G, and as dL(Q) = <G W^T, dQ> and (G W^T) Q^T = G Y^T,
    P' = L^-T U Q with U the strict upper triangle of G Y^T - Y G^T. The gradient takes L and Q from the forward pass.
    Of P's last row it only counts on which side of the others' hyperplane it is: its gradient is zero, and where P goes
    through det P = 0 the last row of Q turns round.

    Args:
      generator: P, [n, n] with n >= 1, float32 or float64. Q does not depend on the scale of its rows.
      weights: [n, m], of the same type. With the identity the result is Q.
      method: how to factor, see `orthonormal.factor`.

    Returns:
      [n, m], of the same type.

    Raises:
      ValueError: shapes or types do not fit.
      tf.errors.InvalidArgumentError: at run time, the generator is not finite, a row of it is zero, or one before the
        last depends on those before it.
    """
    generator, weights = checked(_NAME, generator, weights)

    @tf.custom_gradient
    def rotate(generator, weights):
        factors = orthonormal.factor(_NAME, generator, by_rows=True, method=method)
        rotated = tf.matmul(factors.rows, weights)

        def gradient(upstream):
            turned_back = tf.matmul(factors.rows, upstream, transpose_a=True)
            return orthonormal.pull_back(factors, upstream, rotated), turned_back

        return rotated, gradient

    return rotate(generator, weights)
