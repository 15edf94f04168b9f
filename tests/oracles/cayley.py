"""Cayley map and its gradient in NumPy float64, from the textbook form with both factors made."""

import numpy as np


def rotation(generator):
    """Q = (I + A)(I - A)^-1 with A = triu(P) - triu(P)^T."""
    generator = np.asarray(generator, np.float64)
    skew = np.triu(generator, 1) - np.triu(generator, 1).T
    identity = np.eye(len(generator))
    return (identity + skew) @ np.linalg.inv(identity - skew)


def rotation_of_huge(generator):
    """The limit of Q(t P) for t to infinity: -I, except on the null vector that a skew matrix of odd size has."""
    skew = np.triu(generator, 1) - np.triu(generator, 1).T
    limit = -np.eye(len(generator))
    if len(generator) % 2:
        null = np.linalg.svd(skew)[2][-1]
        limit += 2 * np.outer(null, null)
    return limit


def gradient(generator, weights, upstream):
    """Gradients of sum(upstream * (Q @ weights)) by the differential dQ = (I + Q) dA (I - A)^-1."""
    generator, weights, upstream = (np.asarray(value, np.float64) for value in (generator, weights, upstream))
    skew = np.triu(generator, 1) - np.triu(generator, 1).T
    identity = np.eye(len(generator))
    rotated = rotation(generator)
    of_skew = (identity + rotated).T @ upstream @ weights.T @ np.linalg.inv(identity - skew).T
    return np.triu(of_skew - of_skew.T, 1), rotated.T @ upstream
