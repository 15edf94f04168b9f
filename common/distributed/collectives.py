"""What processes tell each other outside the training step: sums of small arrays, and the chief's variables.

These collectives run between the CPUs of the processes, in a group of their own. A key means one operation with one
shape for the life of a process. The timeout is the session's (see `replicas.Replica`).
"""

import enum
import itertools

from common.compat import tf
from common.graph.side_by_side import flat, unflattened

_GROUP_KEY = 2
_LEAST = 64  # numbers of a sum, a smaller one is padded: TensorFlow gives each worker a part, and none may be empty


class Kind(enum.IntEnum):
    """What a collective is for; its value is the key."""

    CHECK = 1
    EVALUATION = 2
    BARRIER = 3
    STATISTICS = 4
    VARIABLES = 1000  # and those after it


def summed(tensor, cluster, kind):
    """Returns the sum of `tensor` (float32, float64, int32 or int64 of a static shape) over all processes."""
    if cluster.count == 1:
        return tensor
    with tf.device("/cpu:0"):
        numbers = tf.reshape(tensor, [-1])
        size = numbers.shape.num_elements()
        total = tf.raw_ops.CollectiveReduceV2(
            input=tf.pad(numbers, [[0, max(_LEAST - size, 0)]]), ordering_token=[], merge_op="Add", final_op="Id",
            group_size=cluster.count, group_key=_GROUP_KEY, instance_key=int(kind), communication_hint="ring",
            timeout_seconds=0,
        )  # fmt: skip
        return tf.reshape(total[:size], tensor.shape)


def broadcast(members, cluster):
    """Returns an operation after which variables have the chief's values in every process: these plus zeros.

    All variables of a type are one message: an operation for each takes several times as long.
    """
    members = sorted(members, key=lambda member: (member.dtype.base_dtype.name, member.op.name))
    last = []
    for key, (_, block) in enumerate(itertools.groupby(members, lambda member: member.dtype.base_dtype)):
        with tf.control_dependencies(last), tf.device("/cpu:0"):
            block = list(block)
            own = flat([member.read_value() for member in block])
            total = summed(own if cluster.is_chief else tf.zeros_like(own), cluster, Kind.VARIABLES + key)
            last = [member.assign(part, read_value=False) for member, part in zip(block, unflattened(total, block))]
    return tf.group(*last)
