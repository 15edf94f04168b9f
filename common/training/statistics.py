"""--bn_statistics=precise: batch norm's averages made anew from training batches, with the weights as they are."""

import numpy as np

from common.compat import tf
from common.distributed import collectives
from common.distributed.cluster import ALONE
from common.distributed.collectives import Kind
from common.graph import variables
from common.graph.side_by_side import flat
from common.runs import checkpoints
from common.training.loop import Callback


class Precise:
    """The averages as plain means of the statistics of N training batches.

    mean = 1/N sum_i mean(batch_i), variance = 1/N sum_i variance(batch_i), the biased ones, in float64; with several
    replicas they are those that training averages. The batches are those of the N updates that would follow, with
    their augmentation and dropout: all follows from the weights, the seed and the step. No other variable changes.
    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576), section 3.

    Args:
      training: a `Training`.
      batches: N.
      cluster: a `Cluster`, whose processes call it together.
    """

    def __init__(self, training, batches, cluster=ALONE):
        self._training, self._batches = training, batches
        self.line = f"batch norm's averages made anew from {batches} training batches"
        known = [variables.averages(replica) for replica in range(len(training.steps))]
        self._averages = [[average.variable for average in copies] for copies in zip(*known)]
        statistics = [flat([tf.cast(a.statistic, tf.float64) for a in of_replica]) for of_replica in known]
        total = collectives.summed(sum(statistics), cluster, Kind.STATISTICS)
        self._means = total / (len(statistics) * cluster.count)

    def make(self, session, stopping=lambda: False):
        """Makes the averages anew; returns False, and changes nothing, once `stopping()` is true before a batch.

        Raises ValueError, and changes nothing, if a statistic is not finite.
        """
        first, total = int(session.run(self._training.global_step)), 0.0
        ends = np.cumsum([copies[0].shape.num_elements() for copies in self._averages])
        for batch in range(self._batches):
            if stopping():
                return False
            values = session.run(self._means, dict.fromkeys(self._training.steps, first + batch))
            if not np.isfinite(values).all():
                bad = self._averages[np.searchsorted(ends, np.argmin(np.isfinite(values)), side="right")][0]
                raise ValueError(
                    f"--bn_statistics=precise: {bad.op.name} of training batch {batch + 1} of {self._batches} is not "
                    "finite; --bn_statistics=moving does without"
                )
            total = total + values
        means = np.split(total / self._batches, ends[:-1])
        checkpoints.assign(session, {c: mean for copies, mean in zip(self._averages, means) for c in copies})
        return True


class AtTheEnd(Callback):
    """Makes the averages anew after the update `last`, before the final validation and checkpoint.

    Args:
      precise: a `Precise`.
      save: a `Save`: should a statistic not be finite, the run is kept as it is.
      stopping: as for `Validate`.
    """

    def __init__(self, precise, folder, session, last, save, stopping):
        self._precise, self._folder, self._session = precise, folder, session
        self._last, self._save, self._stopping = last, save, stopping

    def after_step(self, step, values):
        if step == self._last:
            self.at(step)

    def at(self, step):
        """Makes the averages anew after `step`, the last one done."""
        try:
            if self._precise.make(self._session, self._stopping):
                self._folder.say(f"step {step}, {self._precise.line}")
        except ValueError:
            if self._folder.kept:
                self._save.at(step)
            raise
