"""Geometry of G(1, n), the manifold of lines through the origin, whose points stand for scale-invariant vectors.

Source: Cho and Lee, "Riemannian approach to batch normalization", NIPS 2017 (arXiv 1709.09603), section 3.

A layer's kernel is an array [..., m] of rank 2 or more, such as [k, k, c_in, c_out] or [n, m]: m neurons, each running
over all axes but the last. Every neuron is a unit vector y, which represents the line it spans; -y is the same point.
A tangent vector at y is a vector orthogonal to y. The metric is the inner product of R^n, neuron by neuron.
All functions take and return float32 or float64 tensors of the kernel's shape, unless they say [1, ..., 1, m].
With `axis` the neurons run over that one axis instead: -1 for the rows of a matrix [n, n]. [1, ..., 1, m] is then the
kernel's shape with 1 at `axis`.
"""

from common.compat import tf
from common.graph.linalg import euclidean_norm


def inner(first, second, axis=None):
    """<a, b> of each neuron: the metric of G(1, n). Returns [1, ..., 1, m]."""
    return tf.reduce_sum(first * second, axis=_axes(first, axis), keepdims=True)


def norm(vectors, axis=None):
    """|a| = sqrt(<a, a>) of each neuron, in one pass. Returns [1, ..., 1, m]."""
    return euclidean_norm(vectors, _axes(vectors, axis), keepdims=True)


def _axes(tensor, axis):
    """Returns the axes of a neuron, a list of int32: on a GPU the host would fetch others."""
    return list(range(len(tensor.shape) - 1)) if axis is None else [axis]


def normalise(vectors, epsilon=1e-8, axis=None):
    """y / (|y| + epsilon): the unit vector along each neuron; a zero neuron stays zero."""
    return vectors / (norm(vectors, axis) + epsilon)


def project(point, gradient, axis=None):
    """h = g - <y, g> y: the part of a Euclidean gradient that is tangent at `point`."""
    return gradient - inner(point, gradient, axis) * point


def clip(tangent, limit, axis=None):
    """h * min(1, nu / |h|): each neuron's tangent vector brought to the norm `limit` > 0 if it is longer."""
    return tangent * (limit / tf.maximum(norm(tangent, axis), limit))


def exponential(point, tangent, axis=None):
    """exp_y(d) = y cos|d| + d sin|d| / |d|: the end of the geodesic that leaves `point` with velocity d, after time 1.

    For d = 0 the end is `point` itself.
    """
    length = norm(tangent, axis)
    return tf.cos(length) * point + _sinc(length) * tangent


def transport_along_itself(point, tangent, axis=None):
    """d cos|d| - y |d| sin|d|: parallel translation of d along the geodesic exp_y(t d), from t = 0 to t = 1.

    The result is the velocity of that geodesic at its end: tangent at `exponential(point, tangent)`, of the same norm.
    """
    length = norm(tangent, axis)
    return tf.cos(length) * tangent - (length * length * _sinc(length)) * point


def transport(point, direction, tangent, axis=None):
    """D - <u, D> (y sin|d| + (1 - cos|d|) u), u = d / |d|: parallel translation of D along exp_y(t d), t from 0 to 1.

    `direction` is d and `tangent` is D, both tangent at `point`; norms and inner products of tangent vectors are kept.
    In terms of d itself the formula is D - <d, D> (y sin|d| / |d| + d (1 - cos|d|) / |d|^2), where
    (1 - cos x) / x^2 = (sin(x/2) / (x/2))^2 / 2 has neither a pole at d = 0 nor the cancellation of 1 - cos.
    """
    length, overlap = norm(direction, axis), inner(direction, tangent, axis)
    half = _sinc(0.5 * length)
    return tangent - (overlap * _sinc(length)) * point - (0.5 * overlap * half * half) * direction


def _sinc(length):
    """sin(x) / x for x >= 0, with its limit 1 at 0: sin(x) = x in floating point for any x as small as the bound."""
    length = tf.maximum(length, tf.constant(1e-30, length.dtype))
    return tf.sin(length) / length
