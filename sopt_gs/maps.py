"""The maps that stochastic OPT can turn its subsets with, each with the generator at which it turns nothing."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from common.graph import initializers, orthonormal
from opt_cp import cayley
from opt_gs.gram_schmidt import gram_schmidt
from opt_hr.householder import householder
from opt_ls import lowdin


@dataclasses.dataclass(frozen=True)
class Map:
    """A map as stochastic OPT needs it.

    Attributes:
      ways: {name: map}, ways to compute it, for --map_algorithm; "auto" is among them.
      start: initial value of the generator, (shape, dtype, seed) -> tensor, with Q(start) = I: an episode begins with
        the kernels that the one before has left.
    """

    ways: dict[str, Callable]
    start: Callable = initializers.identity


def proper_householder(generator, weights, method="auto"):
    """Returns Q(P) D @ weights, Q of `householder`, D = diag(1, ..., 1, (-1)^(n-1)); arguments are that map's.

    det Q(P) = (-1)^(n-1) whatever P is, so for even n, 144 in the paper's layers, no generator gives the identity, and
    an episode would begin with a reflection. Where n is even, D takes it back: Q(P) D has determinant 1 for every P,
    covers all rotations, as the other maps do, and is the identity at P = I.
    """
    size = int(generator.shape[0])
    if size % 2 == 0:
        weights = weights * np.where(np.arange(size) == size - 1, -1, 1)[:, np.newaxis].astype(weights.dtype.name)
    return householder(generator, weights, method)


def _by_way(rotate, ways):
    return {"auto": rotate, **{way: functools.partial(rotate, method=way) for way in ways}}


MAPS = {
    "gs": Map(_by_way(gram_schmidt, orthonormal.METHODS)),
    "hr": Map(_by_way(proper_householder, orthonormal.METHODS)),
    "ls": Map(_by_way(lowdin.lowdin, lowdin.METHODS)),
    "cp": Map(_by_way(cayley.cayley, cayley.METHODS), start=initializers.zeros),  # the identity's diagonal would do nothing and be decayed
}
