"""Learning rates as functions of the step."""

import dataclasses

from common.compat import tf


def rounded(rate, variables):
    """Returns a rate in the type of the variables that it is for.

    An optimizer of TensorFlow's would round it for each of them, and on a GPU every scalar costs a kernel.
    """
    return tf.cast(rate, variables[0].dtype.base_dtype) if variables else rate


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """A rate that is multiplied by `factor` at each of `boundaries`, over a run of `steps` updates.

    The rate of step s (counted from 0) is base * g(s) * factor^(number of boundaries b with s >= b), where g is 1, or
    what `for_batch` makes of it: g(s) = g0 + (scale - g0) * min(1, (s + 1) / warmup_steps), with g0 = 1 for a scale
    above 1 and else 0.
    """

    steps: int
    boundaries: tuple[int, ...]
    factor: float
    scale: float = 1.0
    warmup_steps: int = 0

    def rate(self, base, step):
        """Returns the learning rate of `step` (an integer tensor), a float64 scalar: optimizers round it once."""
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(self.boundaries, step.dtype), tf.float64))
        decayed = tf.constant(base * self.scale, tf.float64) * tf.pow(tf.constant(self.factor, tf.float64), passed)
        return decayed * self._rise(step) if self.warmup_steps else decayed

    def _rise(self, step):
        """The share of the whole rate that `step` has."""
        first = 1.0 / self.scale if self.scale > 1.0 else 0.0
        done = tf.minimum(tf.cast(step + 1, tf.float64) / self.warmup_steps, 1.0)
        return first + (1.0 - first) * done

    def stretched(self, steps):
        """Returns the same schedule over another number of updates: the boundaries move in proportion.

        The warm-up does not: it is as long as the network needs to get out of its random beginnings.
        """
        boundaries = tuple(round(boundary * steps / self.steps) for boundary in self.boundaries)
        return dataclasses.replace(self, steps=steps, boundaries=boundaries)

    def for_batch(self, lr_scale, batch_size, recipe_batch_size, warmup_steps):
        """Returns the schedule for another batch than the recipe's (Goyal et al. 2017, arXiv 1706.02677).

        Args:
          lr_scale: "linear" multiplies every rate by batch_size / recipe_batch_size (section 2.1); "none" does not.
          batch_size, recipe_batch_size: images of an update, over all replicas.
          warmup_steps: the rate rises by equal amounts over so many first updates, the last of them having the whole
            one; 0 for none. It begins at the recipe's rate if the scaled one is larger (section 2.2, gradual warm-up),
            and otherwise at 0, of which the first update is one amount away.
        """
        scale = batch_size / recipe_batch_size if lr_scale == "linear" else 1.0
        return dataclasses.replace(self, scale=scale, warmup_steps=warmup_steps)
