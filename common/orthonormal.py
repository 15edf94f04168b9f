"""Orthonormal rows: P = L Q with L lower triangular, its diagonal positive, and Q orthogonal, and the way back.

Gram-Schmidt on rows and Householder's QR are this factorisation of the generator or of its transpose.

Forward: block Gram-Schmidt. A panel of rows is projected against the finished rows by two products and then
orthonormalised by Cholesky's factor of its Gram matrix (Cholesky-QR; Stathopoulos and Wu, SIAM J. Sci. Comput. 23,
2002). Where the rows that are left are so short or so dependent that rounding shows, the pass is repeated, as in
"twice is enough" (Giraud, Langou and Rozloznik, Comput. Math. Appl. 50, 2005); where Cholesky's factor does not exist
in this precision, the repetition shifts the Gram matrix (Fukaya et al., SIAM J. Sci. Comput. 42, 2020). So every
generator takes as many passes as it needs, and all else is matrix products.

Backward: dP = dL Q + L dQ with dL lower triangular and dQ Q^T skew gives P' = L^-T U Q, U the strict upper triangle of
A - A^T, A the gradient of Q times Q^T.
"""

import collections

import numpy as np

from common.compat import tf

Factors = collections.namedtuple("Factors", ["lower", "rows"])

# A pass multiplies the rounding errors of its rows by the inverse of Cholesky's factor; its growth is the mean square
# of that over the rows. A first pass may have this much; one that follows a failed one starts from unit rows.
_GROWTH, _LATER_GROWTH = 8.0, 1.5
_PASSES = 12  # a panel that is not orthonormal after so many is singular; condition 1e6 in float32 takes 3 or 4
_SHIFT = 4.0  # of a Gram matrix without Cholesky's factor: units of rounding of its trace
_DEPENDENT = {"float32": 9e-7, "float64": 1e-13}  # a row of which no more is left than this depends on those above it


def factor(name, matrix, method="auto"):
    """Returns `Factors` L and Q, both [n, n], of matrix = L Q; what is above L's diagonal is undefined.

    Args:
      name: the map's, for messages.
      matrix: [n, n], float32 or float64; the squares of its rows' norms must be within the type's range.
      method: "block" is block Gram-Schmidt, "qr" TensorFlow's QR; "auto" is "block" on every device.

    Raises ValueError for an unknown method; at run time, tf.errors.InvalidArgumentError if the matrix is not finite, or
    so close to singular that no more than rounding is left of one of its rows.
    """
    if method not in _METHODS:
        raise ValueError(f"{name}: the method is {method!r}, expected one of {', '.join(_METHODS)}")
    norms = tf.math.reduce_euclidean_norm(matrix, axis=1, keepdims=True)
    norms = tf.debugging.check_numerics(norms, f"{name}: the generator is not finite")
    lower, rows, remaining = _METHODS[method](matrix, norms)
    nan = tf.constant(np.nan, matrix.dtype)
    verdict = tf.where(remaining > _DEPENDENT[matrix.dtype.name], remaining, nan)
    with tf.control_dependencies([tf.debugging.check_numerics(verdict, f"{name}: the generator is singular")]):
        return Factors(lower, tf.identity(rows))


def pull_back(factors, left, right):
    """Returns the gradient [n, n] of P, from A = left @ right^T, the gradient of Q times Q^T; both are [n, m].

    L^T P' = U Q is solved by panels, the last first. A - A^T has rank 2 m, so U is formed in the panels on its diagonal
    only; running sums over the rows below them give the rest of U Q.
    """
    lower, rows = factors
    size, width = int(rows.shape[0]), panel_width(int(rows.shape[0]))
    left, right = tf.concat([left, -right], 1), tf.concat([right, left], 1)  # A - A^T = left @ right^T

    def panel(end, gradient, sums):
        start = tf.maximum(end - width, 0)
        indices = tf.range(start, end)
        panel_rows, panel_left, panel_right = rows[start:end], tf.gather(left, indices), tf.gather(right, indices)
        upper = tf.linalg.band_part(tf.matmul(panel_left, panel_right, transpose_b=True), 0, -1)
        turned = tf.matmul(upper, panel_rows) + tf.matmul(panel_left, sums)
        triangle, below = tf.split(lower[start:, start:end], [end - start, size - end])
        turned -= tf.matmul(below, gradient[end:], transpose_a=True)
        inverse = tf.linalg.triangular_solve(triangle, _identity(indices, rows.dtype))
        solved = tf.matmul(inverse, turned, transpose_a=True)
        sums += tf.matmul(panel_right, panel_rows, transpose_a=True)
        return start, _write(gradient, indices, solved), sums

    sums = tf.fill([int(right.shape[1]), size], tf.constant(0, rows.dtype))
    return tf.while_loop(lambda end, *_: end > 0, panel, [size, _buffer(rows), sums], parallel_iterations=1)[1]


def determinant_sign(rotation):
    """Returns the sign of the determinant of an orthogonal matrix, a scalar.

    The complementary blocks of Q = [[A, B], [C, D]] have det A = det Q det D (Jacobi), so two small determinants do,
    side by side. Where they are too small to be trusted, which shows in their difference, Q's own is taken.
    """
    half = int(rotation.shape[0]) // 2
    sign, size = tf.linalg.slogdet(rotation[:half, :half])
    other_sign, other_size = tf.linalg.slogdet(rotation[half:, half:])
    agree = tf.abs(size - other_size) < 0.1
    return tf.cond(agree, lambda: sign * other_sign, lambda: tf.linalg.slogdet(rotation)[0])


def panel_width(size):
    """Rows of a panel: enough of them for products to be fast, few enough for Cholesky's share to be small."""
    return int(np.clip(size // 6, 64, 128)) // 16 * 16


def _qr(matrix, norms):
    """TensorFlow's QR of the transpose, its signs made positive. Returns what `_block` returns."""
    rotation, triangle = tf.linalg.qr(tf.transpose(matrix / norms))
    diagonal = tf.linalg.diag_part(triangle)
    signs = tf.where(diagonal < 0, -tf.ones_like(diagonal), tf.ones_like(diagonal))
    lower = norms * tf.transpose(triangle) * signs
    return lower, tf.transpose(rotation) * signs[:, tf.newaxis], tf.reduce_min(tf.abs(diagonal))


def _block(matrix, norms):
    """Block Gram-Schmidt. Returns L, Q and the least that is left of any row of norm 1 after those above it."""
    size, width = int(matrix.shape[0]), panel_width(int(matrix.shape[0]))

    def panel(start, lower, rows, remaining):
        end = tf.minimum(start + width, size)
        indices = tf.range(start, end)
        scale = tf.gather(norms, indices)
        nothing = tf.fill([end - start, start], tf.constant(0, matrix.dtype))
        identity = _identity(indices, matrix.dtype)
        new, coefficients, triangle, left = _orthonormal(matrix[start:end] / scale, rows[:start], nothing, identity)
        new_lower = tf.pad(scale * tf.concat([coefficients, triangle], 1), [[0, 0], [0, size - end]])
        return end, _write(lower, indices, new_lower), _write(rows, indices, new), tf.minimum(remaining, left)

    variables = [0, _buffer(matrix), _buffer(matrix), tf.constant(1, matrix.dtype)]
    return tf.while_loop(lambda start, *_: start < size, panel, variables, parallel_iterations=1)[1:]


def _orthonormal(panel, finished, nothing, identity):
    """Splits panel [b, n] = coefficients [b, s] @ finished [s, n] + triangle [b, b] @ new [b, n], new orthonormal.

    `nothing` and `identity` are what coefficients and triangle start from: zeros [b, s] and the identity [b, b].
    Returns new, coefficients, triangle, and the least diagonal entry of the triangle, 0 where passes did not suffice.
    """
    dtype = panel.dtype
    zero, infinity = tf.constant(0, dtype), tf.constant(np.inf, dtype)
    shift_if_needed = tf.constant(_SHIFT * np.finfo(dtype.as_numpy_dtype).eps, dtype)
    first_limit, later_limit = tf.constant(_GROWTH, dtype), tf.constant(_LATER_GROWTH, dtype)

    def unfinished(passes, growth, *_):
        return tf.logical_and(passes < _PASSES, growth > tf.where(passes > 1, later_limit, first_limit))

    def one_pass(passes, _, shift, rows, coefficients, triangle):
        projection = tf.matmul(finished, rows, transpose_b=True)  # this way round: faster where n is a power of two
        rest = rows - tf.matmul(projection, finished, transpose_a=True)
        gram = tf.matmul(rest, rest, transpose_b=True)
        cholesky = tf.linalg.cholesky(gram + shift * tf.linalg.trace(gram) * identity)
        inverse = tf.linalg.triangular_solve(cholesky, identity)
        growth = tf.reduce_mean(tf.reduce_sum(tf.square(inverse), 1))
        exists = tf.math.is_finite(growth)  # where it does not, Cholesky's factor is filled with NaN
        return (
            passes + 1,
            tf.where(exists, growth, infinity),
            tf.where(exists, zero, shift_if_needed),
            tf.matmul(tf.where(exists, inverse, identity), rest),
            coefficients + tf.matmul(triangle, projection, transpose_b=True),
            tf.matmul(triangle, tf.where(exists, cholesky, identity)),
        )

    variables = [0, infinity, zero, panel, nothing, identity]
    passes, growth, _, new, coefficients, triangle = tf.while_loop(
        unfinished, one_pass, variables, parallel_iterations=1
    )
    left = tf.where(passes < _PASSES, tf.reduce_min(tf.linalg.diag_part(triangle)), zero)
    return new, coefficients, triangle, left


def _identity(indices, dtype):
    return tf.linalg.diag(tf.ones_like(indices, dtype))


def _buffer(like):
    """Memory for a matrix like another, its values undefined, that belongs to one loop."""
    return tf.raw_ops.Empty(shape=like.shape.as_list(), dtype=like.dtype)


def _write(buffer, indices, rows):
    """Writes rows of a `_buffer` in place: any other way to fill a matrix in a loop copies it in every round."""
    return tf.raw_ops.InplaceUpdate(x=buffer, i=indices, v=rows)


_METHODS = {"auto": _block, "block": _block, "qr": _qr}
