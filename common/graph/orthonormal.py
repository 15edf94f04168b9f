"""Gram-Schmidt on the rows of matrices, or on their columns, and its gradient.

A = L S, L lower triangular with a positive diagonal, S orthogonal. With the columns as vectors A is the transposed
matrix, and this is Householder's QR up to a sign.

Forward: block Gram-Schmidt by halves. When the first half of the vectors is orthonormal, the second is projected
against the first by products, and then orthonormalised. The last halves, the panels, are orthonormalised by Cholesky's
factor of their Gram matrix (Cholesky-QR; Stathopoulos and Wu, SIAM J. Sci. Comput. 23, 2002). Of a generator with
normal entries only the last vectors are nearly dependent on the others, so only the last and smallest panel is
projected twice ("twice is enough": Giraud, Langou and Rozloznik, Comput. Math. Appl. 50, 2005). Where Cholesky's
factors show that twice was not enough, TensorFlow's QR does everything again: slower, and right for any condition
number.

Backward: dA = dL S + L dS with dL lower triangular and dS S^T skew gives A' = L^-T U S, U the strict upper triangle of
B - B^T, B the gradient of S times S^T.

The last vector may depend on the others. S takes from it only on which side of the others' hyperplane it is. The last
row of U is zero, so the last vector's gradient is zero, and no gradient contains L_nn. Training does get there:
det A = 0 is a surface, and a path through the surface may have a point right next to it. For an earlier vector to
depend on those before it two or more conditions must hold at once; there gradients grow without bound.
"""

import collections
import functools

import numpy as np

from common.compat import tf
from common.graph import linalg
from common.graph.cholesky_qr import cholesky_qr
from common.graph.linalg import diagonal, matmul, squared_norm, transposed, triangle_inverse

# The vectors, as rows, are diag(1 / inverse_norms) L S; `rows` is S [b, n, n], `inverse_norms` is [b, n].
Factors = collections.namedtuple("Factors", ["rows", "lower", "inverse_norms", "by_rows"])
# L of two halves of the vectors: [[first, 0], [below, second]]. Of a panel there is only L^-1, a tensor.
_Halves = collections.namedtuple("_Halves", ["first", "below", "second"])

# Sizes of the panels relative to each other. Few wide ones keep products fast; the last is projected twice.
_SHARES = (4, 4, 4, 4, 4, 4, 3, 1.5)
_HALVINGS = 2  # of the gradient, for which what is zero of an upper triangle is left out
_MULTIPLE = 16  # of the panels' widths where there is room for it: floats in a cache line
# The mean square of a row of the inverse of Cholesky's factor: what rounding errors are multiplied by, squared.
# Vectors that have been through a pass are nearly orthonormal; if not, that pass found no more than rounding.
_GROWTH, _LATER_GROWTH = 64.0, 1.5
_DEPENDENT = {"float32": 9e-7, "float64": 1e-13}  # a unit vector of which no more is left depends on those before it


def factor(matrix, members, by_rows=True, algorithm="auto"):
    """Returns the `Factors` of matrices.

    Args:
      matrix: [b, n, n], float32 or float64. The squares of its vectors' norms must be within the type's range.
      members: `members.Members`, which names them in errors.
      by_rows: whether its vectors are its rows, or its columns.
      algorithm: one of `ALGORITHMS`. "block" is block Gram-Schmidt, "cholesky" one panel in float64 (see
        `cholesky_qr`), "qr" TensorFlow's QR. "auto" is "cholesky" on GPUs that are fast in float64, and "block"
        everywhere else.

    Where QR was needed and L_nn is as good as zero, L has 1 in its place: no gradient needs L_nn.

    Raises tf.errors.InvalidArgumentError, when run, if a matrix is not finite, a vector or its square is
    zero, or no more than rounding is left of a vector before the last.
    """
    return _factored(matrix, members, by_rows, algorithm, "row" if by_rows else "column")[0]


def attempt(matrix, members):
    """Returns the `Factors` of the rows of any matrices [b, n, n], and whether each matrix's are independent, bool [b].

    Where the rows, the last one included, are not, the factors are of no use, but there is no error.
    """
    factors, independent = _factored(matrix, members, True, "block", None)
    return factors, independent > 0


def _factored(matrix, members, by_rows, algorithm, vector):
    """Returns (the `Factors`,); for `vector` None also, in place of errors, 1 or 0 [b]: are all vectors independent?
    """
    vectors = matrix if by_rows else transposed(matrix)
    inverse_norms = 1 / tf.math.reduce_euclidean_norm(vectors, 2)
    units = vectors * tf.expand_dims(inverse_norms, -1)
    rows, lower, *independent = ALGORITHMS[algorithm](members, units, inverse_norms, vector)
    return Factors(rows, lower, inverse_norms, by_rows), *independent


def pull_back(factors, left, right):
    """Returns the gradient [b, n, n] of the matrices. B = left @ right^T, of two [b, n, m], is S's gradient times S^T.

    U is the upper triangle of B - B^T. Where L^-1 is at hand the difference is computed as such, in the fewest
    operations; else as [left, -right] @ [right, left]^T, which takes the least time on a CPU.
    """
    if not isinstance(factors.lower, _Halves):
        product = matmul(left, right, transpose_b=True)
        upper = tf.linalg.band_part(product - transposed(product), 0, -1)
        band = matmul(factors.lower, upper, transpose_a=True) * tf.expand_dims(factors.inverse_norms, -1)
        if factors.by_rows:
            return matmul(band, factors.rows)
        return matmul(factors.rows, band, transpose_a=True, transpose_b=True)
    left, right = tf.concat([left, -right], 2), tf.concat([right, left], 2)
    # U's diagonal is zero but for rounding, which in its last row would meet 1 / L_nn.
    left *= (np.arange(left.shape[1]) < left.shape[1] - 1)[:, np.newaxis].astype(left.dtype.as_numpy_dtype)
    upper = tf.linalg.band_part(matmul(left, right, transpose_b=True), 0, -1)
    start, gradients = 0, []
    for band in _solve_upper(factors.lower, upper, _HALVINGS):
        end = start + int(band.shape[1])
        band *= factors.inverse_norms[:, start:end, tf.newaxis]
        rows = factors.rows[:, start:]
        if factors.by_rows:
            gradients.append(matmul(band, rows))
        else:
            gradients.append(matmul(rows, band, transpose_a=True, transpose_b=True))
        start = end
    return tf.concat(gradients, 1 if factors.by_rows else 2)


def inverse_transpose(factors):
    """Returns A^-T [b, n, n] of matrices whose rows were factored: A = L S, so L^T A^-T = S."""
    return _solve_transposed(factors.lower, factors.rows) * tf.expand_dims(factors.inverse_norms, -1)


def _solve_transposed(lower, right):
    """Returns L^-T right."""
    if not isinstance(lower, _Halves):
        return matmul(lower, right, transpose_a=True)
    above, right = tf.split(right, [int(lower.below.shape[2]), int(lower.below.shape[1])], 1)
    solved = _solve_transposed(lower.second, right)
    above = _solve_transposed(lower.first, above - matmul(lower.below, solved, transpose_a=True))
    return tf.concat([above, solved], 1)


def _solve_upper(lower, upper, halvings):
    """Returns L^-T U, U upper triangular, by bands of rows, each without the zeros before its diagonal."""
    if not halvings or not isinstance(lower, _Halves):
        return [_solve_transposed(lower, upper)]
    size = int(lower.below.shape[2])
    above, below = tf.split(upper, [size, int(lower.below.shape[1])], 1)
    bands = _solve_upper(lower.second, below[:, :, size:], halvings - 1)
    moved = matmul(lower.below, _joined(bands), transpose_a=True)
    above = tf.concat([above[:, :, :size], above[:, :, size:] - moved], 2)
    return [*_solve_upper(lower.first, above, halvings - 1), *bands]


def _joined(bands):
    width = int(bands[0].shape[2])
    return tf.concat([tf.pad(band, [[0, 0], [0, 0], [width - int(band.shape[2]), 0]]) for band in bands], 1)


def _panels(size):
    """Returns the widths of all panels; the same number for every size that has room for them."""
    edges = size * np.cumsum([0, *_SHARES]) / sum(_SHARES)
    multiple = _MULTIPLE if size >= 2 * _MULTIPLE * len(_SHARES) else 1
    edges = [int(round(edge / multiple)) * multiple for edge in edges[:-1]] + [size]
    return [end - start for start, end in zip(edges, edges[1:]) if start < end]


def _block(members, units, inverse_norms, vector):
    """Block Gram-Schmidt of unit vectors. Returns S and L, and what `_factored` has of them if `vector` is None."""
    panels = _panels(int(units.shape[1]))
    rows, lower, triangle, growths = _by_halves(panels, units, [])
    # Of the vectors before the last panel enough is left where their growth is within its limit.
    left = diagonal(triangle) > _DEPENDENT[units.dtype.name]
    trusted = tf.reduce_all(tf.stack(growths, 1) <= 1, 1) & tf.reduce_all(left[:, :-1], 1)  # not so for NaN
    result = rows, lower, *_independent(left, units, vector)
    return members.replace(trusted, result, functools.partial(_qr, vector=vector, panels=panels), units, inverse_norms)


def _by_halves(panels, vectors, above):
    """Returns S, L, Cholesky's factor of the last panel, and how far each panel's growth is within its limit, 1.

    Args:
      panels: their widths.
      vectors: [b, k, n], whose projections on the vectors before them have been taken away.
      above: S of the vectors before them, if these are the last of all, or None.
    """
    if len(panels) == 1:
        triangle, inverse, growth = _orthonormalise(vectors)
        rows = matmul(inverse, vectors)
        if above is None:
            return rows, inverse, triangle, [growth / _GROWTH]
        for basis in above:
            rows, _ = _project(basis, rows)
        again, inverse_again, growth = _orthonormalise(rows)
        rows = matmul(inverse_again, rows)
        return rows, matmul(inverse_again, inverse), matmul(triangle, again), [growth / _LATER_GROWTH]
    half = (len(panels) + 1) // 2
    first, second = tf.split(vectors, [sum(panels[:half]), sum(panels[half:])], 1)
    first, first_lower, _, growths = _by_halves(panels[:half], first, None)
    second, below = _project(first, second)
    above = None if above is None else [*above, first]
    second, second_lower, triangle, more = _by_halves(panels[half:], second, above)
    return tf.concat([first, second], 1), _Halves(first_lower, below, second_lower), triangle, [*growths, *more]


def _cholesky(members, units, inverse_norms, vector, passes=1):
    """Everything in one panel, in float64, with more passes where they are needed. Returns what `_block` returns."""
    rows, inverse, scales, trusted = cholesky_qr(units, passes)
    left = scales > _DEPENDENT[units.dtype.name]
    result = rows, inverse, *_independent(left, units, vector)
    more = functools.partial(_cholesky, vector=vector, passes=2)
    slower = more if passes == 1 else functools.partial(_qr, vector=vector, panels=[int(units.shape[1])])
    return members.replace(trusted & tf.reduce_all(left[:, :-1], 1), result, slower, units, inverse_norms)


def _qr(members, units, inverse_norms, vector, panels=None):
    """TensorFlow's QR, its signs made positive. Returns what `_block` returns."""
    if vector:
        finite = tf.reduce_all(inverse_norms > 0, 1)  # not so for NaN, and for the inverse of infinity
        checks = [members.check(finite, "is not finite")]
        with tf.control_dependencies(checks):
            none_zero = tf.reduce_all(tf.math.is_finite(inverse_norms), 1)
        checks = [members.check(none_zero, f"is singular: a {vector} is zero, or its square is")]
        with tf.control_dependencies(checks):
            units = tf.identity(units)
    rotation, triangle = tf.linalg.qr(transposed(units))
    scales = diagonal(triangle)
    signs = tf.where(scales < 0, -tf.ones_like(scales), tf.ones_like(scales))
    rows, scales = transposed(rotation) * signs[..., tf.newaxis], tf.abs(scales)
    left = scales > _DEPENDENT[units.dtype.name]
    if vector:
        singular = members.check(tf.reduce_all(left[:, :-1], 1), f"is singular: a {vector} depends on those before it")
        with tf.control_dependencies([singular]):
            rows = tf.identity(rows)
    size = int(units.shape[1])
    # L_nn may be as good as zero; only the last row of L^-1 depends on it.
    scales = tf.where(left | (np.arange(size) < size - 1), scales, tf.ones_like(scales))
    lower = tf.linalg.set_diag(transposed(triangle) * signs[:, tf.newaxis], scales)
    return rows, _by_panels(lower, panels or _panels(size)), *_independent(left, units, vector)


def _by_panels(lower, panels):
    """Returns L [b, n, n] as `_by_halves` does."""
    if len(panels) == 1:
        return triangle_inverse(lower)
    half = (len(panels) + 1) // 2
    start = sum(panels[:half])
    first = _by_panels(lower[:, :start, :start], panels[:half])
    return _Halves(first, lower[:, start:, :start], _by_panels(lower[:, start:, start:], panels[half:]))


def _auto(*arguments):
    """The one place that chooses."""
    return (_cholesky if linalg.fast_in_float64() else _block)(*arguments)


ALGORITHMS = {"auto": _auto, "block": _block, "cholesky": _cholesky, "qr": _qr}


def _independent(left, units, vector):
    """Returns [1 or 0 for whether enough is left of all vectors] where nobody is told by an error."""
    return [] if vector else [tf.cast(tf.reduce_all(left, 1), units.dtype)]


def _project(basis, vectors):
    """Returns vectors [b, k, n] minus their components along orthonormal ones [b, s, n], and those [b, k, s]."""
    components = matmul(vectors, basis, transpose_b=True)
    return vectors - matmul(components, basis), components


def _orthonormalise(vectors):
    """Returns a lower triangular T [b, k, k], T^-1 and the growth of rounding errors: T^-1 vectors is orthonormal."""
    triangle = tf.linalg.cholesky(matmul(vectors, vectors, transpose_b=True))
    inverse = triangle_inverse(triangle)
    return triangle, inverse, squared_norm(inverse) / int(vectors.shape[1])
