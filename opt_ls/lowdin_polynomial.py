"""The polar factor by polynomials: products only, for GPUs that are fast in float64.

    X_0 = P / s,    X_{k+1} = X_k (a_k I + b_k A + c_k A^2),  A = X_k^T X_k,    s^2 = |P^T P|_F

Every step takes the singular values x of X_k to p_k(x) = a_k x + b_k x^3 + c_k x^5, p_k being the odd polynomial of
degree 5 that is nearest to 1 on the interval where they are (Amsel, Persson, Musco and Gower, "The Polar Express",
arXiv 2505.16932; Chen and Chow, "A stable scaling of Newton-Schulz", 2014). A small one grows 4.3 times in a step. On a
GPU an operation costs 13 microseconds, however small, and products next to nothing, while inverses and decompositions
are long chains of small operations.
"""

import collections
import functools

import numpy as np

from common.compat import tf
from common.graph.linalg import matmul, transposed

_LEAST = 1e-7  # singular value, of s, from which on the steps reach 1 by the last; s is up to 3.4 times the largest one
_STEPS = 14
_LEFT = 1e-6  # the sum of the squares of x^2 - 1 before the last step, which leaves of x - 1 the cube

# s, beta and delta of a step, which makes of s X its successor times the next step's s.
_Step = collections.namedtuple("_Step", ["scale", "beta", "delta"])


def polynomial(generator, weights):
    """Returns Q(generator) @ weights, its gradient, and whether both are to be trusted.

    With X^_k = s_k X_k, scaled so that c_k = 1, a step is, with two numbers beta and delta,

        X^_{k+1} = X^_k M,    M = N^2 + delta I,    N = X^_k^T X^_k + beta I

    and with D the gradient of X^_{k+1} that of X^_k is D M + X^_k (N S + S N), S = X^_k^T D + D^T X^_k.

    All of it in float64. Forward, rounding errors are multiplied by the condition number. Backward, so is whatever part
    of X^T D is not skew; and the steps take some singular values down to 1e-6 first, which the way back has to undo.
    The last step only takes to 1 what is 1 up to 6e-7 and needs no way back. X^_k and N of the other steps are kept.

    Args:
      generator: P [b, n, n], float32.
      weights: W [b, n, m], float32.

    Returns:
      Q W [b, n, m]; a function of G [b, n, m] to the gradients of P and W; bool [b], false where P is not finite, or
      has a singular value too small to have come to 1.
    """
    exact, size = tf.cast(generator, tf.float64), int(generator.shape[1])
    square = matmul(exact, exact, transpose_a=True)
    norm_of_square = tf.math.reduce_euclidean_norm(square, [1, 2], keepdims=True)
    steps = scaled_steps(_LEAST, _STEPS)
    scale = steps[0].scale / tf.sqrt(norm_of_square)
    point, square = scale * exact, tf.square(scale) * square
    kept = []
    for index, step in enumerate(steps):
        if index:
            square = matmul(point, point, transpose_a=True)
        shifted = square + _multiple(step.beta, size)
        kept.append((point, shifted))
        point = matmul(point, matmul(shifted, shifted) + _multiple(step.delta, size))
    result, last = point, steps[-1].scale ** 2
    left = tf.math.reduce_euclidean_norm(square - _multiple(last, size), [1, 2])
    rotation = tf.cast(result, generator.dtype)

    def gradient(upstream):
        of_weights = matmul(rotation, upstream, transpose_a=True)
        outer = matmul(of_weights, weights, transpose_b=True)
        start = tf.cast((0.5 / steps[-1].scale) * (outer - transposed(outer)), tf.float64)
        of_point = matmul(result, start)
        for step, (point, shifted) in reversed(list(zip(steps[:-1], kept))):
            inner = matmul(point, of_point, transpose_a=True)
            inner = matmul(shifted, inner + transposed(inner))
            through = matmul(point, inner + transposed(inner))
            of_point = matmul(matmul(of_point, shifted), shifted) + (step.delta * of_point + through)
        return tf.cast(scale * of_point, generator.dtype), of_weights

    return matmul(rotation, weights), gradient, left <= last * _LEFT**0.5


def _multiple(number, size):
    """number * I"""
    return tf.raw_ops.MatrixDiag(diagonal=tf.constant(number, tf.float64, [size]))


def scaled_steps(least, count):
    """Returns `coefficients` as the steps of `polynomial`: s_{k+1} = s_k^5 / c_k, and after the last step it is 1.

    s_k X (N^2 + delta) has the terms s_k^5 X A^2, 2 beta s_k^3 X A and (beta^2 + delta) s_k X, A = X^T X.
    """
    steps, following = [], 1.0
    for first, third, fifth in reversed(coefficients(least, count)):
        scale = (fifth * following) ** 0.2
        beta = third * following / (2 * scale**3)
        steps.append(_Step(scale, beta, first * following / scale - beta**2))
        following = scale
    return steps[::-1]


@functools.cache
def coefficients(least, count):
    """Returns the (a, b, c) of `count` steps, for singular values from `least` to 1."""
    low, high, steps = least, 1.0, []
    for _ in range(count):
        step, error = best(low, high)
        steps.append(step)
        low, high = 1 - error, 1 + error
    return tuple(steps)


def best(low, high):
    """Returns the (a, b, c) that make |1 - a x - b x^3 - c x^5| the least on [low, high], and that least maximum.

    By Remez' exchange: the error is the same, with alternating signs, at both ends and both extrema between them.
    """
    if high - low < 1e-6:  # the limit: what is left is the cube of an error that is as small
        return (15 / 8, -10 / 8, 3 / 8), 0.0
    inner, error = low + (high - low) * np.array([0.25, 0.75]), 0.0
    while True:
        ends = np.array([low, *inner, high])
        a, b, c, following = np.linalg.solve(np.stack([ends, ends**3, ends**5, [1, -1, 1, -1]], 1), np.ones(4))
        if abs(following) <= error * (1 + 1e-13):  # it grows until it is the least maximum
            return (a, b, c), abs(following)
        error = abs(following)
        inner = np.sqrt((-3 * b + np.array([-1, 1]) * np.sqrt(max(9 * b * b - 20 * a * c, 0.0))) / (10 * c))
