"""Polar factor and its gradient in NumPy float64."""

import numpy as np


def rotation(generator):
    """Q = U V^T of the singular value decomposition P = U S V^T."""
    left, _, right = np.linalg.svd(np.asarray(generator, np.float64))
    return left @ right


def gradient(generator, weights, upstream):
    """Gradients of sum(upstream * (Q @ weights)).

    With P = Q H, H symmetric: dQ = Q K, K skew, H K + K H = Q^T dP - dP^T Q. The adjoint is P' = Q K with the same
    equation for Q^T G W^T - W G^T Q; it is solved in the eigenbasis of H, where sums of eigenvalues divide.
    """
    generator, weights, upstream = (np.asarray(value, np.float64) for value in (generator, weights, upstream))
    rotated = rotation(generator)
    values, basis = np.linalg.eigh((rotated.T @ generator + generator.T @ rotated) / 2)
    outer = rotated.T @ upstream @ weights.T
    inner = basis.T @ (outer - outer.T) @ basis / (values[:, None] + values[None, :])
    return rotated @ basis @ inner @ basis.T, rotated.T @ upstream
