"""Löwdin's symmetric orthogonalisation: the orthogonal matrix nearest to P, its polar factor.

    P = U S V^T,    Q = U V^T = P (P^T P)^(-1/2)

(Löwdin, "On the non-orthogonality problem", 1950; Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021,
arXiv 2004.04690, section 3.3.) With P = Q H, H symmetric, a change of P moves Q by a skew matrix:

    dQ = Q K,    H K + K H = Q^T dP - dP^T Q

so gradients divide by sums of two singular values, never by their differences. Equal ones do no harm, nor does a single
zero: there P crosses det P = 0, and the part of Q that the zero's vectors make changes its sign. Two zeros leave Q
undefined.
"""

import functools

import numpy as np

from common.compat import tf
from common.graph import linalg
from common.graph.linalg import all_finite, matmul, transposed
from common.graph.members import run_algorithm
from opt_ls.lowdin_newton import newton
from opt_ls.lowdin_polynomial import polynomial
from opt_ls.lowdin_rational import rational

_LEAST_SIZE = 256  # of a matrix, for the rational function to be the faster one on a CPU


def lowdin(generator, weights, algorithm="auto", names=None):
    """Returns Q(generator) @ weights.

    Args:
      generator: P [..., n, n], float32 or float64; its scale does not matter. It may be singular within the limits
        below.
      weights: W [..., n, m], of the same type.
      algorithm: "svd", "newton", "rational", "polynomial", or "auto" (see `_auto`). In float64 "rational" is "svd" and
        "polynomial" is "newton".
      names: of the members of the batch, for messages.

    Returns Q W [..., n, m]. Both arguments have gradients, which reuse what the forward pass computed. The number of
    graph nodes is the same for every n and every batch.

    For a generator that is too close to a singular one for the others, they too take the singular values.

    Raises ValueError where arguments do not fit, and, when run, tf.errors.InvalidArgumentError where a generator is not
    finite, is zero, or has two singular values that are zero to working precision, which for "svd" are those that
    TensorFlow's decomposition makes zero, below 1e-6 of the largest in float32.
    """
    return run_algorithm("lowdin", _ALGORITHMS, algorithm, generator, weights, names)


def _scaled(compute):
    """A power of two is divided out of each generator: squares of what is left neither overflow nor vanish."""

    def rotate(generator, weights, members):
        scale = _power_of_two(tf.reduce_max(tf.abs(generator), [1, 2], keepdims=True))
        result, gradient = compute(generator / tf.where(scale > 0, scale, tf.ones_like(scale)), weights, members)

        def scaled_gradient(upstream):
            of_generator, of_weights = gradient(upstream)
            return of_generator / scale, of_weights

        return result, scaled_gradient

    return rotate


def _power_of_two(number):
    """Returns the largest power of two up to a positive number: a division by the number would round all entries."""
    whole, exponent = {"float32": (tf.int32, 0x7F800000), "float64": (tf.int64, 0x7FF0000000000000)}[number.dtype.name]
    return tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(number, whole), tf.constant(exponent, whole)), number.dtype)


def _by_values(generator, weights, members):
    values = _decomposed(generator, members)
    return _rotated(*values[1:], weights), lambda upstream: _gradients(*values, weights, upstream)


def _by_newton(generator, weights, members):
    return _or_by_values(*newton(generator, weights), generator, weights, members)


def _by_rational(generator, weights, members):
    if generator.dtype != tf.float32 or weights.shape[-1] is None:  # it is made for that precision
        return _by_values(generator, weights, members)
    return _or_by_values(*rational(generator, weights, members), generator, weights, members)


def _by_polynomial(generator, weights, members):
    if generator.dtype != tf.float32:
        return _by_newton(generator, weights, members)
    return _or_by_values(*polynomial(generator, weights), generator, weights, members)


def _auto(generator, weights, members):
    """The one place that chooses.

    On a GPU decompositions and inverses are slow and products are not, on some even in float64. On a CPU the rational
    function takes less than half of the time of a decomposition from n = 576 on; with many columns its gradient takes
    too much memory.
    """
    size, columns = weights.shape.as_list()[1:]
    if linalg.on_gpu():
        compute = _by_polynomial if linalg.fast_in_float64() else _by_newton
    else:
        compute = _by_rational if size >= _LEAST_SIZE and columns and 4 * columns <= size else _by_values
    return compute(generator, weights, members)


_ALGORITHMS = {
    "auto": _scaled(_auto),
    "svd": _scaled(_by_values),
    "newton": _scaled(_by_newton),
    "rational": _scaled(_by_rational),
    "polynomial": _scaled(_by_polynomial),
}
lowdin.algorithms = tuple(_ALGORITHMS)


def _pad(generator, weights, added):
    """Pads by the identity times P's largest entry: by singular values of the size of P's own."""
    largest = tf.reduce_max(tf.abs(tf.stop_gradient(generator)), [1, 2], keepdims=True)
    return linalg.padded_by_identity(generator, weights, added, largest)


lowdin.pad = _pad


def _or_by_values(result, gradient, trusted, generator, weights, members):
    """Returns a faster algorithm's result and gradient, or, where not to be trusted, those by the singular values.

    The values are computed in float64: in float32 TensorFlow's decomposition makes zero what is below 1e-6 of the
    largest.
    """
    cast = functools.partial(tf.cast, dtype=tf.float64)
    dtype = generator.dtype

    def rotated(members, generator, weights):
        _, left, right = _decomposed(cast(generator), members, dtype)
        return tf.cast(_rotated(left, right, cast(weights)), dtype)

    def gradients(members, generator, weights, upstream):
        values = _decomposed(cast(generator), members, dtype)
        return [tf.cast(value, dtype) for value in _gradients(*values, cast(weights), cast(upstream))]

    def either(upstream):
        return members.replace(trusted, list(gradient(upstream)), gradients, generator, weights, upstream)

    return members.replace(trusted, result, rotated, generator, weights), either


def _decomposed(generator, members, precision=None):
    """Returns the singular values and vectors of matrices, s [b, n], U and V [b, n, n].

    At most one value may be zero to the precision of the generator's type, or of `precision`.
    """
    with tf.control_dependencies([members.check(all_finite(generator), "is not finite")]):
        values, left, right = tf.linalg.svd(generator)
    epsilon = np.finfo((precision or generator.dtype).as_numpy_dtype).eps
    regular = values[:, -2:][:, 0] > epsilon * values[:, 0]
    with tf.control_dependencies([members.check(regular, "is singular, add to its diagonal")]):
        return values, tf.identity(left), right


def _rotated(left, right, weights):
    """Q W, and one step of Newton and Schulz on it: the vectors of the decomposition lose digits as n grows."""

    def rotate(columns):
        return matmul(left, matmul(right, columns, transpose_a=True))

    rotated = rotate(weights)
    return 1.5 * rotated - 0.5 * rotate(matmul(right, matmul(left, rotated, transpose_a=True)))


def _gradients(values, left, right, weights, upstream):
    """U [(N - N^T) / (s_i + s_j)] V^T, where N = (U^T G)(V^T W)^T, and Q^T G."""
    inner = matmul(left, upstream, transpose_a=True)
    outer = matmul(inner, matmul(right, weights, transpose_a=True), transpose_b=True)
    sums = values[:, :, tf.newaxis] + values[:, tf.newaxis]
    inner_gradient = tf.math.divide_no_nan(outer - transposed(outer), sums)
    of_generator = matmul(left, matmul(inner_gradient, right, transpose_b=True))
    return of_generator, matmul(right, inner)
