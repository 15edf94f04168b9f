"""Cayley SGD with momentum as it is published (arXiv 2002.01113, section 4), line by line, in NumPy."""

import numpy as np


def published(x, g, m, learning_rate, beta, passes=2):
    """One step from X with the gradient G and the momentum M; returns the new X and M."""
    m = beta * m - g
    w_hat = m @ x.T - 0.5 * x @ (x.T @ m @ x.T)
    w = w_hat - w_hat.T
    m = w @ x
    a = min(learning_rate, 1.0 / (np.linalg.norm(w) + 1e-8))
    y = x + a * m
    for _ in range(passes):
        y = x + a / 2 * w @ (x + y)
    return y, m
