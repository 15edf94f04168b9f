"""Images and labels as variables on the device."""

import dataclasses

import numpy as np

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role

_BLOCK_BYTES = 16 << 20  # what is written to the device in one go


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """One part of a data set inside the graph; made by `store`.

    Attributes:
      images: the variable uint8 [size, height, width, channels].
      labels: the variable int64 [size].
      size: the number of images.
      shape: (height, width, channels).
    """

    images: tf.Variable
    labels: tf.Variable
    size: int
    shape: tuple
    _fills: tuple  # of functions of a session, one for each variable

    def fill(self, session):
        """Initializes the two variables and writes the arrays into them, a slice at a time; for every new session."""
        for fill in self._fills:
            fill(session)


def store(images, labels, scope):
    """Returns a `Store` whose variables are `scope`/images and `scope`/labels, neither trained nor saved.

    Args:
      images: NumPy uint8 [N, height, width, channels]. Referenced, not copied; the graph holds none of its values, so
        neither the 2 GB limit of a graph's definition nor memory for a second copy matters.
      labels: NumPy int32 [N].
      scope: the variable scope to make; with replicas, call within `variables.replica_scope`.

    Nothing is on the device before `fill(session)`.
    """
    with tf.variable_scope(scope):
        # Labels are int64 there because TensorFlow has no kernel that reads an int32 variable by index on a GPU.
        of_images, fill_images = _variable("images", images, tf.uint8)
        of_labels, fill_labels = _variable("labels", labels, tf.int64)
    return Store(of_images, of_labels, len(images), tuple(images.shape[1:]), (fill_images, fill_labels))


def _variable(name, array, dtype):
    """Makes the variable for `array`; returns it, and what initializes and fills it in a session."""
    variable = variables.create(name, array.shape, Role.DATA, _unwritten, dtype)
    start = tf.placeholder(tf.int64, [], f"{name}_start")
    block = tf.placeholder(np.dtype(array.dtype), [None, *array.shape[1:]], f"{name}_block")
    rows = start + tf.range(tf.shape(block, out_type=tf.int64)[0])
    write = tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=rows, updates=tf.cast(block, dtype), name=f"{name}_write"
    )

    def fill(session):
        session.run(variable.initializer)
        count = max(1, _BLOCK_BYTES // array[:1].nbytes)
        for first in range(0, len(array), count):
            session.run(write, {start: first, block: array[first : first + count]})

    return variable, fill


def _unwritten(shape, dtype, seed):
    """Memory as it comes. Zeros would be kept by the session as a constant, a second copy of the whole set."""
    return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=False)
