"""Movement along geodesics of the unit sphere as a rotation matrix, in float64 NumPy, one neuron at a time.

The geodesic from y with velocity d is exp(t A) y with the skew matrix A = d y^T - y d^T, and exp(t A) carries every
tangent vector along it in parallel. This uses none of the closed formulas with sines and cosines.
"""

import numpy as np
import scipy.linalg


def each_neuron(function, *kernels):
    """Applies `function` to the neurons (columns) of kernels [..., m]; the results have the first kernel's shape."""
    columns = [kernel.reshape(-1, kernel.shape[-1]).T for kernel in kernels]
    return np.stack([function(*vectors) for vectors in zip(*columns)], axis=-1).reshape(kernels[0].shape)


def rotation(point, direction):
    """Returns exp(d y^T - y d^T) [n, n]."""
    return scipy.linalg.expm(np.outer(direction, point) - np.outer(point, direction))


def exponential(point, direction):
    return each_neuron(lambda y, d: rotation(y, d) @ y, point, direction)


def transport(point, direction, tangent):
    return each_neuron(lambda y, d, t: rotation(y, d) @ t, point, direction, tangent)


def normalise(kernel):
    return each_neuron(lambda y: y / (np.linalg.norm(y) + 1e-8), kernel)


def project(point, gradient):
    return each_neuron(lambda y, g: (np.eye(y.size) - np.outer(y, y)) @ g, point, gradient)


def clip(tangent, limit):
    return each_neuron(lambda h: h * limit / np.linalg.norm(h) if np.linalg.norm(h) > limit else h, tangent)


def squared_norms(kernel):
    """Returns one number for each neuron, [1, ..., 1, m]."""
    squares = [np.dot(column, column) for column in kernel.reshape(-1, kernel.shape[-1]).T]
    return np.reshape(squares, [1] * (kernel.ndim - 1) + [-1])
