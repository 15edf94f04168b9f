"""Learning rates as functions of the step."""

import dataclasses

from common.compat import tf


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """A rate that is multiplied by `factor` at each of `boundaries`, over a run of `steps` updates.

    The rate of step s (counted from 0) is base * factor^(number of boundaries b with s >= b).
    """

    steps: int
    boundaries: tuple[int, ...]
    factor: float

    def rate(self, base, step):
        """Returns the learning rate of `step` (an integer tensor), a float64 scalar: optimizers round it once."""
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(self.boundaries, step.dtype), tf.float64))
        return tf.constant(base, tf.float64) * tf.pow(tf.constant(self.factor, tf.float64), passed)

    def stretched(self, steps):
        """Returns the same schedule over another number of updates: the boundaries move in proportion."""
        return StepDecay(
            steps, tuple(round(boundary * steps / self.steps) for boundary in self.boundaries), self.factor
        )
