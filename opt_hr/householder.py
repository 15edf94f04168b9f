"""Householder reflections: P = Q R, Q = H_1 ... H_{n-1}, each H_i sending its column to +norm * e_1.

One of the maps of OPT (Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3).

The QR factors are unique up to signs. The reflections make R_ii > 0 for i < n and, being n - 1, det Q = (-1)^(n-1),
which settles the sign of the last column. So the columns of P are orthonormalised, P^T = L S with S orthogonal, as
fast as by Gram-Schmidt, and the last row of S gets the sign that the product of the reflections has: Q = S^T D.
"""

import numpy as np

from common.compat import tf
from common.graph import orthonormal
from common.graph.map_arguments import checked

_NAME = "householder"


def householder(generator, weights, method="auto"):
    """Returns Q(generator) @ weights.

    With G the gradient of Y = Q W = S^T (D W): W' = D (S G), and as the gradient of S is (D W) G^T, that of P^T is
    L^-T U S with U the strict upper triangle of (D W)(S G)^T - (S G)(D W)^T.

    Args:
      generator: P, [n, n] with n >= 1, float32 or float64. Q does not depend on the scale of its columns.
      weights: [n, m], of the same type. With the identity the result is Q.
      method: how to factor, see `orthonormal.factor`.

    Returns:
      [n, m], of the same type.

    Raises:
      ValueError: shapes or types do not fit.
      tf.errors.InvalidArgumentError: at run time, the generator is not finite, a column of it is zero, or one before
        the last depends on those before it. The last may: Q is made of the n - 1 columns before it.
    """
    generator, weights = checked(_NAME, generator, weights)
    size = int(generator.shape[0])

    @tf.custom_gradient
    def rotate(generator, weights):
        factors = orthonormal.factor(_NAME, generator, by_rows=False, method=method)
        last = (-1.0) ** (size - 1) * orthonormal.determinant_sign(factors.rows)
        signs = tf.where_v2(np.arange(size)[:, np.newaxis] == size - 1, last, tf.constant(1, last.dtype))
        signed = signs * weights

        def gradient(upstream):
            turned = tf.matmul(factors.rows, upstream)
            return orthonormal.pull_back(factors, signed, turned), signs * turned

        return tf.matmul(factors.rows, signed, transpose_a=True), gradient

    return rotate(generator, weights)
