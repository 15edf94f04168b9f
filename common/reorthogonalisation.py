"""Block Gram-Schmidt with as many passes as a matrix needs: the careful way of common/orthonormal.py.

A panel of rows is projected against the finished rows and orthonormalised by Cholesky's factor of its Gram matrix. Where
the rows that are left are so short or so dependent that rounding shows, the pass is repeated, as in "twice is enough"
(Giraud, Langou and Rozloznik, Comput. Math. Appl. 50, 2005); where Cholesky's factor does not exist in this precision,
the repetition shifts the Gram matrix (Fukaya et al., SIAM J. Sci. Comput. 42, 2020).
"""

import numpy as np

from common.compat import tf

# A pass multiplies the rounding errors of its rows by the inverse of Cholesky's factor; its growth is the mean square
# of that over the rows. A first pass may have this much; one that follows a failed one starts from unit rows.
_GROWTH, LATER_GROWTH = 8.0, 1.5
_PASSES = 12  # a panel that is not orthonormal after so many is singular; condition 1e6 in float32 takes 3 or 4
_SHIFT = 4.0  # of a Gram matrix without Cholesky's factor: units of rounding of its trace
DEPENDENT = {"float32": 9e-7, "float64": 1e-13}  # a row of which no more is left than this depends on those above it


def factor(matrix):
    """Factors a matrix [n, n] of unit rows, L S, L lower triangular with a positive diagonal and S orthogonal.

    Returns L, what is above its diagonal being undefined, S, and the least that is left of any row after those above
    it, 0 where passes did not suffice.
    """
    size, width = int(matrix.shape[0]), _panel_width(int(matrix.shape[0]))

    def panel(start, lower, rows, remaining):
        end = tf.minimum(start + width, size)
        indices = tf.range(start, end)
        nothing = tf.fill([end - start, start], tf.constant(0, matrix.dtype))
        identity = tf.linalg.diag(tf.ones_like(indices, matrix.dtype))
        new, coefficients, triangle, left = _orthonormal(matrix[start:end], rows[:start], nothing, identity)
        new_lower = tf.pad(tf.concat([coefficients, triangle], 1), [[0, 0], [0, size - end]])
        return end, write(lower, indices, new_lower), write(rows, indices, new), tf.minimum(remaining, left)

    variables = [0, buffer(matrix), buffer(matrix), tf.constant(1, matrix.dtype)]
    return tf.while_loop(lambda start, *_: start < size, panel, variables, parallel_iterations=1)[1:]


def _panel_width(size):
    """Rows of a panel: enough of them for products to be fast, few enough for Cholesky's share to be small."""
    return int(np.clip(size // 6, 64, 128)) // 16 * 16


def _orthonormal(panel, finished, nothing, identity):
    """Splits panel [b, n] = coefficients [b, s] @ finished [s, n] + triangle [b, b] @ new [b, n], new orthonormal.

    `nothing` and `identity` are what coefficients and triangle start from: zeros [b, s] and the identity [b, b].
    Returns new, coefficients, triangle, and the least diagonal entry of the triangle, 0 where passes did not suffice.
    """
    dtype = panel.dtype
    zero, infinity = tf.constant(0, dtype), tf.constant(np.inf, dtype)
    shift_if_needed = tf.constant(_SHIFT * np.finfo(dtype.as_numpy_dtype).eps, dtype)
    first_limit, later_limit = tf.constant(_GROWTH, dtype), tf.constant(LATER_GROWTH, dtype)

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


def buffer(like):
    """Memory for a matrix like another, its values undefined, for rows that are written once each."""
    return tf.raw_ops.Empty(shape=like.shape.as_list(), dtype=like.dtype)


def write(memory, indices, rows):
    """Writes rows of a `buffer` in place: any other way to fill a matrix bit by bit copies it each time.

    What reads the rows has to read the result; rows that it does not write may be read before or after.
    """
    return tf.raw_ops.InplaceUpdate(x=memory, i=tf.cast(indices, tf.int32), v=rows)
