"""The polar factor by polynomials: products only, for GPUs that are fast in float64.

    X_0 = P / s,    X_{k+1} = X_k (a_k I + b_k A + c_k A^2),  A = X_k^T X_k,    s^2 = |P^T P|_F

Every step takes the singular values x of X_k to p_k(x) = a_k x + b_k x^3 + c_k x^5, p_k being the odd polynomial of
degree 5 that is nearest to 1 on the interval where they are (Amsel, Persson, Musco and Gower, "The Polar Express",
arXiv 2505.16932; Chen and Chow, "A stable scaling of Newton-Schulz", 2014). A small one grows 4.3 times in a step. On a
GPU an operation costs 13 microseconds, however small, and products next to nothing, while its inverses and
decompositions wait for themselves.
"""

import functools

import numpy as np

from common.compat import tf
from common.graph.linalg import identity, norm, squared_norm, transposed

_LEAST = 1e-7  # singular value, of s, from which on the steps reach 1 by the last; s is up to 3.4 times the largest one
_STEPS = 14
_LEFT = 1e-6  # the sum of the squares of x^2 - 1 before the last step, which leaves of x - 1 the cube


def polynomial(generator, weights):
    """The gradient goes the same steps back: with D that of X_{k+1}, the one of X_k is

        D (a I + b A + c A^2) + X (b S + c (S A + A S)),    S = X^T D + D^T X

    All of it in float64: forward, rounding errors are multiplied by the condition number; backward, so is whatever part
    of X^T D is not skew, and the steps take some singular values down to 1e-6 first, which the way back has to undo. The
    last step, which only takes to 1 what is 1 up to 6e-7, needs no way back. Thirteen matrices are kept for it.

    Args:
      generator: P [b, n, n], float32.
      weights: W [b, n, m], float32.

    Returns:
      Q W [b, n, m]; a function of G [b, n, m] to the gradients of P and W; bool [b], false where P is not finite, or has
      a singular value too small to have come to 1.
    """
    exact = tf.cast(generator, tf.float64)
    square = tf.matmul(exact, exact, transpose_a=True)
    size = norm(square)
    scale = tf.sqrt(size)
    steps, points = coefficients(_LEAST, _STEPS), [exact / scale]
    square = square / size
    for index, (first, third, fifth) in enumerate(steps):
        if index:
            square = tf.matmul(points[-1], points[-1], transpose_a=True)
        once = tf.matmul(points[-1], square)
        points.append(first * points[-1] + (third * once + fifth * tf.matmul(once, square)))
    trusted = squared_norm(square - identity(int(generator.shape[1]), tf.float64)) <= _LEFT
    rotation = tf.cast(points[-1], generator.dtype)

    def gradient(upstream):
        of_weights = tf.matmul(rotation, upstream, transpose_a=True)
        outer = tf.matmul(of_weights, weights, transpose_b=True)
        of_point = tf.matmul(points[-1], tf.cast(0.5 * (outer - transposed(outer)), tf.float64))
        for point, step in reversed(list(zip(points, steps[:-1]))):
            of_point = _back(point, of_point, *step)
        return tf.cast(of_point / scale, generator.dtype), of_weights

    return tf.matmul(rotation, weights), gradient, trusted


def _back(point, upstream, first, third, fifth):
    """From the gradient of a step's result to that of its `point`."""
    square = tf.matmul(point, point, transpose_a=True)
    inner = tf.matmul(point, upstream, transpose_a=True)
    inner += transposed(inner)
    further = tf.matmul(inner, square)
    inner = third * inner + fifth * (further + transposed(further))
    once = tf.matmul(upstream, square)
    return first * upstream + tf.matmul(third * upstream + fifth * once, square) + tf.matmul(point, inner)


@functools.lru_cache(maxsize=None)
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
