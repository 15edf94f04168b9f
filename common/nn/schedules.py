"""Learning rates as functions of the step."""

import dataclasses
import math

from common.compat import tf


def rounded(rate, variables):
    """Returns a rate in the type of the variables that it is for.

    An optimizer of TensorFlow's would round it for each of them, and on a GPU every scalar costs a kernel.
    """
    return tf.cast(rate, variables[0].dtype.base_dtype) if variables else rate


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Base of the schedules of a run of `steps` updates.

    The rate of step s (counted from 0) is base * share(s) * g(s), where g is 1, or what `for_batch` makes of it:
    g(s) = g0 + (scale - g0) * min(1, (s + 1) / warmup_steps), with g0 = 1 for a scale above 1 and else 0.
    """

    steps: int
    scale: float = dataclasses.field(default=1.0, kw_only=True)
    warmup_steps: int = dataclasses.field(default=0, kw_only=True)

    def share(self, step):
        """Returns what is left of the rate at `step` (an integer tensor) without the warm-up, a float64 scalar."""
        raise NotImplementedError

    def rate(self, base, step):
        """Returns the learning rate of `step` (an integer tensor), a float64 scalar: optimizers round it once."""
        rate = tf.constant(base * self.scale, tf.float64) * self.share(step)
        return rate * self._rise(step) if self.warmup_steps else rate

    def _rise(self, step):
        """The share of the whole rate that `step` has."""
        first = 1.0 / self.scale if self.scale > 1.0 else 0.0
        done = tf.minimum(tf.cast(step + 1, tf.float64) / self.warmup_steps, 1.0)
        return first + (1.0 - first) * done

    def for_batch(self, lr_scale, batch_size, recipe_batch_size, warmup_steps):
        """Returns the schedule for another batch than the recipe's (Goyal et al. 2017, arXiv 1706.02677).

        Args:
          lr_scale: "linear" multiplies every rate by batch_size / recipe_batch_size (section 2.1); "none" does not.
          batch_size, recipe_batch_size: images of an update, over all replicas.
          warmup_steps: over so many first updates the rate rises by equal amounts, the last of them having the whole
            rate; 0 for none. The rise begins at the recipe's rate if the scaled one is larger (section 2.2, gradual
            warm-up), else at 0. The first update is one amount above that.
        """
        scale = batch_size / recipe_batch_size if lr_scale == "linear" else 1.0
        return dataclasses.replace(self, scale=scale, warmup_steps=warmup_steps)


@dataclasses.dataclass(frozen=True)
class StepDecay(Schedule):
    """A rate that is multiplied by `factor` at each of `boundaries`: share(s) = factor^(boundaries b with s >= b)."""

    boundaries: tuple[int, ...]
    factor: float

    def share(self, step):
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(self.boundaries, step.dtype), tf.float64))
        return tf.pow(tf.constant(self.factor, tf.float64), passed)

    def after_last_drop(self):
        """Returns how many updates follow the last drop within the run; all of them if there is none."""
        return self.steps - max((boundary for boundary in self.boundaries if boundary < self.steps), default=0)

    def stretched(self, steps):
        """Returns the same schedule over another number of updates: the boundaries move in proportion.

        The warm-up stays as long as the network needs to get out of its random beginnings.
        """
        boundaries = tuple(round(boundary * steps / self.steps) for boundary in self.boundaries)
        return dataclasses.replace(self, steps=steps, boundaries=boundaries)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine, from the whole rate to 0: share(s) = (1 + cos(pi min(1, s / steps))) / 2.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017 (arXiv 1608.03983), equation 5, without restarts.
    """

    def share(self, step):
        done = tf.minimum(tf.cast(step, tf.float64) / self.steps, 1.0)
        return 0.5 * (1.0 + tf.cos(math.pi * done))


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The same rate throughout: share(s) = 1."""

    def share(self, step):
        return tf.ones([], tf.float64)
