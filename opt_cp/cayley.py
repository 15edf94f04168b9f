"""Cayley map: the orthogonal matrix of a skew-symmetric one.

    A = triu(P) - triu(P)^T,    Q = (I + A)(I - A)^-1

(Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3.) The two factors
commute, so Q W = 2 (I - A)^-1 W - W: one system with as many right-hand sides as W has columns, and Q is never formed.

"block" eliminates I - A by blocks, without pivoting: nearly all of the work is matrix products. The symmetric part of
I - A is I, and that of everything an elimination leaves is larger still, so nothing is ever singular. One step of
iterative refinement makes the solution more accurate than a pivoted factorisation alone. Where entries are far above
the N(0, 1) that layers start with, blocks grow. The residual shows that, and a pivoted solver in float64 takes over.

"cholesky" factors (I - A)(I + A) = I + A A^T, which is positive definite, in float64. It is for GPUs, on which an
operation costs 13 microseconds, however small, and products next to nothing.
"""

import collections

import numpy as np

from common.compat import tf
from common.graph import initializers, linalg
from common.graph.linalg import all_finite, diagonal, identity, matmul, squared_norm, transposed, triangle_inverse
from common.graph.members import run_algorithm

_HALVINGS = 2  # of each half of I - A before a library inverts what is left, an eighth of the size

_LARGEST = {"float32": 1e9, "float64": 4e5}  # sum of A's squares; N(0, 1) entries have 1e6 at n = 1,024
_GROWN = 1e4  # a residual so many times the unit of rounding calls for the pivoted solver; N(0, 1) entries reach 1e3

# I - A = [[first, -coupling], [coupling^T, second]] and, where n is odd, one more column, -border, and row.
_Factors = collections.namedtuple("_Factors", "first second coupling border first_inverse remainder_inverse")


def cayley(generator, weights, algorithm="auto", names=None):
    """Returns Q(generator) @ weights.

    With G the gradient of Y = Q W, X = (I - A)^-1 W and Z = (I - A)^-T 2G: W' = Z - G, and P' is what is above the
    diagonal of Z X^T - X Z^T.

    Args:
      generator: P [..., n, n], float32 or float64. Only what is above its diagonal matters.
      weights: W [..., n, m], of the same type.
      algorithm: "block", "cholesky", or "auto", which is "cholesky" on GPUs that are fast in float64 and "block"
        everywhere else.
      names: of the members of the batch, for messages.

    Returns Q W [..., n, m]. Both arguments have gradients, from one factorisation. The number of graph nodes is the
    same for every n and every batch.

    Raises ValueError where arguments do not fit, and, when run, tf.errors.InvalidArgumentError where a generator is not
    finite.
    """
    return run_algorithm("cayley", _ALGORITHMS, algorithm, generator, weights, names)


def _by_blocks(generator, weights, members):
    # TensorFlow's inverse refuses NaN without saying whose.
    generator = members.require(all_finite(generator), generator, "is not finite")
    factors = _factorise(generator)
    system, last = _open(factors.border, weights)
    attempt = _solve(factors, system, 1)
    residual = system - _multiply(factors, attempt)
    limit = _GROWN * np.finfo(system.dtype.as_numpy_dtype).eps
    trusted = _largest(residual) <= limit * _largest(system)
    refined = attempt + _solve(factors, residual, 1)
    solved = _close(factors.border, refined, last)
    solved = members.replace(trusted, solved, _pivoted(1), generator, weights)

    def gradient(upstream):
        border = -factors.border
        system, last = _open(border, 2 * upstream)
        adjoint = _close(border, _solve(factors, system, -1), last)
        adjoint = members.replace(trusted, adjoint, _pivoted(-1), generator, 2 * upstream)
        return _of_upper(solved, adjoint), adjoint - upstream

    return 2 * solved - weights, gradient


def _by_cholesky(generator, weights, members):
    """(I -+ A)^-1 = (I + A A^T)^-1 (I +- A), for the factors commute."""
    upper = tf.linalg.band_part(tf.cast(generator, tf.float64), 0, -1)
    skew = upper - transposed(upper)
    unit = identity(int(skew.shape[-1]), tf.float64)
    triangle = tf.linalg.cholesky(matmul(skew, skew, transpose_b=True) + unit)
    inverse = triangle_inverse(triangle)
    # Rounding is multiplied by 1 + |A|^2 at most.
    trusted = all_finite(generator) & (squared_norm(skew) <= _LARGEST[generator.dtype.name])

    def solve(right, sign):
        exact = tf.cast(right, tf.float64)
        moved = exact + sign * matmul(skew, exact)
        solved = tf.cast(matmul(inverse, matmul(inverse, moved), transpose_a=True), right.dtype)
        return members.replace(trusted, solved, _pivoted(sign), generator, right)

    solved = solve(weights, 1)

    def gradient(upstream):
        adjoint = solve(2 * upstream, -1)
        return _of_upper(solved, adjoint), adjoint - upstream

    return 2 * solved - weights, gradient


def _auto(*arguments):
    """The one place that chooses."""
    return (_by_cholesky if linalg.fast_in_float64() else _by_blocks)(*arguments)


_ALGORITHMS = {"auto": _auto, "block": _by_blocks, "cholesky": _by_cholesky}
cayley.algorithms = tuple(_ALGORITHMS)
cayley.identity = initializers.zeros  # a diagonal would do nothing and be decayed
cayley.pad = linalg.padded_by_zeros


def _largest(matrix):
    return tf.reduce_max(tf.abs(matrix), [1, 2])


def _of_upper(solved, adjoint):
    """The gradient of what is above P's diagonal, Z X^T - X Z^T there."""
    of_skew = matmul(tf.concat([adjoint, -solved], 2), tf.concat([solved, adjoint], 2), transpose_b=True)
    return of_skew - tf.linalg.band_part(of_skew, -1, 0)


def _factorise(generator):
    """Cuts I - A into blocks and eliminates the first."""
    size = int(generator.shape[-1])
    # A skew matrix of odd size is singular. Its last row and column stand apart, so that what is eliminated by blocks
    # is of even size, and no pivot comes near 0 however large the generator is.
    even = size - size % 2
    half = _even_half(even)
    (first, coupling), (_, second) = _blocks(generator[:, :even, :even], half)
    border = generator[:, :even, even:]
    first, second = _identity_minus_skew(first), _identity_minus_skew(second)
    inverse = _inverse(first)
    remainder = second + matmul(coupling, matmul(inverse, coupling), transpose_a=True)
    return _Factors(first, second, coupling, border, inverse, _inverse(remainder))


def _open(border, right):
    """Returns the even system's right-hand sides, the border the last of them, and the odd row of `right`."""
    inner, last = tf.split(right, border.shape.as_list()[1:], 1)
    return tf.concat([inner, border], 2), last


def _close(border, solved, last):
    """Returns the whole system's solution from that of the even one."""
    columns, odd = int(last.shape[2]), int(border.shape[2])
    solved, reduced = tf.split(solved, [columns, odd], 2)
    pivot = 1 + tf.reduce_sum(tf.square(reduced), [1, 2], keepdims=True)  # 1 + border^T (I - A)^-1 border
    last = (last - matmul(border, solved, transpose_a=True)) / pivot
    return tf.concat([solved + matmul(reduced, last), last], 1)


def _solve(factors, right, sign):
    """Returns (I - A)^-1 right for sign 1 and (I - A)^-T right = (I + A)^-1 right for sign -1; of even size."""
    backward = sign < 0
    first, second = tf.split(right, factors.coupling.shape.as_list()[1:], 1)
    coupled = matmul(factors.first_inverse, first, transpose_a=backward)
    coupled = matmul(factors.coupling, coupled, transpose_a=True)
    second = second + coupled if backward else second - coupled
    second = matmul(factors.remainder_inverse, second, transpose_a=backward)
    coupled = matmul(factors.coupling, second)
    first = first - coupled if backward else first + coupled
    return tf.concat([matmul(factors.first_inverse, first, transpose_a=backward), second], 1)


def _multiply(factors, right):
    """Returns (I - A) right; of even size."""
    first, second = tf.split(right, factors.coupling.shape.as_list()[1:], 1)
    above = matmul(factors.first, first) - matmul(factors.coupling, second)
    below = matmul(factors.second, second) + matmul(factors.coupling, first, transpose_a=True)
    return tf.concat([above, below], 1)


def _pivoted(sign):
    """Returns the solver, by a pivoted factorisation in float64, of (I - A) x = right, for sign -1 of (I + A) x."""

    def solve(members, generator, right):
        with tf.control_dependencies([members.check(all_finite(generator), "is not finite")]):
            generator = tf.identity(generator)
        even = int(generator.shape[-1]) // 2 * 2
        border = sign * generator[:, :even, even:]
        system, last = _open(border, right)
        matrix = _identity_minus_skew(tf.cast(generator[:, :even, :even], tf.float64))
        solved = tf.linalg.solve(matrix, tf.cast(system, tf.float64), adjoint=sign < 0)
        return _close(border, tf.cast(solved, right.dtype), last)

    return solve


def _inverse(matrix, halvings=_HALVINGS):
    """Returns the inverse of a matrix of even size whose symmetric part is at least I, or at most -I."""
    if halvings == 0:
        return tf.linalg.inv(matrix)
    half = _even_half(int(matrix.shape[-1]))
    (first, right), (below, second) = _blocks(matrix, half)
    first = _inverse(first, halvings - 1)
    right = matmul(first, right)
    second = _inverse(matmul(below, right) - second, halvings - 1)
    below = matmul(below, first)
    corner = matmul(right, second)
    rows = [first - matmul(corner, below), corner], [matmul(second, below), -second]
    return tf.concat([tf.concat(row, 2) for row in rows], 1)


def _identity_minus_skew(block):
    upper = tf.linalg.band_part(block, 0, -1)
    return tf.linalg.set_diag(transposed(upper) - upper, tf.ones_like(diagonal(block)))


def _blocks(matrix, half):
    """Cuts square matrices along both axes."""
    sizes = tf.constant([half, int(matrix.shape[1]) - half])
    return [tf.split(rows, sizes, 2) for rows in tf.split(matrix, sizes, 1)]


def _even_half(size):
    return 2 * ((size + 2) // 4)
