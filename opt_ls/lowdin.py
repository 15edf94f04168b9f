"""Löwdin's symmetric orthogonalisation: the orthogonal matrix nearest to P, its polar factor.

    P = U S V^T,    Q = U V^T = P (P^T P)^(-1/2)

(Löwdin, "On the non-orthogonality problem", 1950; Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021,
arXiv 2004.04690, section 3.3.) With P = Q H, H symmetric, a change of P turns Q by a skew matrix:

    dQ = Q K,    H K + K H = Q^T dP - dP^T Q

so gradients divide by sums of two singular values, never by their differences: equal ones do no harm, nor does one that
is zero, where P crosses det P = 0 and its vectors' part of Q turns round. Two of them leave Q undefined.
"""

import numpy as np

from common.compat import tf
from common.map_arguments import checked
from opt_ls.lowdin_rational import rational

METHODS = ("svd", "newton", "rational")

_LEAST_SIZE = 256  # of a matrix, for the rational function to be the faster one on a CPU
_MOST_STEPS = 30  # of Newton's iteration; a condition number of 1e6 takes 9


def lowdin(generator, weights, method="auto"):
    """Returns Q(generator) @ weights.

    Args:
      generator: P [n, n], float32 or float64; its scale does not matter. It may be singular within the limits below.
      weights: W [n, m] of the same type.
      method: "svd", "newton", "rational", or "auto" (see `_method`).

    Returns Q W [n, m]. Both arguments have gradients, which reuse what the forward pass computed. The number of graph
    nodes is the same for every n.

    Raises ValueError where shapes, types or the method do not fit, and, when run, tf.errors.InvalidArgumentError where
    the generator is not finite, is zero, or has two singular values that are zero to working precision. "newton"
    refuses one such value, "rational" what `orthonormal.factor` refuses, "auto" what the way that it takes refuses.
    """
    generator, weights = checked("lowdin", generator, weights)
    apply = _method(method, generator, weights)
    # The sum of all entries is checked, not each: on a CPU that takes a tenth of the time.
    finite = tf.check_numerics(tf.reduce_sum(generator), "lowdin: the generator is not finite")
    with tf.control_dependencies([finite]):
        generator = tf.identity(generator)

    @tf.custom_gradient
    def rotate(generator, weights):
        scale = tf.reduce_max(tf.abs(generator))
        scale = tf.where(scale > 0, scale, tf.ones_like(scale))
        result, gradient = apply(generator / scale, weights)
        result = tf.check_numerics(result, "lowdin: the generator is singular, add to its diagonal")

        def scaled_gradient(upstream):
            of_generator, of_weights = gradient(upstream)
            return of_generator / scale, of_weights

        return result, scaled_gradient

    return rotate(generator, weights)


def _method(name, generator, weights):
    """Returns the function called `name`, (P, W) to Q W and its gradient: the one place that chooses.

    On a GPU a decomposition is slow while inverses and products are not. On a CPU the rational function takes less
    than half of the time of a decomposition from n = 576 on; with many columns its gradient takes too much memory.
    """
    methods = {"svd": _by_values, "newton": _by_newton, "rational": _by_sum}
    size, columns = weights.shape.as_list()
    if name == "auto":
        if tf.config.list_physical_devices("GPU"):
            name = "newton"
        else:
            name = "rational" if size >= _LEAST_SIZE and columns and 4 * columns <= size else "svd"
    if name not in methods:
        raise ValueError(f"lowdin: the method is {name!r}, expected 'auto', 'svd', 'newton' or 'rational'")
    if name == "rational" and (generator.dtype != tf.float32 or not columns):
        name = "svd"  # the sum is made for the precision of float32, its gradient for a known number of columns
    return methods[name]


def _by_values(generator, weights):
    values = _decomposed(generator)
    return _turned(*values, weights), lambda upstream: _gradients(*values, weights, upstream)


def _by_sum(generator, weights):
    """The rational function; where it is not to be trusted, the singular values instead, computed only there."""
    result, gradient, trusted = rational("lowdin", generator, weights)
    none = tf.zeros([0], generator.dtype)

    def decomposed():
        values = _decomposed(generator)
        return [_turned(*values, weights), *values]

    size = int(generator.shape[0])
    result, *values = tf.cond(trusted, lambda: [result, none, none, none], decomposed)

    def either(upstream):
        def of_values():
            shaped = [tf.reshape(value, shape) for value, shape in zip(values, ([size], [size] * 2, [size] * 2))]
            return _gradients(*shaped, weights, upstream)

        return tf.cond(trusted, lambda: gradient(upstream), of_values)

    return tf.ensure_shape(result, weights.shape), either


def _decomposed(generator):
    """Returns the singular values and vectors, s [n], U and V [n, n]; U is NaN where two of the values are zero."""
    values, left, right = tf.linalg.svd(generator)
    lost = values[-2:][0] <= np.finfo(generator.dtype.as_numpy_dtype).eps * values[0]
    return values, _spoil(left, lost), right


def _turned(_, left, right, weights):
    """Q W, and one step of Newton and Schulz on it: the vectors of the decomposition lose digits as n grows."""

    def turn(columns):
        return tf.matmul(left, tf.matmul(right, columns, transpose_a=True))

    turned = turn(weights)
    return 1.5 * turned - 0.5 * turn(tf.matmul(right, tf.matmul(left, turned, transpose_a=True)))


def _gradients(values, left, right, weights, upstream):
    """U [(N - N^T) / (s_i + s_j)] V^T, where N = (U^T G)(V^T W)^T, and Q^T G."""
    inner = tf.matmul(left, upstream, transpose_a=True)
    outer = tf.matmul(inner, tf.matmul(right, weights, transpose_a=True), transpose_b=True)
    inner_gradient = tf.math.divide_no_nan(outer - tf.transpose(outer), values[:, tf.newaxis] + values)
    of_generator = tf.matmul(left, tf.matmul(inner_gradient, right, transpose_b=True))
    return of_generator, tf.matmul(right, inner)


def _by_newton(generator, weights):
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

    return tf.matmul(rotation, weights), gradient


def _norms(matrix):
    """The product of the 1-norm and the infinity-norm."""
    size = tf.abs(matrix)
    return tf.reduce_max(tf.reduce_sum(size, 0)) * tf.reduce_max(tf.reduce_sum(size, 1))


def _spoil(matrix, lost):
    """Returns a matrix as it is, or all NaN if `lost`: unlike an assertion it makes no host wait for the answer."""
    return matrix * tf.where(lost, tf.constant(np.nan, matrix.dtype), tf.constant(1, matrix.dtype))
