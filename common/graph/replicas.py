"""One replica = one device = one copy of the variables.

All replicas run the same graph, each on its slice of the batch; TensorFlow's collective ops reduce what they have to
agree on. A network asks its `Replica` for nothing but its slice and for means, so it cannot tell one device from many,
in one process or in several.
"""

from common.compat import tf
from common.graph.precision import excluded
from common.graph.side_by_side import flat, unflattened

_GROUP_KEY = 1
_FIRST_LOCAL_KEY = 1 << 20  # plus the number of a process's first replica: groups within that process


class Replica:
    """Replica `index` of `count`.

    Args:
      index, count: its number among all replicas, those of other processes included.
      here: the numbers of the replicas in this process, a range; None for all.

    Attributes:
      index, count: see above.
      local: its number among those of this process, by which variables are named.

    Collectives are matched across replicas by a key that counts up in the order in which they are built, which is the
    same on each replica, and are run in that order: two replicas that start two collectives in different orders would
    wait for each other.

    No collective has a timeout of its own: for each with one, TensorFlow starts a thread that sleeps until the time is
    over, so that a run of some hundred steps would have more threads than a process may. The session does not wait for
    ever for peers that do not come (`Cluster.configure`).
    """

    def __init__(self, index=0, count=1, here=None):
        self.index = index
        self.count = count
        self._here = here or range(count)
        self.local = index - self._here.start
        self._built = 0
        self._last = None

    def share(self, batch_size):
        """Returns (first, size): the rows of a batch that this replica works on; ValueError if it does not divide."""
        if batch_size % self.count:
            raise ValueError(
                f"a batch of {batch_size} cannot be split evenly over {self.count} devices: "
                f"choose a batch size that is a multiple of {self.count}"
            )
        size = batch_size // self.count
        return self.index * size, size

    def mean(self, tensor):
        """Returns the mean of `tensor` over all replicas; differentiable, the gradient being averaged likewise.

        If the total loss is the mean of the replicas' losses, averaged variable gradients are those of one device.
        """
        if self.count == 1:
            return tensor

        @tf.custom_gradient
        def averaged(value):
            return self._reduce(value) / self.count, lambda upstream: self._reduce(upstream) / self.count

        return averaged(tensor)

    def mean_of_all(self, tensors):
        """Returns the mean over all replicas of each of `tensors`, through one flat buffer; not differentiable.

        One collective for all costs a fraction of one for each (see the module's docstring for their order).
        """
        if self.count == 1:
            return list(tensors)
        return unflattened(self._all_here(self._reduce(flat(tensors)) / self.count), tensors)

    def _all_here(self, tensor):
        """Returns `tensor` once all replicas of this process have got so far.

        If a reduction over several processes fails for one replica, none may write: what a process saves after it has
        lost its peers is the state after a whole step.
        """
        if len(self._here) in (1, self.count):
            return tensor
        with tf.control_dependencies([tensor]), tf.device(f"/cpu:{self.local}"):
            here = self._reduce(tf.zeros([1]), len(self._here), _FIRST_LOCAL_KEY + self._here.start)
        with tf.control_dependencies([here]):
            return tf.identity(tensor)

    def _reduce(self, tensor, size=None, group=_GROUP_KEY):
        self._built += 1
        with excluded(), tf.control_dependencies([self._last] if self._last is not None else []):
            total = tf.raw_ops.CollectiveReduceV2(
                input=tensor,
                group_size=size or self.count,
                group_key=group,
                instance_key=self._built,
                ordering_token=[],
                merge_op="Add",
                final_op="Id",
                communication_hint="nccl",  # between GPUs; between CPUs that means the ring
                timeout_seconds=0,
            )
        self._last = total.op
        return total


ALONE = Replica()
