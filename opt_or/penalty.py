"""How far a square matrix is from orthogonal, as a term of a loss: ||P P^T - I||_F."""

from common.compat import tf
from common.graph.linalg import identity, matmul


@tf.custom_gradient
def excess_norm(matrix):
    """Returns ||E||_F, E = P P^T - I, of P [n, n], float32 or float64: a scalar.

    The gradient is 2 E P / ||E||_F. Where P is orthogonal the norm has a corner, its least value. There the quotient
    would be 0 / 0, and the subgradient 0 is taken.
    """
    excess = matmul(matrix, matrix, transpose_b=True) - identity(int(matrix.shape[0]), matrix.dtype)
    norm = tf.norm(excess)

    def gradient(upstream):
        return 2.0 * upstream * matmul(tf.math.divide_no_nan(excess, norm), matrix)

    return norm, gradient
