"""Maps of many layers: generators of one size are one batch, and one call of the map."""

import inspect

from common.compat import tf

_MOST_BYTES = 256 << 20  # of a batch of generators; what a map keeps and works with is some ten times that


def apply_map(rotate, generators, weights, names):
    """Returns Q(P) @ W for each pair of a generator P [n, n] and weights W [n, m], in their order.

    Args:
      rotate: a map of batches. If it takes `names`, it gets those of its members, for its errors.
      generators: variables or tensors, of any sizes.
      weights: likewise; they get no gradient.
      names: of the layers.

    Of weights with fewer columns than the widest of their batch, the missing ones are zeros. A batch begins when the
    last but one before it has ended: two are enough to keep the cores busy, and more need more memory at once.
    """
    takes_names = "names" in inspect.signature(rotate).parameters
    results, ended = {}, []
    for members in _batches(generators):
        with tf.control_dependencies(ended[-2:-1]):
            matrices = [tf.identity(tf.convert_to_tensor(generators[index])) for index in members]
        columns = [int(weights[index].shape[-1]) for index in members]
        fixed = [tf.stop_gradient(tf.convert_to_tensor(weights[index])) for index in members]
        options = {"names": [names[index] for index in members]} if takes_names else {}
        if len(members) == 1:
            rotated = [rotate(*matrices, *fixed, **options)]
        else:
            missing = [max(columns) - count for count in columns]
            padded = [tf.pad(matrix, [[0, 0], [0, more]]) if more else matrix for matrix, more in zip(fixed, missing)]
            results_of_batch = tf.unstack(rotate(tf.stack(matrices), tf.stack(padded), **options))
            rotated = [matrix[:, :-more] if more else matrix for matrix, more in zip(results_of_batch, missing)]
        ended.append(rotated[0])
        results.update(zip(members, rotated))
    return [results[index] for index in range(len(generators))]


def pull_back(results, generators, upstream):
    """Returns the gradients [p, p] of generators from those of what their maps gave, one batch for each size.

    Args:
      results: what `apply_map` returned, or some of it.
      generators: the variables, in the same order.
      upstream: gradients of the results.
    """
    return tf.gradients(results, generators, grad_ys=upstream) if results else []


def _batches(generators):
    """Yields lists of indices of generators of one size, in the order in which sizes first occur."""
    sizes = [int(generator.shape[0]) for generator in generators]
    for size in dict.fromkeys(sizes):
        members = [index for index, other in enumerate(sizes) if other == size]
        most = max(1, _MOST_BYTES // (size * size * generators[members[0]].dtype.base_dtype.size))
        for first in range(0, len(members), most):
            yield members[first : first + most]
