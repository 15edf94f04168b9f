"""Orthogonal matrices and unit neurons that drift away from being so: told, and brought back.

An optimizer that keeps something true of its variables says so in its attribute `keeps`, an `Invariant`. Rounding, or
the iteration itself, may lose it little by little.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from common.training.loop import Periodic

PERIOD = 500  # updates between two looks; not --vali_freq, which changes nothing that is trained


@dataclasses.dataclass(frozen=True)
class Invariant:
    """What an optimizer keeps true of a variable.

    Attributes:
      figure: what `error` is called in a log.
      error: `error(float64 array) -> number`, how far a variable is off.
      repair: `repair(float64 array) -> array`, the nearest value that is right.
      bound: the error above which it is repaired.
    """

    figure: str
    error: Callable
    repair: Callable
    bound: float


def polar_factor(matrix):
    """Returns U V^T of U S V^T: the orthogonal matrix nearest to a square one in the Frobenius norm."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def neuron_norms(kernel):
    """Returns the norms of the neurons, which are all axes but the last; the axes are kept."""
    return np.sqrt(np.sum(np.square(kernel), axis=tuple(range(kernel.ndim - 1)), keepdims=True))


ORTHOGONAL = Invariant("||QQ^T - I||", lambda q: np.linalg.norm(q @ q.T - np.eye(len(q))), polar_factor, bound=0.5)
UNIT_NEURONS = Invariant(
    "largest deviation of a neuron's norm from 1",
    lambda kernel: np.max(np.abs(neuron_norms(kernel) - 1.0)),
    lambda kernel: kernel / neuron_norms(kernel),
    bound=1e-3,
)


class Drift(Periodic):
    """Looks at invariants every `frequency` steps and repairs what is off by more than its bound, on all replicas.

    A repair follows from the variables and the step alone, so a run that goes on does the same. After a last step that
    ends no period it is only told: a longer run passes there without one. Slots stay: SGD-G and Adam-G normalise a
    kernel at the start of each step, and Cayley SGD takes of its momentum M what is tangent at X, whatever X is.

    Args:
      folder, session, training: a `RunFolder`, the session and a `Training`.
      frequency, last: as for `Periodic`.
      bound: in place of all bounds; None keeps them.
    """

    def __init__(self, folder, session, training, frequency, last, bound=None):
        super().__init__(frequency, last, {})
        self._folder, self._session, self._bound = folder, session, bound
        of_replicas = [
            [(v, optimizer.keeps) for optimizer, group in groups if getattr(optimizer, "keeps", None) for v in group]
            for groups in training.groups
        ]
        self._kept = [([copy for copy, _ in same], same[0][1]) for same in zip(*of_replicas)]

    def act(self, step, values):
        for copies, invariant in self._kept:
            value = self._session.run(copies[0]).astype(np.float64)
            error, bound = invariant.error(value), self._bound or invariant.bound
            if error > bound:
                repair = (step + 1) % self._frequency == 0
                if repair:  # an initializer's input is fed: no new operation in the finished graph
                    feeds = {copy.initializer.inputs[1]: invariant.repair(value) for copy in copies}
                    self._session.run([copy.initializer for copy in copies], feeds)
                done = "replaced by the nearest value without it" if repair else "left as it is"
                what = f"drift of {copies[0].op.name}: {invariant.figure} = {error:.2e}, above {bound:g}"
                self._folder.say(f"step {step}, {what}; {done}")
