"""Gram-Schmidt by the Cholesky factor of the whole Gram matrix, in float64: few operations, most of them products.

    A A^T = L L^T,    S = L^-1 A

(Stathopoulos and Wu, SIAM J. Sci. Comput. 23, 2002.) As many digits are lost as the square of the condition number
has: of 16 enough are left for a float32 matrix. One correction doubles them. L^-1 is lower triangular whatever rounding
did to it, so the exact Gram-Schmidt vectors of A are those of S. With S S^T = I + E they are (I - D) S up to E^2, D
lower triangular with D + D^T = E.

This is for GPUs, on which an operation costs 13 microseconds, however small, and products next to nothing. On GPUs that
are slow in float64 the panels of `orthonormal` are faster.
"""

import collections

import numpy as np

from common.compat import tf
from common.graph.linalg import diagonal, triangle_inverse

# S and L^-1 [b, n, n] of the vectors' type, the diagonals of L [b, n] in float64, and whether S is orthonormal to the
# precision of the vectors' type, bool [b].
Factored = collections.namedtuple("Factored", ["rows", "inverse", "diagonal", "trusted"])


def cholesky_qr(vectors, passes=1):
    """Returns the `Factored` of unit vectors, the rows of A [b, n, n], float32 or float64.

    One pass is good for float32 up to condition numbers of 1e6. Two are good up to 1e8: the second orthonormalises the
    rows that the first has left. Where A A^T has no Cholesky factor in float64 nothing is to be trusted, and there is
    no error.
    """
    rows = tf.cast(vectors, tf.float64)
    inverse, scales = None, None
    for _ in range(passes):
        triangle = tf.linalg.cholesky(tf.matmul(rows, rows, transpose_b=True))
        of_pass, of_diagonal = triangle_inverse(triangle), diagonal(triangle)
        rows = tf.matmul(of_pass, rows)
        inverse = of_pass if inverse is None else tf.matmul(of_pass, inverse)
        scales = of_diagonal if scales is None else of_diagonal * scales
    square = tf.linalg.band_part(tf.matmul(rows, rows, transpose_b=True), -1, 0)
    correction = tf.linalg.set_diag(square, 0.5 * diagonal(square) - 0.5)
    rows, inverse = [tf.cast(known - tf.matmul(correction, known), vectors.dtype) for known in (rows, inverse)]
    # |E|_F is at most twice this norm, which is of half of E, and E^2 is what remains.
    size = tf.math.reduce_euclidean_norm(correction, [1, 2])
    return Factored(rows, inverse, scales, size <= np.finfo(vectors.dtype.as_numpy_dtype).eps ** 0.5)
