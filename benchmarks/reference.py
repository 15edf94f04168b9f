"""The maps in NumPy float64, from the textbook: what results in float32 are compared with.

A reference is `reference(P) -> (Q, gradient)` with `gradient(W, G)`, the gradient of sum(G * (Q W)) with respect to P.
It costs one factorisation, which both share.
"""

import numpy as np
import scipy.linalg


def cayley(generator):
    """Q = (I + A)(I - A)^-1, A = triu(P) - triu(P)^T;  dQ = (I + Q) dA (I - A)^-1."""
    skew = np.triu(generator, 1) - np.triu(generator, 1).T
    identity = np.eye(len(generator))
    inverse = np.linalg.inv(identity - skew)
    rotation = (identity + skew) @ inverse

    def gradient(weights, upstream):
        of_skew = (upstream + rotation.T @ upstream) @ (inverse @ weights).T
        return np.triu(of_skew - of_skew.T, 1)

    return rotation, gradient


def gram_schmidt(generator):
    """P = L Q with L's diagonal positive;  dQ Q^T is the skew matrix whose lower half is that of L^-1 dP Q^T."""
    factor, triangle = np.linalg.qr(generator.T)
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    rotation, lower = (factor * signs).T, (triangle.T * signs)

    def gradient(weights, upstream):
        product = upstream @ (rotation @ weights).T
        upper = np.triu(product - product.T, 1)
        return scipy.linalg.solve_triangular(lower, upper @ rotation, lower=True, trans="T")

    return rotation, gradient


def householder(generator):
    """P = Q R, R's diagonal positive up to its last entry, det Q = (-1)^(n-1): Gram-Schmidt of P^T, last row signed.

    The determinant's sign is that of SciPy's LU factorisation in float64.
    """
    rows, rows_gradient = gram_schmidt(generator.T)
    signs = np.ones([len(generator), 1])
    signs[-1] = (-1.0) ** (len(generator) - 1) * np.linalg.slogdet(rows)[0]

    def gradient(weights, upstream):
        return rows_gradient(upstream, signs * weights).T  # sum(G * (S^T D W)) = sum((D W) * (S G))

    return (signs * rows).T, gradient


def lowdin(generator):
    """P = U S V^T, Q = U V^T;  dQ = U [(U^T dP V - its transpose) / (s_i + s_j)] V^T."""
    left, values, right = np.linalg.svd(generator)

    def gradient(weights, upstream):
        product = left.T @ upstream @ (right @ weights).T
        return left @ ((product - product.T) / (values[:, None] + values)) @ right

    return left @ right, gradient


def relative(actual, expected):
    """The Frobenius norm of the difference over that of what was expected."""
    return float(np.linalg.norm(np.asarray(actual, np.float64) - expected) / np.linalg.norm(expected))


def inputs(size, columns, seed):
    """Returns P [n, n], W [n, m] and G [n, m], all N(0, 1), as float32: those of every competitor."""
    random = np.random.default_rng([seed, size, columns])
    return [random.normal(size=(size, width)).astype(np.float32) for width in (size, columns, columns)]
