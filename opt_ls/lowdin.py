"""Löwdin's symmetric orthogonalisation: the orthogonal matrix nearest to P, its polar factor.

    P = U S V^T,    Q = U V^T = P (P^T P)^(-1/2)

(Löwdin, "On the non-orthogonality problem", 1950; Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021,
arXiv 2004.04690, section 3.3.) With P = Q H, H symmetric, a change of P turns Q by a skew matrix:

    dQ = Q K,    H K + K H = Q^T dP - dP^T Q

so gradients divide by sums of singular values, never by their differences: equal singular values do no harm.
"""

import numpy as np

from common.compat import tf
from common.map_arguments import checked

_MOST_STEPS = 30  # of Newton's iteration; a condition number of 1e6 takes 9


def lowdin(generator, weights, method="auto"):
    """Returns Q(generator) @ weights.

    Args:
      generator: P [n, n], float32 or float64, nonsingular; its scale does not matter.
      weights: W [n, m] of the same type.
      method: "svd", "newton", or "auto" (see `_method`).

    Returns Q W [n, m]. Both arguments have gradients, which reuse what the forward pass computed. The number of graph
    nodes is the same for every n.

    Raises ValueError where shapes, types or the method do not fit, and, when run, tf.errors.InvalidArgumentError where
    the generator is not finite, or singular to working precision.
    """
    generator, weights = checked("lowdin", generator, weights)
    factorise = _method(method)
    # The sum of all entries is checked, not each: on a CPU that takes a tenth of the time.
    finite = tf.check_numerics(tf.reduce_sum(generator), "lowdin: the generator is not finite")
    with tf.control_dependencies([finite]):
        generator = tf.identity(generator)

    @tf.custom_gradient
    def rotate(generator, weights):
        scale = tf.reduce_max(tf.abs(generator))
        turn, turn_back, generator_gradient = factorise(generator / scale)
        result = tf.check_numerics(turn(weights), "lowdin: the generator is singular, add to its diagonal")

        def gradient(upstream):
            of_weights = turn_back(upstream)
            return generator_gradient(of_weights, weights) / scale, of_weights

        return result, gradient

    return rotate(generator, weights)


def _method(name):
    """Returns the factorisation called `name`: the one place that chooses between them.

    On a CPU the singular value decomposition takes the time of some 25 matrix products, Newton's iteration of 40. On a
    GPU a decomposition is slow while inverses and products are not.
    """
    methods = {"svd": _singular_values, "newton": _newton}
    if name == "auto":
        name = "newton" if tf.config.list_physical_devices("GPU") else "svd"
    if name not in methods:
        raise ValueError(f"lowdin: the method is {name!r}, expected 'auto', 'svd' or 'newton'")
    return methods[name]


# A factorisation of P returns three functions: W to Q W, G to Q^T G, and (Q^T G, W) to the gradient of P.


def _singular_values(generator):
    values, left, right = tf.linalg.svd(generator)
    lost = values[-1] <= np.finfo(generator.dtype.as_numpy_dtype).eps * values[0]
    left = _spoil(left, lost)

    def turn(weights):
        return tf.matmul(left, tf.matmul(right, weights, transpose_a=True))

    def turn_back(upstream):
        return tf.matmul(right, tf.matmul(left, upstream, transpose_a=True))

    def turn_exactly(weights):
        """One step of Newton and Schulz on the result: the vectors of the decomposition lose digits as n grows."""
        turned = turn(weights)
        return 1.5 * turned - 0.5 * turn(turn_back(turned))

    def gradient(turned_back, weights):
        """U [(N - N^T) / (s_i + s_j)] V^T, where N = (V^T Q^T G)(V^T W)^T."""
        outer = tf.matmul(
            tf.matmul(right, turned_back, transpose_a=True),
            tf.matmul(right, weights, transpose_a=True),
            transpose_b=True,
        )
        inner = (outer - tf.transpose(outer)) / (values[:, tf.newaxis] + values)
        return tf.matmul(left, tf.matmul(inner, right, transpose_b=True))

    return turn_exactly, turn_back, gradient


def _newton(generator):
    """Scaled Newton iteration X <- (c X + X^-T / c) / 2 (Higham, "Functions of Matrices", 2008, section 8.6).

    c = (|X^-1|_1 |X^-1|_inf / (|X|_1 |X|_inf))^(1/4). The gradient goes the same steps back with the inverses kept.
    """
    size, dtype = int(generator.shape[0]), generator.dtype
    epsilon = np.finfo(dtype.as_numpy_dtype).eps
    kept = [tf.TensorArray(dtype, _MOST_STEPS, element_shape=shape) for shape in ([size, size], [])]

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
    # |P|_F |P^-1|_F is at most n times the condition number.
    lost = tf.norm(generator) * tf.norm(inverses.read(0)) >= size / epsilon
    rotation = _spoil(rotation, lost | ~(change <= epsilon ** (1 / 3)))

    def gradient(turned_back, weights):
        """Back through the steps: D <- (c D - X^-T D^T X^-T / c) / 2."""

        def back(count, upstream):
            inverse, scale = inverses.read(count - 1), scales.read(count - 1)
            reflected = tf.matmul(tf.matmul(upstream, inverse), inverse, adjoint_a=True, adjoint_b=True)
            return count - 1, (scale * upstream - reflected / scale) / 2

        outer = tf.matmul(turned_back, weights, transpose_b=True)
        start = tf.matmul(rotation, (outer - tf.transpose(outer)) / 2)
        return tf.while_loop(lambda count, _: count > 0, back, [count, start], back_prop=False)[1]

    return (
        lambda weights: tf.matmul(rotation, weights),
        lambda upstream: tf.matmul(rotation, upstream, transpose_a=True),
        gradient,
    )


def _norms(matrix):
    """The product of the 1-norm and the infinity-norm."""
    size = tf.abs(matrix)
    return tf.reduce_max(tf.reduce_sum(size, 0)) * tf.reduce_max(tf.reduce_sum(size, 1))


def _spoil(matrix, lost):
    """Returns a matrix as it is, or all NaN if `lost`: unlike an assertion it makes no host wait for the answer."""
    return matrix * tf.where(lost, tf.constant(np.nan, matrix.dtype), tf.constant(1, matrix.dtype))
