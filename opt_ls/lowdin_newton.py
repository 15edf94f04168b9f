"""The polar factor by Newton's iteration: inverses and products only, which a GPU does in little time."""

import numpy as np

from common.compat import tf
from common.graph.linalg import identity, matmul, norm, transposed

_MOST_STEPS = 30  # a condition number of 1e6 takes 9
# Of |P|_F |P^-1|_F / sqrt(n), in units of 1 / epsilon. The gradient multiplies by the inverse twice and loses digits as
# the inverse grows. In float32 two digits are left at the limit, which needs a condition number of 8e5 or more.
_MOST_CONDITION = 0.1


def newton(generator, weights):
    """Scaled Newton iteration X <- (c X + X^-T / c) / 2 (Higham, "Functions of Matrices", 2008, section 8.6).

    c = (|X^-1|_1 |X^-1|_inf / (|X|_1 |X|_inf))^(1/4). Each member of the batch takes the steps that it needs. The
    gradient goes the same steps back with the inverses kept.

    Args:
      generator: P [b, n, n], float32 or float64.
      weights: W [b, n, m], of the same type.

    Returns:
      Q W [b, n, m]; a function of G [b, n, m] to the gradients of P and W; bool [b], false where P is not finite, or
      too close to singular for both to be trusted.
    """
    size, dtype = int(generator.shape[1]), generator.dtype
    epsilon = np.finfo(dtype.as_numpy_dtype).eps
    # TensorFlow's inverse refuses a pivot of zero; the determinant's logarithm, of the same pivots, is -infinity then.
    invertible = tf.math.is_finite(tf.linalg.slogdet(generator)[1])
    generator = tf.where_v2(invertible[:, tf.newaxis, tf.newaxis], generator, identity(size, dtype))
    shapes = generator.shape, [generator.shape[0], 1, 1]
    kept = [tf.TensorArray(dtype, _MOST_STEPS, element_shape=shape, clear_after_read=False) for shape in shapes]

    def step(count, current, change, steps, inverses, scales):
        active = change > epsilon ** (1 / 3)
        inverse = tf.linalg.inv(current)
        scale = (_norms(inverse) / _norms(current)) ** 0.25
        following = (scale * current + transposed(inverse) / scale) / 2
        following = tf.where_v2(active, following, current)
        change = tf.where_v2(active, norm(following - current), change)
        steps += tf.cast(active, tf.int32)
        return count + 1, following, change, steps, inverses.write(count, inverse), scales.write(count, scale)

    # Convergence is quadratic and a last step of Newton and Schulz follows: the cube root of the precision is enough.
    change = tf.fill(shapes[1], tf.constant(np.inf, dtype))
    count, rotation, change, steps, inverses, scales = tf.while_loop(
        lambda count, _, change, *kept: (count < _MOST_STEPS) & tf.reduce_any(change > epsilon ** (1 / 3)),
        step,
        [0, generator, change, tf.zeros(shapes[1], tf.int32), *kept],
        back_prop=False,
    )
    rotation = 1.5 * rotation - 0.5 * matmul(rotation, matmul(rotation, rotation, transpose_a=True))
    condition = norm(generator) * norm(inverses.read(0))
    trusted = (condition < _MOST_CONDITION * size**0.5 / epsilon) & (change <= epsilon ** (1 / 3))

    def gradient(upstream):
        """Back through the steps: D <- (c D - X^-T D^T X^-T / c) / 2."""

        def back(count, upstream):
            inverse, scale = inverses.read(count - 1), scales.read(count - 1)
            reflected = matmul(matmul(upstream, inverse), inverse, transpose_a=True, transpose_b=True)
            return count - 1, tf.where_v2(count <= steps, (scale * upstream - reflected / scale) / 2, upstream)

        of_weights = matmul(rotation, upstream, transpose_a=True)
        outer = matmul(of_weights, weights, transpose_b=True)
        start = matmul(rotation, (outer - transposed(outer)) / 2)
        return tf.while_loop(lambda count, _: count > 0, back, [count, start], back_prop=False)[1], of_weights

    return matmul(rotation, weights), gradient, invertible & trusted[:, 0, 0]


def _norms(matrix):
    """The product of the 1-norm and the infinity-norm, [b, 1, 1]."""
    size = tf.abs(matrix)
    columns = tf.reduce_max(tf.reduce_sum(size, 1, keepdims=True), 2, keepdims=True)
    return columns * tf.reduce_max(tf.reduce_sum(size, 2, keepdims=True), 1, keepdims=True)
