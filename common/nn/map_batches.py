"""Maps of many layers: generators of one size are one batch, and one call of the map."""

import inspect

from common.compat import tf
from common.graph.side_by_side import padded_sizes

_MOST_BYTES = 256 << 20  # of a batch of generators; what a map keeps and works with is some ten times that


def attribute_of(rotate, name, default=None):
    """Returns what a map says of itself in an attribute, also if its algorithm has been chosen by functools.partial."""
    return getattr(getattr(rotate, "func", rotate), name, default)


def apply_map(rotate, generators, weights, names):
    """Returns Q(P) @ W for each pair of a generator P [n, n] and weights W [n, m], in their order.

    Args:
      rotate: a map of batches. If it takes `names`, it gets those of its members, for its errors.
      generators: variables or tensors, of any sizes.
      weights: likewise; they get no gradient.
      names: of the layers.

    A batch begins when the last but one before it has ended: two are enough to keep the cores busy, and more need more
    memory at once. A map may get several sizes as one batch if it has an attribute `pad`: pad(P [b, n, n], W [b, n, m],
    added) -> the same with so many more rows before the first, of whose results the last n rows are Q(P) @ W.
    """
    takes_names = "names" in inspect.signature(rotate).parameters
    pad = attribute_of(rotate, "pad")
    results, ended = {}, []
    for size, members in _batches(generators, pad is not None):
        with tf.control_dependencies(ended[-2:-1]):
            matrices = [tf.identity(tf.convert_to_tensor(generators[index])) for index in members]
        fixed = [tf.stop_gradient(tf.convert_to_tensor(weights[index])) for index in members]
        options = {"names": [names[index] for index in members]} if takes_names else {}
        if len(members) == 1:
            rotated = [rotate(*matrices, *fixed, **options)]
        else:
            rotated = _taken_apart(rotate(*_batch(matrices, fixed, size, pad), **options), fixed)
        ended.append(rotated[0])
        results.update(zip(members, rotated))
    return [results[index] for index in range(len(generators))]


def _batch(matrices, weights, size, pad):
    """Returns P [b, n, n] and W [b, n, m], n = `size`; matrices of one size follow each other.

    Of weights with fewer columns than the widest, the missing ones are zeros.
    """
    columns = max(int(matrix.shape[-1]) for matrix in weights)
    stacks = []
    for own, members in _by_size(matrices):
        missing = [columns - int(weights[index].shape[-1]) for index in members]
        wide = [tf.pad(weights[i], [[0, 0], [0, more]]) if more else weights[i] for i, more in zip(members, missing)]
        stack = tf.stack([matrices[index] for index in members]), tf.stack(wide)
        stacks.append(pad(*stack, size - own) if own < size else stack)
    return stacks[0] if len(stacks) == 1 else [_concat(*parts) for parts in zip(*stacks)]


@tf.custom_gradient
def _concat(*stacks):  # TensorFlow's gradient works out where to cut: four operations in place of one
    return tf.concat(stacks, 0), lambda upstream: tf.split(upstream, [int(stack.shape[0]) for stack in stacks])


def _taken_apart(rotated, weights):
    """Returns Q(P) @ W of each member of a batch that `_batch` has made."""
    groups = list(_by_size(weights))
    stacks = [rotated] if len(groups) == 1 else tf.split(rotated, [len(members) for _, members in groups])
    found = []
    for (own, members), stack in zip(groups, stacks):
        rows, columns = stack.shape.as_list()[1:]
        stack = stack[:, rows - own :] if own < rows else stack
        for index, matrix in zip(members, tf.unstack(stack)):
            width = int(weights[index].shape[-1])
            found.append(matrix[:, :width] if width < columns else matrix)
    return found


def _by_size(matrices):
    """Returns [(number of rows, indices of the matrices that have it)], in the order in which they first occur."""
    sizes = [int(matrix.shape[0]) for matrix in matrices]
    return [(size, [i for i, other in enumerate(sizes) if other == size]) for size in dict.fromkeys(sizes)]


def pull_back(results, generators, upstream):
    """Returns the gradients [p, p] of generators from those of what their maps gave, one batch for each size.

    Args:
      results: what `apply_map` returned, or some of it.
      generators: the variables, in the same order.
      upstream: gradients of the results.
    """
    return tf.gradients(results, generators, grad_ys=upstream) if results else []


def _batches(generators, with_padding):
    """Yields (size, indices of generators that are a batch of matrices of that size).

    Batches are in the order in which their sizes first occur, and so are generators of one size.
    """
    groups = _by_size(generators)
    sizes = [int(generator.shape[0]) for generator in generators]
    padded = padded_sizes(sizes) if with_padding else dict(zip(sizes, sizes))
    for size in dict.fromkeys(padded[own] for own, _ in groups):
        members = [index for own, indices in groups if padded[own] == size for index in indices]
        most = max(1, _MOST_BYTES // (size * size * generators[members[0]].dtype.base_dtype.size))
        for first in range(0, len(members), most):
            yield size, members[first : first + most]
