"""Steps of SGD-G and Adam-G in float64 NumPy, one neuron at a time."""

import numpy as np

from tests.oracles import sphere


def move(y, d, tangent):
    """Returns exp_y(d) and `tangent` translated along d, by the paper's formulas for one neuron.

    y has norm 1 - 1e-8 as the division by norm + 1e-8 leaves it; rotation matrices would differ by as much.
    """
    length = np.linalg.norm(d)
    if length == 0.0:
        return y, tangent
    u = d / length
    end = y * np.cos(length) + u * np.sin(length)
    return end, tangent - (u @ tangent) * (y * np.sin(length) + (1.0 - np.cos(length)) * u)


def move_all(y, d, tangent):
    return [sphere.each_neuron(lambda *neuron: move(*neuron)[part], y, d, tangent) for part in range(2)]


def sgd_g(y, g, tau, learning_rate, momentum, grad_clip=None):
    y = sphere.normalise(y)
    h = sphere.project(y, g)
    h = h if grad_clip is None else sphere.clip(h, grad_clip)
    d = momentum * tau - learning_rate * h
    return move_all(y, d, d)


def adam_g(y, g, m, v, t, learning_rate, beta1=0.9, beta2=0.99, epsilon=1e-8, grad_clip=None):
    y = sphere.normalise(y)
    h = sphere.project(y, g)
    h = h if grad_clip is None else sphere.clip(h, grad_clip)
    m = beta1 * m + (1 - beta1) * h
    v = beta2 * v + (1 - beta2) * sphere.squared_norms(h)
    d = -learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / np.sqrt(v + epsilon)
    return *move_all(y, d, m), v
