"""The polar factor times a few columns, and its gradient, by a rational function: no decomposition, only products.

    P = L S           S orthogonal, L lower triangular (`orthonormal.factor`): polar(P) = polar(L) S
    C = (z L + L^-T / z) / 2      one step of Newton's iteration: the same polar factor, all singular values >= 1
    D = (y C + C^-T / y) / 2      another; L's condition number k became about k^(1/2) / 2 in C, k^(1/4) / 3 in D
    polar(D) V = D (w_0 + sum_j w_j (D^T D + c_j)^-1) V,     V = S W

with Zolotarev's best rational approximation of x^(-1/2) in partial fractions (Nakatsukasa and Freund, SIAM Review 58,
2016; Higham, "Functions of Matrices", 2008, chapter 8). The second step inverts C^T C, so its square condition number
does no harm: singular values near 1 lose no orthogonality, as they would if the sum were taken over C^T C.

Gradient of the sum, with Z_j = (D^T D + c_j)^-1 V and T_j = (D^T D + c_j)^-1 D^T G: D' = G Z^T - D E, where
E = sum_j w_j (T_j Z_j^T + Z_j T_j^T) and Z = w_0 V + sum_j w_j Z_j. The polar factor does not depend on z and y, and
H_C K + K H_C = skew is the same equation for all of its arguments (see lowdin.py), so a step goes back by

    C' = (y D' - C^-T D'^T C^-T / y) / 2,    in which D cancels:
    C' = (y G Z^T - (C^-T Z) (C^-1 G)^T / y) / 2 - C ((y^2 / 4) E - A^-1 E A^-1 / (4 y^2)),    A = C^T C.
"""

import numpy as np
from scipy import special

from common import orthonormal
from common.compat import tf
from opt_ls import lowdin_blocks as blocks

_TERMS = 5
_RANGE = 8.0  # the sum is made for singular values of D from 1 to this; its error is then 6e-7
_MARGIN = 1.1  # by which estimates of D's range may be too small; with it P's condition number may be 1.8e5
_ITERATIONS = 3  # of the power method
_LENGTHS = 1e-5  # by which inner products of the result may differ from those of the weights


def rational(name, generator, weights):
    """Returns Q(generator) @ weights, its gradient, and whether both are to be trusted.

    Args:
      name: the map's, for messages.
      generator: P [n, n], float32.
      weights: W [n, m], float32.

    Returns:
      Q W [n, m]; a function of G [n, m] to the gradients of P and W; a bool scalar, false where P is so close to
      singular that D leaves the range of the sum.

    Raises tf.errors.InvalidArgumentError, when run, for generators that are singular or not finite.
    """
    size = int(generator.shape[0])
    more = [[0, -size % blocks.BLOCKS], [0, 0]]
    matrix = blocks.padded(generator)
    factors = orthonormal.factor(name, matrix, by_rows=True)
    lower, rows = orthonormal.lower(factors, matrix), factors.rows
    inverse = blocks.triangular_inverse(lower)
    z, y, largest = _scales(lower, inverse)

    # All steps are kept transposed: rows of C^T are what the inverse of C^T C multiplies.
    first = z / 2 * tf.transpose(lower) + inverse / (2 * z)
    first_halves = blocks.halve(first)
    second = y / 2 * first + blocks.solve(first_halves, first)[0] / (2 * y)
    shifts, numerators, constant = inverse_root(_RANGE, _TERMS)
    numerators = tf.constant(numerators[:, np.newaxis, np.newaxis], generator.dtype)
    terms = blocks.halve(second, shifts)

    turned = tf.matmul(rows, tf.pad(weights, more))
    solved = numerators * blocks.solve(terms, turned)
    total = constant * turned + tf.reduce_sum(solved, 0)
    result = tf.matmul(second, total, transpose_a=True)[:size]

    def gradient(upstream):
        upstream = tf.pad(upstream, more)
        back = tf.matmul(second, upstream)
        solved_back = blocks.solve(terms, back)
        of_weights = tf.matmul(rows, constant * back + tf.reduce_sum(numerators * solved_back, 0), transpose_a=True)

        left, right = _side_by_side(solved_back), _side_by_side(solved)
        parts = tf.concat([left, right, total, tf.matmul(first, upstream)], 1)
        widths = [int(part.shape[1]) for part in (left, right, total, upstream)]
        left_2, right_2, total_2, upstream_2 = tf.split(blocks.solve(first_halves, parts)[0], widths, 1)
        half = tf.matmul(
            tf.concat([y * y / 4 * left, left_2 / (-4 * y * y)], 1), tf.concat([right, right_2], 1), transpose_b=True
        )
        of_first = tf.matmul(
            tf.concat([y / 2 * total, upstream_2 / (-2 * y)], 1),
            tf.concat([upstream, tf.matmul(first, total_2, transpose_a=True)], 1),
            transpose_b=True,
        ) - tf.matmul(half + tf.transpose(half), first)
        reflected = tf.matmul(tf.matmul(inverse, of_first, transpose_a=True), inverse, transpose_b=True)
        of_lower = z / 2 * tf.transpose(of_first) - reflected / (2 * z)
        return tf.matmul(of_lower, rows)[:size, :size], of_weights[:size]

    return result, gradient, (largest < _RANGE / _MARGIN) & _same_lengths(result, weights)


def inverse_root(largest, terms):
    """Returns c [terms], w [terms] and w_0: w_0 + sum_j w_j / (x + c_j) is x^(-1/2) for 1 <= x <= largest^2.

    Zolotarev's best approximation: its relative error, the same at its 2 terms + 2 extrema, is the least possible.
    """
    least = 1 / largest
    quarter = special.ellipk(1 - least**2)
    sine, cosine, _, _ = special.ellipj(np.arange(1, 2 * terms + 1) * quarter / (2 * terms + 1), 1 - least**2)
    squares = (sine / cosine) ** 2  # poles and zeros in turn, of the function on [1 / largest, 1]; here times largest^2
    poles, zeros = squares[0::2], squares[1::2]
    weights = [np.prod(zeros - pole) / np.prod(np.delete(poles, j) - pole) for j, pole in enumerate(poles)]
    samples = np.geomspace(1, largest**2, 4001)
    values = np.sqrt(samples) * (1 + np.sum(weights / (samples[:, np.newaxis] + poles), 1))
    scale = 2 / (values.min() + values.max())
    return poles, scale * np.array(weights), scale


def _scales(lower, inverse):
    """Returns z, y, and the largest singular value of D, from estimates of the norms of L and of its inverse."""
    norm, inverse_norm = _norm(lower), _norm(inverse)
    spread = (norm * inverse_norm) ** 0.5  # of the singular values of z L: from 1 / spread to spread
    largest = (spread + 1 / spread) / 2
    return (inverse_norm / norm) ** 0.5, largest**-0.5, (largest**0.5 + largest**-0.5) / 2


def _norm(matrix):
    """The largest singular value, by the power method from a fixed start: a little less than it is."""
    vector = tf.constant(np.random.default_rng(0).normal(size=(int(matrix.shape[0]), 1)), matrix.dtype)
    for _ in range(_ITERATIONS):
        vector = vector / tf.norm(vector)
        vector = tf.matmul(matrix, tf.matmul(matrix, vector), transpose_a=True)
    return tf.norm(vector) ** 0.5


def _side_by_side(batch):
    """[r, n, m] to [n, r m]."""
    count, size, columns = batch.shape.as_list()
    return tf.reshape(tf.transpose(batch, [1, 0, 2]), [size, count * columns])


def _same_lengths(result, weights):
    """Whether the inner products of columns are what an orthogonal matrix leaves them; not, where one is NaN."""
    expected = tf.matmul(weights, weights, transpose_a=True)
    return tf.norm(tf.matmul(result, result, transpose_a=True) - expected) <= _LENGTHS * tf.norm(expected)
