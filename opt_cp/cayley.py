"""Cayley map: the orthogonal matrix of a skew-symmetric one.

    A = triu(P) - triu(P)^T,    Q = (I + A)(I - A)^-1

(Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3.) The two factors
commute, so Q W = 2 (I - A)^-1 W - W: one system with as many right-hand sides as W has columns, and Q is never formed.

I - A is eliminated by blocks, without pivoting: nearly all of the work is matrix products. The symmetric part of
I - A is I and that of everything an elimination leaves is larger still, so nothing is ever singular; and one step of
iterative refinement makes the solution more accurate than a pivoted factorisation alone. Where entries are far above
the N(0, 1) that layers start with, blocks grow; the residual shows it, and a pivoted solver in float64 takes over.

On a GPU an operation costs 13 microseconds, however small, and products next to nothing: there (I - A)(I + A) =
I + A A^T is factored, which is positive definite, by Cholesky in float64.
"""

import collections

import numpy as np

from common.compat import tf
from common.graph import gpus
from common.graph.linalg import identity
from common.graph.map_arguments import checked

_HALVINGS = 2  # of each half of I - A before a library inverts what is left, an eighth of the size

_LARGEST = {"float32": 5e8, "float64": 2e5}  # half the sum of A's squares; N(0, 1) entries have 5e5 at n = 1,024
_GROWN = 1e4  # a residual so many times the unit of rounding calls for the pivoted solver; N(0, 1) entries reach 1e3

# I - A = [[first, -coupling], [coupling^T, second]] and, where n is odd, one more column, -border, and row.
_Factors = collections.namedtuple("_Factors", "first second coupling border first_inverse remainder_inverse")


def cayley(generator, weights, method="auto"):
    """Returns Q(generator) @ weights.

    Args:
      generator: P [n, n], float32 or float64; only what is above its diagonal matters.
      weights: W [n, m] of the same type.
      method: "block" is elimination by blocks, "cholesky" the positive definite system in float64; "auto" is "cholesky"
        on GPUs that are fast in float64 and "block" everywhere else.

    Returns Q W [n, m]. Both arguments have gradients, from one factorisation. The number of graph nodes is the same
    for every n.

    Raises ValueError where shapes or types do not fit, and, when run, tf.errors.InvalidArgumentError where the
    generator is not finite.
    """
    if method not in METHODS:
        raise ValueError(f"cayley: the method is {method!r}, expected one of {', '.join(METHODS)}")
    generator, weights = checked("cayley", generator, weights)
    # The sum of all entries is checked, not each: on a CPU that takes a tenth of the time.
    finite = tf.check_numerics(tf.reduce_sum(generator), "cayley: the generator is not finite")
    with tf.control_dependencies([finite]):
        return METHODS[method](tf.identity(generator), weights)


@tf.custom_gradient
def _by_blocks(generator, weights):
    factors = _factorise(generator)
    system, last = _open(factors.border, weights)
    attempt = _solve(factors, system, 1)
    residual = system - _multiply(factors, attempt)
    limit = _GROWN * np.finfo(system.dtype.as_numpy_dtype).eps
    safe = tf.reduce_max(tf.abs(residual)) <= limit * tf.reduce_max(tf.abs(system))
    refined = tf.cond(
        safe, lambda: attempt + _solve(factors, residual, 1), lambda: _solve_pivoted(generator, system, 1)
    )
    solved = _close(factors.border, refined, last)

    def gradient(upstream):
        """With X = (I - A)^-1 W and Z = (I - A)^-T 2G: of A it is Z X^T - X Z^T, of W it is Z - G."""
        border = -factors.border
        system, last = _open(border, 2 * upstream)
        adjoint = tf.cond(safe, lambda: _solve(factors, system, -1), lambda: _solve_pivoted(generator, system, -1))
        adjoint = _close(border, adjoint, last)
        return _of_upper(solved, adjoint), adjoint - upstream

    return 2 * solved - weights, gradient


@tf.custom_gradient
def _by_cholesky(generator, weights):
    """(I -+ A)^-1 = (I + A A^T)^-1 (I +- A), for the factors commute."""
    upper = tf.linalg.band_part(tf.cast(generator, tf.float64), 0, -1)
    skew = upper - tf.transpose(upper)
    unit = identity(int(skew.shape[0]), tf.float64)
    triangle = tf.linalg.cholesky(tf.matmul(skew, skew, transpose_b=True) + unit)
    inverse = tf.linalg.triangular_solve(triangle, unit)
    safe = tf.nn.l2_loss(skew) <= _LARGEST[generator.dtype.name]  # rounding is multiplied by 1 + |A|^2 at most

    def solve(right, sign):
        def by_factors():
            exact = tf.cast(right, tf.float64)
            moved = exact + sign * tf.matmul(skew, exact)
            return tf.cast(tf.matmul(inverse, tf.matmul(inverse, moved), transpose_a=True), right.dtype)

        return tf.cond(safe, by_factors, lambda: _solve_pivoted_with_border(generator, right, sign))

    solved = solve(weights, 1)

    def gradient(upstream):
        adjoint = solve(2 * upstream, -1)
        return _of_upper(solved, adjoint), adjoint - upstream

    return 2 * solved - weights, gradient


def _auto(generator, weights):
    """The one place that chooses."""
    return (_by_cholesky if gpus.fast_in_float64() else _by_blocks)(generator, weights)


METHODS = {"auto": _auto, "block": _by_blocks, "cholesky": _by_cholesky}


def _of_upper(solved, adjoint):
    """The gradient of what is above P's diagonal, Z X^T - X Z^T there."""
    of_skew = tf.matmul(tf.concat([adjoint, -solved], 1), tf.concat([solved, adjoint], 1), transpose_b=True)
    return of_skew - tf.linalg.band_part(of_skew, -1, 0)


def _factorise(generator):
    """Cuts I - A into blocks and eliminates the first."""
    size = int(generator.shape[0])
    # A skew matrix of odd size is singular. Its last row and column stand apart so that what is eliminated by blocks,
    # and divided by, is of even size and keeps away from 0 however large the generator is.
    even = size - size % 2
    half = _even_half(even)
    (first, coupling, border), (_, second, border_below), _ = _blocks(generator, [half, even - half, size - even])
    first, second = _identity_minus_skew(first), _identity_minus_skew(second)
    inverse = _inverse(first)
    remainder = second + tf.matmul(coupling, tf.matmul(inverse, coupling), transpose_a=True)
    border = tf.concat([border, border_below], 0)
    return _Factors(first, second, coupling, border, inverse, _inverse(remainder))


def _open(border, right):
    """Returns the even system's right-hand sides, the border the last of them, and the odd row of `right`."""
    inner, last = tf.split(right, border.shape.as_list())
    return tf.concat([inner, border], 1), last


def _close(border, solved, last):
    """Returns the whole system's solution from that of the even one."""
    columns, odd = int(last.shape[1]), int(border.shape[1])
    solved, reduced = tf.split(solved, [columns, odd], 1)
    pivot = 1 + tf.reduce_sum(tf.square(reduced))  # = 1 + border^T (I - A)^-1 border, for I - A is normal
    last = (last - tf.matmul(border, solved, transpose_a=True)) / pivot
    return tf.concat([solved + tf.matmul(reduced, last), last], 0)


def _solve(factors, right, sign):
    """Returns (I - A)^-1 right for sign 1 and (I - A)^-T right = (I + A)^-1 right for sign -1; of even size."""
    transposed = sign < 0
    first, second = tf.split(right, factors.coupling.shape.as_list())
    coupled = tf.matmul(factors.first_inverse, first, transpose_a=transposed)
    coupled = tf.matmul(factors.coupling, coupled, transpose_a=True)
    second = second + coupled if transposed else second - coupled
    second = tf.matmul(factors.remainder_inverse, second, transpose_a=transposed)
    coupled = tf.matmul(factors.coupling, second)
    first = first - coupled if transposed else first + coupled
    return tf.concat([tf.matmul(factors.first_inverse, first, transpose_a=transposed), second], 0)


def _multiply(factors, right):
    """Returns (I - A) right; of even size."""
    first, second = tf.split(right, factors.coupling.shape.as_list())
    above = tf.matmul(factors.first, first) - tf.matmul(factors.coupling, second)
    below = tf.matmul(factors.second, second) + tf.matmul(factors.coupling, first, transpose_a=True)
    return tf.concat([above, below], 0)


def _solve_pivoted_with_border(generator, right, sign):
    """(I - A)^-1 right for sign 1, (I + A)^-1 right for sign -1, of any size, by `_solve_pivoted`."""
    even = int(right.shape[0]) // 2 * 2
    border = sign * tf.slice(generator, [0, even], [even, int(right.shape[0]) - even])
    system, last = _open(border, right)
    return _close(border, _solve_pivoted(generator, system, sign), last)


def _solve_pivoted(generator, right, sign):
    """What `_solve` returns, from a pivoted factorisation in float64."""
    even = tf.slice(generator, [0, 0], [int(right.shape[0])] * 2)
    matrix = _identity_minus_skew(tf.cast(even, tf.float64))
    return tf.cast(tf.linalg.solve(matrix, tf.cast(right, tf.float64), adjoint=sign < 0), right.dtype)


def _inverse(matrix, halvings=_HALVINGS):
    """Returns the inverse of a matrix of even size whose symmetric part is at least I, or at most -I."""
    if halvings == 0:
        return tf.linalg.inv(matrix)
    half = _even_half(int(matrix.shape[0]))
    (first, right), (below, second) = _blocks(matrix, [half, int(matrix.shape[0]) - half])
    first = _inverse(first, halvings - 1)
    right = tf.matmul(first, right)
    second = _inverse(tf.matmul(below, right) - second, halvings - 1)
    below = tf.matmul(below, first)
    corner = tf.matmul(right, second)
    rows = [first - tf.matmul(corner, below), corner], [tf.matmul(second, below), -second]
    return tf.concat([tf.concat(row, 1) for row in rows], 0)


def _identity_minus_skew(block):
    upper = tf.linalg.band_part(block, 0, -1)
    return tf.linalg.set_diag(tf.transpose(upper) - upper, tf.fill(block.shape[:1], tf.constant(1, block.dtype)))


def _blocks(matrix, sizes):
    """Cuts a square matrix along both axes."""
    sizes = tf.constant(sizes)
    return [tf.split(rows, sizes, 1) for rows in tf.split(matrix, sizes)]


def _even_half(size):
    return 2 * ((size + 2) // 4)
