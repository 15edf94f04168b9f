"""The polar factor times a few columns, and its gradient, by a rational function: no decomposition, only products.

    P^-T, from P = L S          S orthogonal, L lower triangular (`orthonormal.attempt`)
    C = (z P + P^-T / z) / 2    one step of Newton's iteration: the same polar factor, all singular values >= 1
    D = (p + q N) C,  N = (I + k C C^T)^-1      one of Halley's, dynamically weighted: the same polar factor again, and
                                the largest singular value less than 2.4 times the smallest;
                                P's condition number 1e4 became 50 in C and 1.7 in D, 1.1e5 became 166 and 2.3
    polar(D) W = (w_0 + sum_j w_j R_j) D W,  R_j = (D D^T + c_j)^-1

with Zolotarev's best rational approximation of x^(-1/2) in partial fractions (Nakatsukasa, Bai and Gygi, SIAM J. Matrix
Anal. Appl. 31, 2010; Nakatsukasa and Freund, SIAM Review 58, 2016; Higham, "Functions of Matrices", 2008, chapter 8).
N and the sum take the squares of singular values. For P that would lose the small ones. C's lie in a range where N is
well conditioned, and what errors N has move C and D alike, since D is formed before the sum makes it orthogonal.

Gradient of the sum, with Z_j = R_j G and T_j = R_j D W: D' = Z W^T - E D, where E = sum_j w_j (T_j Z_j^T + Z_j T_j^T)
and Z = w_0 G + sum_j w_j Z_j. The polar factor is the same function of C, and C' = K Q with the skew K that solves
H K + K H = G W^T Q^T - Q W G^T, H = C Q^T; that equation with D in place of C has the same right-hand side (see
lowdin.py). So p, q, k and z count as constants, and D cancels:

    C' = p Z W^T + q (N Z)(W - k C^T N C W)^T - q k (N C W)(C^T N Z)^T
         - (p^2 E + (2 p q - q^2) N E N + q^2 (N^2 E N + N E N^2)) C,
    P' = z / 2 C' - P^-T C'^T P^-T / (2 z).

Everything in it is thin, or a sum of thin products, but for one product with C and two with P^-T.
"""

import numpy as np
from scipy import special

from common.compat import tf
from common.graph import orthonormal
from common.graph.linalg import matmul, norm, transposed
from opt_ls import lowdin_blocks as blocks

_TERMS = 3
_RANGE = 2.36  # the sum is made for singular values of D from 1 to this; its error is 6e-7 at most
_MARGIN = 1.1  # by which the estimate of C's range may be too small; with it P's condition number may be 1.1e5
_ITERATIONS = 3  # of the power method
_LENGTHS = 1e-5  # by which inner products of the result may differ from those of the weights


def rational(generator, weights, members):
    """Returns Q(generator) @ weights, its gradient, and whether both are to be trusted.

    Args:
      generator: P [b, n, n], float32.
      weights: W [b, n, m], float32.
      members: `members.Members`, which names them in errors.

    Returns:
      Q W [b, n, m]; a function of G [b, n, m] to the gradients of P and W; bool [b], false where P is not finite, or so
      close to singular that D leaves the range of the sum.
    """
    matrix = blocks.padded(generator)
    added = int(matrix.shape[1]) - int(generator.shape[1])
    more = [[0, 0], [added, 0], [0, 0]]
    factors, independent = orthonormal.attempt(matrix, members)
    inverse = orthonormal.inverse_transpose(factors)
    z, (p, q, k), largest = _scales(matrix, inverse)
    # In the middle of the sum's range, where its error passes through 0: of an orthogonal P nothing is lost.
    middle = (_RANGE / largest) ** 0.5
    p, q = middle * p, middle * q

    first = z / 2 * matrix + inverse / (2 * z)
    shifted = blocks.halve(first, 1 / k[..., 0])  # (C C^T + I / k)^-1 = k N
    second = p * first + q / k * blocks.solve(shifted, first)[:, 0]
    shifts, numerators, constant = inverse_root(_RANGE, _TERMS)
    numerators = tf.constant(numerators[:, np.newaxis, np.newaxis], generator.dtype)
    terms = blocks.halve(second, shifts)

    weights = tf.pad(weights, more)
    moved = matmul(second, weights)
    solved = numerators * blocks.solve(terms, moved)
    result = constant * moved + tf.reduce_sum(solved, 1)

    def gradient(upstream):
        upstream = tf.pad(upstream, more)
        solved_back = blocks.solve(terms, upstream)
        total = constant * upstream + tf.reduce_sum(numerators * solved_back, 1)
        of_weights = matmul(second, total, transpose_a=True)

        left, right = _side_by_side(solved_back), _side_by_side(solved)  # E = left right^T + right left^T
        pair = tf.concat([left, right], 2)
        once = blocks.solve(shifted, tf.concat([pair, total, matmul(first, weights)], 2))[:, 0] / k
        pair_1, total_1, weights_1 = tf.split(once, [int(part.shape[2]) for part in (pair, total, weights)], 2)
        left_1, right_1 = tf.split(pair_1, 2, 2)
        left_2, right_2 = tf.split(blocks.solve(shifted, pair_1)[:, 0] / k, 2, 2)
        square = q * q
        half = matmul(
            tf.concat([-p * p * left, left_1, -square * left_2], 2),
            tf.concat([right, (square - 2 * p * q) * right_1 - square * right_2, right_1], 2),
            transpose_b=True,
        )
        back = matmul(first, tf.concat([weights_1, total_1], 2), transpose_a=True)
        weights_l, total_l = tf.split(back, 2, 2)
        of_first = matmul(
            tf.concat([total, total_1, weights_1], 2),
            tf.concat([p * weights, q * (weights - k * weights_l), -q * k * total_l], 2),
            transpose_b=True,
        ) + matmul(half + transposed(half), first)
        reflected = matmul(matmul(inverse, of_first, transpose_b=True), inverse)
        of_generator = z / 2 * of_first - reflected / (2 * z)
        return of_generator[:, added:, added:], of_weights[:, added:]

    trusted = independent & (largest[:, 0, 0] < _RANGE) & _same_lengths(result, weights)
    return result[:, added:], gradient, trusted


def inverse_root(largest, terms):
    """Returns c [terms], w [terms] and w_0: w_0 + sum_j w_j / (x + c_j) is x^(-1/2) for 1 <= x <= largest^2.

    Zolotarev's best approximation: its relative error, the same at its 2 terms + 2 extrema, is the least possible.
    """
    least = 1 / largest
    quarter = special.ellipk(1 - least**2)
    sine, cosine, _, _ = special.ellipj(np.arange(1, 2 * terms + 1) * quarter / (2 * terms + 1), 1 - least**2)
    squares = (sine / cosine) ** 2  # alternating poles and zeros of the function on [1 / largest, 1], times largest^2
    poles, zeros = squares[0::2], squares[1::2]
    weights = [np.prod(zeros - pole) / np.prod(np.delete(poles, j) - pole) for j, pole in enumerate(poles)]
    samples = np.geomspace(1, largest**2, 4001)
    values = np.sqrt(samples) * (1 + np.sum(weights / (samples[:, np.newaxis] + poles), 1))
    scale = 2 / (values.min() + values.max())
    return poles, scale * np.array(weights), scale


def _scales(matrix, inverse):
    """Returns z, (p, q, k) and the largest singular value of D, each [b, 1, 1], from estimates of |P| and |P^-1|."""
    size, inverse_size = _largest_value(matrix), _largest_value(inverse)
    spread = (size * inverse_size) ** 0.5  # of the singular values of z P: from 1 / spread to spread
    return (inverse_size / size) ** 0.5, *halley_weights(_MARGIN * (spread + 1 / spread) / 2)


def halley_weights(largest):
    """Returns (p, q, k) of Halley's step for singular values from 1 to `largest` > 1, and the largest that it leaves.

    x (p + q / (1 + k x^2)) is then between 1 and the latter, as close to 1 as such a function can be: it is
    x (a + b x^2) / (1 + c x^2) for x from l = 1 / largest to 1 (Nakatsukasa, Bai and Gygi, equation 3.10), scaled.
    Tensors of any shape.
    """
    least = 1 / largest
    d = (4 * (1 - least**2) / least**4) ** (1 / 3)
    a = (1 + d) ** 0.5 + (8 - 4 * d + 8 * (2 - least**2) / (least**2 * (1 + d) ** 0.5)) ** 0.5 / 2
    b = (a - 1) ** 2 / 4
    c = a + b - 1
    left = least * (a + b * least**2) / (1 + c * least**2)  # of the smallest; the largest stays 1
    return (b / c * least / left, (a - b / c) * least / left, c * least**2), 1 / left


def _largest_value(matrix):
    """The largest singular value [b, 1, 1], by the power method from a fixed start: a little less than it is."""
    start = np.random.default_rng(0).normal(size=(int(matrix.shape[1]), 1))
    vector = tf.broadcast_to(tf.constant(start, matrix.dtype), [matrix.shape[0], *start.shape])
    for _ in range(_ITERATIONS):
        vector = vector / norm(vector)
        vector = matmul(matrix, matmul(matrix, vector), transpose_a=True)
    return norm(vector) ** 0.5


def _side_by_side(batch):
    """[b, r, n, m] to [b, n, r m]."""
    count, terms, size, columns = batch.shape.as_list()
    return tf.reshape(tf.transpose(batch, [0, 2, 1, 3]), [count, size, terms * columns])


def _same_lengths(result, weights):
    """Whether the inner products of columns are what an orthogonal matrix leaves them; not, where one is NaN."""
    size = tf.reduce_max(tf.abs(weights), [1, 2], keepdims=True)
    result, weights = tf.math.divide_no_nan(result, size), tf.math.divide_no_nan(weights, size)
    expected = matmul(weights, weights, transpose_a=True)
    difference = norm(matmul(result, result, transpose_a=True) - expected)
    return (difference <= _LENGTHS * norm(expected))[:, 0, 0]
