"""The polar factor by Newton's iteration: inverses and products only, which a GPU does in little time."""

import numpy as np

from common.compat import tf

_MOST_STEPS = 30  # a condition number of 1e6 takes 9
# Of |P|_F |P^-1|_F / sqrt(n), in units of 1 / epsilon. The gradient multiplies by the inverse twice and loses digits as
# that grows: at the limit in float32, which a condition number of 8e5 reaches at the earliest, it has two left.
_MOST_CONDITION = 0.1


def newton(generator, weights):
    """Scaled Newton iteration X <- (c X + X^-T / c) / 2 (Higham, "Functions of Matrices", 2008, section 8.6).

    c = (|X^-1|_1 |X^-1|_inf / (|X|_1 |X|_inf))^(1/4). The gradient goes the same steps back with the inverses kept.

    Args:
      generator: P [n, n], float32 or float64.
      weights: W [n, m], of the same type.

    Returns:
      Q W [n, m]; a function of G [n, m] to the gradients of P and W; a bool scalar, false where P is too close to
      singular for both to be trusted.

    Raises tf.errors.InvalidArgumentError, when run, where TensorFlow's inverse meets a pivot of zero.
    """
    size, dtype = int(generator.shape[0]), generator.dtype
    epsilon = np.finfo(dtype.as_numpy_dtype).eps
    kept = [tf.TensorArray(dtype, _MOST_STEPS, element_shape=shape, clear_after_read=False) for shape in ([size, size], [])]

    def step(count, current, _, inverses, scales):
        inverse = tf.linalg.inv(current, name="lowdin_generator_singular")  # what an error on a CPU quotes
        scale = (_norms(inverse) / _norms(current)) ** 0.25
        following = (scale * current + tf.transpose(inverse) / scale) / 2
        change = tf.norm(following - current)
        return count + 1, following, change, inverses.write(count, inverse), scales.write(count, scale)

    # Convergence is quadratic and a last step of Newton and Schulz follows: the cube root of the precision is enough.
    count, rotation, change, inverses, scales = tf.while_loop(
        lambda count, _, change, *kept: (count < _MOST_STEPS) & (change > epsilon ** (1 / 3)),
        step,
        [0, generator, tf.constant(np.inf, dtype), *kept],
        back_prop=False,
    )
    rotation = 1.5 * rotation - 0.5 * tf.matmul(rotation, tf.matmul(rotation, rotation, transpose_a=True))
    condition = tf.norm(generator) * tf.norm(inverses.read(0))
    trusted = (condition < _MOST_CONDITION * size**0.5 / epsilon) & (change <= epsilon ** (1 / 3))

    def gradient(upstream):
        """Back through the steps: D <- (c D - X^-T D^T X^-T / c) / 2."""

        def back(count, upstream):
            inverse, scale = inverses.read(count - 1), scales.read(count - 1)
            reflected = tf.matmul(tf.matmul(upstream, inverse), inverse, adjoint_a=True, adjoint_b=True)
            return count - 1, (scale * upstream - reflected / scale) / 2

        of_weights = tf.matmul(rotation, upstream, transpose_a=True)
        outer = tf.matmul(of_weights, weights, transpose_b=True)
        start = tf.matmul(rotation, (outer - tf.transpose(outer)) / 2)
        return tf.while_loop(lambda count, _: count > 0, back, [count, start], back_prop=False)[1], of_weights

    return tf.matmul(rotation, weights), gradient, trusted


def _norms(matrix):
    """The product of the 1-norm and the infinity-norm."""
    size = tf.abs(matrix)
    return tf.reduce_max(tf.reduce_sum(size, 0)) * tf.reduce_max(tf.reduce_sum(size, 1))
