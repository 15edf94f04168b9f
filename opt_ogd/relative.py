"""Orthogonality-preserving gradient descent in coordinates that move along with the matrix: half of the products.

The published iteration (see ogd.py) multiplies with X^T and with X in turns. Where X X^T = I all of it can be said of
U = G X^T, the relative gradient (Cardoso and Laheld, "Equivariant adaptive source separation", IEEE Transactions on
Signal Processing 44, 1996): if X becomes (I + E) X, the loss changes by <U, E>. A layer X W0 = Y with the upstream
gradient D has U = D Y^T: it never needs G = D W0^T.
"""

from common.compat import tf


@tf.custom_gradient
def turn(matrix, weights):
    """Returns matrix @ weights, whose gradient for the matrix is the relative one: for `relative_gradient_step` only.

    Args:
      matrix: X [n, n], float32 or float64.
      weights: W0 [n, m], of the same type.

    With Y = X W0 and D the gradient of Y, that of X is U = D Y^T = G X^T, [n, n], where G = D W0^T is the ordinary one;
    that of W0 is X^T D.
    """
    turned = tf.matmul(matrix, weights)

    def gradient(upstream):
        return tf.matmul(upstream, turned, transpose_b=True), tf.matmul(matrix, upstream, transpose_a=True)

    return turned, gradient


def relative_gradient_step(point, relative_gradient, momentum, learning_rate, beta):
    """One step of Cayley SGD with momentum for an orthogonal matrix, from its relative gradient.

    With R standing for -X M^T of the published momentum M:

        B <- beta R - U;  W = (B - B^T) / 2;  a = min(eta, 1 / (|W|_F + 1e-8));
        T = (a W)^2 / 2 + (a W)^3 / 4 + (a W)^4 / 8;  X <- X + (a W + T) X;  R <- W + (2 / a) T

    Where X X^T = I this W is the published one: W^ - W^^T is the skew part of (beta M - G) X^T. The new X is what three
    passes of the published loop Y <- X + a/2 W (X + Y) come to, begun at X + a W X as there, where two are published:
    the Cayley transform up to a^5. One more costs no product here, and leaves of a plane that turns by the angle t, t
    and all smaller, a factor 1 - t^6/32 instead of 1 - t^4/8, so that X stays orthogonal, which W now relies on. And
    M = W X, seen from X after two passes, is X M^T = -(W + a W^2 + a^2/2 W^3 + a^3/4 W^4), the new -R: of this, too,
    nothing is left to be computed. Three products of n x n matrices in place of six.

    Args:
      point, relative_gradient, momentum: X, U and R, all [n, n], float32 or float64; R starts at zero.
      learning_rate, beta: eta and the factor of the momentum, scalars of the same dtype.

    Returns the new X and R.
    """
    x = point
    b = beta * momentum - relative_gradient
    w = 0.5 * (b - tf.transpose(b))
    a = tf.minimum(learning_rate, 1.0 / (tf.sqrt(tf.reduce_sum(tf.square(w))) + 1e-8))
    turned = a * w
    square = tf.matmul(turned, turned)
    rest = 0.5 * square + tf.matmul(square, 0.25 * turned + 0.125 * square)
    return x + tf.matmul(turned + rest, x), w + tf.math.divide_no_nan(tf.constant(2, a.dtype), a) * rest
