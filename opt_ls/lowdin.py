"""Löwdin's symmetric orthogonalisation: the orthogonal matrix nearest to P, its polar factor.

    P = U S V^T,    Q = U V^T = P (P^T P)^(-1/2)

(Löwdin, "On the non-orthogonality problem", 1950; Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021,
arXiv 2004.04690, section 3.3.) With P = Q H, H symmetric, a change of P turns Q by a skew matrix:

    dQ = Q K,    H K + K H = Q^T dP - dP^T Q

so gradients divide by sums of two singular values, never by their differences: equal ones do no harm, nor does one that
is zero, where P crosses det P = 0 and its vectors' part of Q turns round. Two of them leave Q undefined.
"""

import functools

import numpy as np

from common.compat import tf
from common.graph import gpus
from common.graph.map_arguments import checked
from opt_ls.lowdin_newton import newton
from opt_ls.lowdin_polynomial import polynomial
from opt_ls.lowdin_rational import rational

METHODS = ("svd", "newton", "rational", "polynomial")

_LEAST_SIZE = 256  # of a matrix, for the rational function to be the faster one on a CPU


def lowdin(generator, weights, method="auto"):
    """Returns Q(generator) @ weights.

    Args:
      generator: P [n, n], float32 or float64; its scale does not matter. It may be singular within the limits below.
      weights: W [n, m] of the same type.
      method: "svd", "newton", "rational", "polynomial", or "auto" (see `_method`).

    Returns Q W [n, m]. Both arguments have gradients, which reuse what the forward pass computed. The number of graph
    nodes is the same for every n.

    All but "svd" take the singular values, too, where the generator is too close to a singular one for them.

    Raises ValueError where shapes, types or the method do not fit, and, when run, tf.errors.InvalidArgumentError where
    the generator is not finite, is zero, or has two singular values that are zero to working precision, which for "svd"
    are those that TensorFlow's decomposition makes zero, below 1e-6 of the largest in float32. "newton" begins with
    TensorFlow's inverse, which may refuse whatever is singular to working precision.
    """
    generator, weights = checked("lowdin", generator, weights)
    apply = _method(method, generator, weights)

    @tf.custom_gradient
    def rotate(generator, weights):
        scale = _power_of_two(tf.reduce_max(tf.abs(generator)))
        scaled = generator / tf.where(scale > 0, scale, tf.ones_like(scale))
        # The sum of all entries is checked, not each: on a CPU that takes a tenth of the time.
        finite = tf.check_numerics(tf.reduce_sum(scaled), "lowdin: the generator is not finite")
        with tf.control_dependencies([finite]):
            scaled = tf.identity(scaled)
        result, gradient = apply(scaled, weights)
        result = tf.check_numerics(result, "lowdin: the generator is singular, add to its diagonal")

        def scaled_gradient(upstream):
            of_generator, of_weights = gradient(upstream)
            return of_generator / scale, of_weights

        return result, scaled_gradient

    return rotate(generator, weights)


def _method(name, generator, weights):
    """Returns the function called `name`, (P, W) to Q W and its gradient: the one place that chooses.

    On a GPU decompositions and inverses are slow and products are not, on some even in float64. On a CPU the rational
    function takes less than half of the time of a decomposition from n = 576 on; with many columns its gradient takes
    too much memory.
    """
    methods = {
        "svd": _by_values,
        "newton": functools.partial(_or_by_values, newton),
        "rational": functools.partial(_or_by_values, rational),
        "polynomial": functools.partial(_or_by_values, polynomial),
    }
    size, columns = weights.shape.as_list()
    if name == "auto":
        if gpus.in_use():
            name = "polynomial" if gpus.fast_in_float64() else "newton"
        else:
            name = "rational" if size >= _LEAST_SIZE and columns and 4 * columns <= size else "svd"
    if name not in methods:
        raise ValueError(f"lowdin: the method is {name!r}, expected 'auto', 'svd', 'newton', 'rational' or 'polynomial'")
    if generator.dtype != tf.float32 or name == "rational" and not columns:
        # What is made for the precision of float32, or for a known number of columns.
        name = {"rational": "svd", "polynomial": "newton"}.get(name, name)
    return methods[name]


def _power_of_two(number):
    """The largest that is no larger than a positive number: by its mantissa a division would round every entry again."""
    whole, exponent = {"float32": (tf.int32, 0x7F800000), "float64": (tf.int64, 0x7FF0000000000000)}[number.dtype.name]
    return tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(number, whole), tf.constant(exponent, whole)), number.dtype)


def _by_values(generator, weights):
    values = _decomposed(generator)
    return _turned(*values[1:], weights), lambda upstream: _gradients(*values, weights, upstream)


def _or_by_values(faster, generator, weights):
    """A faster way; where it is not to be trusted, the singular values instead, computed only there, in float64.

    TensorFlow's decomposition makes small singular values zero: in float32, those below 1e-6 of the largest.
    """
    result, gradient, trusted = faster(generator, weights)
    none = tf.zeros([0], tf.float64)

    def decomposed():
        values = _decomposed(tf.cast(generator, tf.float64), generator.dtype)
        turned = _turned(*values[1:], tf.cast(weights, tf.float64))
        return [tf.cast(turned, weights.dtype), *values]

    size = int(generator.shape[0])
    result, *values = tf.cond(trusted, lambda: [result, none, none, none], decomposed)

    def either(upstream):
        def of_values():
            shaped = [tf.reshape(value, shape) for value, shape in zip(values, ([size], [size] * 2, [size] * 2))]
            gradients = _gradients(*shaped, tf.cast(weights, tf.float64), tf.cast(upstream, tf.float64))
            return [tf.cast(gradient, weights.dtype) for gradient in gradients]

        return tf.cond(trusted, lambda: list(gradient(upstream)), of_values)

    return tf.ensure_shape(result, weights.shape), either


def _decomposed(generator, precision=None):
    """Returns the singular values and vectors, s [n], U and V [n, n]; U is NaN where two of the values are zero.

    Zero to working precision, that is: of the generator's type, or of `precision`.
    """
    values, left, right = tf.linalg.svd(generator)
    epsilon = np.finfo((precision or generator.dtype).as_numpy_dtype).eps
    return values, _spoil(left, values[-2:][0] <= epsilon * values[0]), right


def _turned(left, right, weights):
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


def _spoil(matrix, lost):
    """Returns a matrix as it is, or all NaN if `lost`: unlike an assertion it makes no host wait for the answer."""
    return matrix * tf.where(lost, tf.constant(np.nan, matrix.dtype), tf.constant(1, matrix.dtype))
