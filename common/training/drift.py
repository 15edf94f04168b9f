"""Orthogonal matrices and unit neurons that drift away from being so: told, and brought back.

An optimizer that keeps something true of its variables says so in its attribute `keeps`, an `Invariant`. Rounding, or
the iteration itself, may lose it little by little.
"""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from common.compat import tf
from common.nn import metrics

MAP_BOUND = 1e-3  # of ||QQ^T - I|| of a map; those of this project stay below 1e-4


@dataclasses.dataclass(frozen=True)
class Invariant:
    """What an optimizer keeps true of a variable.

    Attributes:
      figure: what `error` is called in a log.
      error: `error(tensor) -> scalar tensor`, how far a variable is off.
      repair: `repair(float64 array) -> array`, the nearest value that is right.
      bound: the error above which it is repaired.
    """

    figure: str
    error: Callable
    repair: Callable
    bound: float


def polar_factor(matrix):
    """U V^T of U S V^T: the orthogonal matrix nearest to a square one in the Frobenius norm."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def unit_neurons(kernel):
    """Each neuron, which is all axes but the last, divided by its norm."""
    return kernel / np.sqrt(np.sum(np.square(kernel), axis=tuple(range(kernel.ndim - 1)), keepdims=True))


def _norm_error(kernel):
    return tf.reduce_max(tf.abs(tf.norm(tf.reshape(kernel, [-1, kernel.shape[-1]]), axis=0) - 1.0))


ORTHOGONAL = Invariant("||QQ^T - I||", metrics.orthogonality_error, polar_factor, 0.5)
UNIT_NEURONS = Invariant("largest deviation of a neuron's norm from 1", _norm_error, unit_neurons, 1e-3)


class Drift:
    """Looks at invariants when the test set is evaluated.

    A repair follows from the variables and the step alone, so runs that are resumed do the same. Slots stay: SGD-G and
    Adam-G normalise a kernel at the start of each step themselves, and Cayley SGD takes of its momentum M what is
    tangent at X, through W, whatever X is; for X a little off and its polar factor these differ as little as they do.

    Args:
      training: a `Training`.
      bound: in place of all bounds; None keeps them.
    """

    def __init__(self, training, bound=None):
        first, *others = [
            [(variable, optimizer.keeps) for optimizer, members in groups if _keeps(optimizer) for variable in members]
            for groups in training.groups
        ]
        self._bound = bound
        self._invariants = [invariant for _, invariant in first]
        self._copies = [[variable for variable, _ in same] for same in zip(first, *others)]
        self._errors = [invariant.error(variable.read_value()) for variable, invariant in first]
        kept = {os.path.dirname(variable.op.name) for variable, _ in first}
        self._mapped = {scope for scope, kernel in training.kernels[0].items() if kernel.orthogonal} - kept

    def look(self, session, step, orthogonality, repair=True):
        """Repairs what is off by more than its bound; returns lines that tell it.

        Args:
          session: the session.
          step: the last update done.
          orthogonality: ||QQ^T - I|| by layer.
          repair: whether to repair, or only to tell.
        """
        errors = session.run(self._errors)
        lines = []
        for copies, invariant, error in zip(self._copies, self._invariants, errors):
            bound = self._bound or invariant.bound
            if error > bound:
                told = f"step {step}, drift of {copies[0].op.name}: {invariant.figure} = {error:.2e}, above {bound:g}"
                lines.append(f"{told}; {_repair(session, copies, invariant) if repair else 'left as it is'}")
        bound = self._bound or MAP_BOUND
        lines += [
            f"step {step}, drift of {layer}: ||QQ^T - I|| = {orthogonality[layer]:.2e}, above {bound:g}; Q is computed "
            "from its generator, so there is nothing to repair: the generator is close to singular or far too large, "
            "and a lower learning rate may help"
            for layer in orthogonality
            if layer in self._mapped and orthogonality[layer] > bound
        ]
        return lines


def _keeps(optimizer):
    return getattr(optimizer, "keeps", None)


def _repair(session, copies, invariant):
    """Gives all copies of a variable the repaired value; returns what was done, in words."""
    value = invariant.repair(session.run(copies[0]).astype(np.float64))
    # An initializer's input is fed: the variable takes the value without a new operation in the finished graph.
    initializers = [copy.initializer for copy in copies]
    session.run(initializers, {initializer.inputs[1]: value for initializer in initializers})
    return "replaced by the nearest value without it"
