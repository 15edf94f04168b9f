"""Orthogonality-preserving gradient descent in coordinates that move along with the matrix: half of the products.

The published iteration (see ogd.py) multiplies with X^T and with X alternately. Where X X^T = I it can be written in
U = G X^T, the relative gradient (Cardoso and Laheld, "Equivariant adaptive source separation", IEEE Transactions on
Signal Processing 44, 1996): if X becomes (I + E) X, the loss changes by <U, E>. A layer Y = X W0 with the upstream
gradient D has U = D Y^T, without G = D W0^T.
"""

from common.compat import tf
from common.graph import linalg
from common.graph.linalg import euclidean_norm, matmul, transposed
from common.graph.members import run_algorithm

_LEAST = 1e-30  # of a: without a rate X stays where it is, and R follows the gradients nonetheless


def rotate_relative(matrix, weights, algorithm="auto", names=None):
    """Returns matrix @ weights, whose gradient for the matrix is the relative one: for `relative_gradient_step` only.

    With Y = X W0 and D the gradient of Y, the gradient of X is U = D Y^T = G X^T, where G = D W0^T is the ordinary one.
    The gradient of W0 is X^T D.

    Args:
      matrix: X [..., n, n], float32 or float64.
      weights: W0 [..., n, m], of the same type.
      algorithm: "auto", the only one.
      names: not used; maps have it.

    Raises ValueError where arguments do not fit.
    """
    return run_algorithm("rotate_relative", _ALGORITHMS, algorithm, matrix, weights, names)


def _product(matrix, weights, _):
    rotated = matmul(matrix, weights)

    def gradient(upstream):
        return matmul(upstream, rotated, transpose_b=True), matmul(matrix, upstream, transpose_a=True)

    return rotated, gradient


_ALGORITHMS = {"auto": _product}
rotate_relative.algorithms = tuple(_ALGORITHMS)


def relative_gradient_step(point, relative_gradient, momentum, learning_rate, beta):
    """One step of Cayley SGD with momentum for an orthogonal matrix, from its relative gradient.

    With R standing for -2 X M^T of the published momentum M:

        B <- beta/2 R - U;  W = (B - B^T) / 2;  a = min(eta, 1 / (|W|_F + 1e-8));
        H = a/2 W;  V = H + H^2;  Z = V + H^2 V;  X <- X + 2 Z X;  R <- (8 / a) Z - 2 W

    Where X X^T = I this W is the published one: W^ - W^^T is the skew part of (beta M - G) X^T. The new X is the result
    of three passes of the published loop Y <- X + a/2 W (X + Y), begun at X + a W X as there: the Cayley transform up
    to a^5. Published are two passes; the third costs no product here. With it a plane that rotates by an angle up to t
    shrinks by the factor 1 - t^6/32 instead of 1 - t^4/8: X stays orthogonal, on which W relies. The published M = W X,
    seen from the X of two passes, is X M^T = -(W + a W^2 + a^2/2 W^3 + a^3/4 W^4), which is -R / 2 of the new R and
    costs no product either. So there are three products of n x n matrices in place of six. As each pass over a large
    matrix counts, factors are taken by scalars where they can be.

    Args:
      point, relative_gradient, momentum: X, U and R, all [..., n, n], float32 or float64; R starts at zero.
      learning_rate, beta: eta and the factor of the momentum, scalars of the same dtype.

    Returns the new X and R.
    """
    x = point
    b = (0.5 * beta) * momentum - relative_gradient
    twice_w = b - transposed(b)
    a = tf.maximum(tf.minimum(learning_rate, 1.0 / (_half_norm(twice_w) + 1e-8)), _LEAST)
    h = (0.25 * a) * twice_w
    square = matmul(h, h)
    v = h + square
    z = v + matmul(square, v)
    return x + 2.0 * matmul(z, x), (8.0 / a) * z - twice_w


def _half_norm(matrix):
    """Half of the Frobenius norm: of a single matrix by l2_loss, the fastest sum of squares on a CPU."""
    if matrix.shape.rank == 2 and not linalg.on_gpu():
        return tf.sqrt(0.5 * tf.nn.l2_loss(matrix))
    return 0.5 * euclidean_norm(matrix, [-2, -1], keepdims=True)
