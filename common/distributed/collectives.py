"""What the processes of a cluster tell each other outside the training step: sums of small arrays, and variables.

These collectives run between the CPUs of the processes, in a group and a range of keys of their own. A key means one
operation with one shape for the life of a process. Their timeout is the session's (see `replicas.Replica`).
"""

import enum

import numpy as np

from common.compat import tf
from common.distributed.cluster import milliseconds
from common.graph import variables

_GROUP_KEY = 2
_FIRST_OF_VARIABLES = 1000  # keys below are those of `Kind`
LEAST = 64  # numbers of a sum; one that is smaller fills up: TensorFlow cuts it in parts for its workers, none empty
_BLOCK_BYTES = 64 << 20  # of variables in one message


class Kind(enum.IntEnum):
    """What is summed; its value is the key of the collective."""

    DIGEST = 1
    BEGINNING = 2
    EVALUATION = 3
    END = 4


def summed(tensor, cluster, kind):
    """Returns the sum of `tensor` (float32, float64, int32 or int64 of a static shape) over all processes."""
    if cluster.count == 1:
        return tensor
    with tf.device("/cpu:0"):
        flat = tf.reshape(tensor, [-1])
        size = flat.shape.num_elements()
        total = tf.raw_ops.CollectiveReduceV2(
            input=tf.pad(flat, [[0, max(LEAST - size, 0)]]), ordering_token=[], merge_op="Add", final_op="Id",
            **_group(cluster, int(kind)),
        )  # fmt: skip
        return tf.reshape(total[:size], tensor.shape)


class Sum:
    """The sum of an array over all processes: built before the graph is finalised, called with a session.

    Args:
      cluster: a `Cluster`.
      kind: a `Kind`.
      shape, dtype: of the array.
      timeout: seconds of a call, if not the session's.
    """

    def __init__(self, cluster, kind, shape, dtype, timeout=None):
        self._mine = tf.placeholder(dtype, shape)
        self._options = tf.RunOptions(timeout_in_ms=milliseconds(timeout)) if timeout else None
        self._total = summed(self._mine, cluster, kind)

    def __call__(self, session, array):
        """Returns the sum; every process has to call it."""
        return session.run(self._total, {self._mine: array}, options=self._options)


def spread(members, cluster):
    """Returns an operation after which variables have the chief's values in every process.

    They are sent in blocks of one type, one block after the other: an operation for each variable takes several times
    as long. Within a block they are in the order of their names without replicas.
    """
    last, first = [], _FIRST_OF_VARIABLES
    members = sorted(members, key=lambda member: variables.bare_name(member.op.name))
    for key, block in enumerate(_blocks(members), first):
        with tf.control_dependencies(last), tf.device("/cpu:0"):
            send = _send if cluster.is_chief else _receive
            last = [send(block, cluster, key)]
    return tf.group(*last)


def _send(block, cluster, key):
    flat = tf.concat([tf.reshape(member.read_value(), [-1]) for member in block], axis=0)
    return tf.raw_ops.CollectiveBcastSendV2(input=flat, **_group(cluster, key)).op


def _receive(block, cluster, key):
    sizes = [member.shape.num_elements() for member in block]
    flat = tf.raw_ops.CollectiveBcastRecvV2(
        shape=[sum(sizes)], T=block[0].dtype.base_dtype, **_group(cluster, key)
    )
    values = [tf.reshape(part, member.shape) for part, member in zip(tf.split(flat, sizes), block)]
    return tf.group(*[member.assign(value, read_value=False) for member, value in zip(block, values)])


def _blocks(members):
    """Yields lists of variables of one type, of about `_BLOCK_BYTES` together at most."""
    for dtype in sorted({member.dtype.base_dtype.name for member in members}):
        block, bytes_of_block = [], 0
        for member in members:
            if member.dtype.base_dtype.name != dtype:
                continue
            size = member.shape.num_elements() * np.dtype(member.dtype.base_dtype.as_numpy_dtype).itemsize
            if block and bytes_of_block + size > _BLOCK_BYTES:
                yield block
                block, bytes_of_block = [], 0
            block.append(member)
            bytes_of_block += size
        yield block


def _group(cluster, key):
    return {
        "group_size": cluster.count,
        "group_key": _GROUP_KEY,
        "instance_key": key,
        "communication_hint": "ring",
        "timeout_seconds": 0,
    }
