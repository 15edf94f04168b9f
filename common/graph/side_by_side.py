"""Small tensors side by side, as one: on a GPU every operation costs 13 microseconds, however little it computes."""

import numpy as np

from common.compat import tf
from common.graph import linalg

# Numbers up to which copying a tensor costs less than another operation on it.
_SMALL_ON_CPU, _SMALL_ON_GPU = 50_000, 1 << 20
# Sum of n^3 that a batch of matrices may grow by for the operations of another batch to be saved: ten products of that
# size take 0.2 ms on an H100, in float64, and forty operations 0.5.
_MOST_PADDING = 500_000_000


def is_small(tensor):
    """Whether a tensor, or a variable, goes side by side with others rather than alone."""
    return tensor.shape.num_elements() <= (_SMALL_ON_GPU if linalg.on_gpu() else _SMALL_ON_CPU)


def flat(tensors):
    """Returns all numbers of tensors of one type, a vector; of NumPy arrays a NumPy array."""
    if all(isinstance(tensor, np.ndarray) for tensor in tensors):
        return np.concatenate([array.ravel() for array in tensors])
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def unflattened(vector, tensors):
    """Returns what `flat` has put into a vector, as tensors of the shapes of `tensors`."""
    of_each = tf.split(vector, [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(of_each, tensors)]


def joined(tensors):
    """Returns all numbers in fewer tensors: the small ones as one vector, if there are any, and each of the others."""
    small = [tensor for tensor in tensors if is_small(tensor)]
    return ([flat(small)] if small else []) + [tensor for tensor in tensors if not is_small(tensor)]


def elementwise(function, *columns):
    """Returns [function(a, b, ...) for a, b, ... in zip(*columns)] of an elementwise function.

    Args:
      function: of tensors of equal shape; small ones are given to it as one vector.
      columns: lists of tensors; the first ones of all lists are of one shape, and so on.
    """
    rows = list(zip(*columns))
    small = [index for index, row in enumerate(rows) if is_small(row[0])]
    results = {index: function(*row) for index, row in enumerate(rows) if index not in small}
    if small:
        vectors = [flat([column[index] for index in small]) for column in columns]
        results |= zip(small, unflattened(function(*vectors), [columns[0][index] for index in small]))
    return [results[index] for index in range(len(rows))]


def of_one_shape(tensors):
    """Returns lists of tensors of one shape: on a CPU those that are not small are alone."""
    groups = {}
    for index, tensor in enumerate(tensors):
        alone = index if not linalg.on_gpu() and not is_small(tensor) else None
        groups.setdefault((tuple(tensor.shape.as_list()), alone), []).append(tensor)
    return list(groups.values())


def padded_sizes(sizes):
    """Returns {n: size} of square matrices: those of one size go in one batch, the smaller ones padded to it.

    On a CPU, and where matrices would grow too much, each is of its own size.

    Args:
      sizes: the n of each matrix.
    """
    found, group = {}, []
    for size in sorted(set(sizes)):
        growth = sum(size**3 - n**3 for n in sizes if n in group)
        if not linalg.on_gpu() or growth > _MOST_PADDING:
            group = []
        group.append(size)
        found |= dict.fromkeys(group, size)
    return found
