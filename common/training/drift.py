"""Orthogonal matrices and unit neurons that drift away from being so: told, and brought back.

An optimizer that keeps something true of its variables says so in its attribute `keeps`, an `Invariant`. Rounding, or
the iteration itself, may lose it little by little.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from common.runs import checkpoints
from common.training.loop import Callback

PERIOD = 500  # updates between two looks; not --vali_freq, which changes nothing that is trained


@dataclasses.dataclass(frozen=True)
class Invariant:
    """What an optimizer keeps true of a variable: `repair(array)` is the nearest value that is right, in float64.

    A variable is repaired where `error(array)`, called `name` in a log, is above `bound`.
    """

    name: str
    repair: Callable
    error: Callable
    bound: float


def _polar_factor(matrix):
    """U V^T of U S V^T: the orthogonal matrix nearest to a square one in the Frobenius norm."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _norms(kernel, axis):
    axes = tuple(range(kernel.ndim - 1)) if axis is None else axis
    return np.sqrt(np.sum(np.square(kernel), axis=axes, keepdims=True))


def unit_neurons(axis=None):
    """Returns the `Invariant` of neurons of norm 1, which run over `axis`, or for None over all axes but the last."""
    return Invariant(
        "largest deviation of a neuron's norm from 1",
        lambda kernel: kernel / _norms(kernel, axis),
        lambda kernel: np.max(np.abs(_norms(kernel, axis) - 1.0)),
        bound=1e-3,
    )


ORTHOGONAL = Invariant("||QQ^T - I||", _polar_factor, lambda q: np.linalg.norm(q @ q.T - np.eye(len(q))), bound=0.5)


class Drift(Callback):
    """Every `PERIOD` updates repairs what is off by more than its bound (or than `bound`), on all replicas.

    A repair follows from the variables and the step alone, so a run that goes on does the same. Slots stay: SGD-G and
    Adam-G normalise a kernel at the start of each step, and Cayley SGD takes of its momentum M what is tangent at X.
    """

    def __init__(self, folder, session, training, bound=None):
        self._folder, self._session, self._bound = folder, session, bound
        of_replicas = [
            [(v, optimizer.keeps) for optimizer, group in groups if hasattr(optimizer, "keeps") for v in group]
            for groups in training.groups
        ]
        self._kept = [([copy for copy, _ in same], same[0][1]) for same in zip(*of_replicas)]

    def after_step(self, step, values):
        if (step + 1) % PERIOD != 0:
            return
        for copies, kept in self._kept:
            value = self._session.run(copies[0]).astype(np.float64)
            error, bound = kept.error(value), self._bound or kept.bound
            if error > bound:
                checkpoints.assign(self._session, dict.fromkeys(copies, kept.repair(value)))
                what = f"drift of {copies[0].op.name}: {kept.name} = {error:.2e}, above {bound:g}"
                self._folder.say(f"step {step}, {what}; replaced by the nearest value without it")
