"""The gradients of a step: one backward pass of the fit, averaged over the replicas, pulled back to the generators.

A rotated kernel's gradient is averaged at what its map gave, Q(P) W of shape [p, m], and only then pulled back to the
generator P [p, p]. The pull-back is linear in the upstream gradient and the same on all replicas, since their P and W
are equal; so the pull-back of the mean is the mean of the pull-backs, at m / p of the numbers. Where p < m the
generator's gradient is the smaller one, and it is averaged. Penalties act on variables, which are the same on all
replicas: their gradients are taken apart and not averaged.
"""

from common.compat import tf
from common.graph.precision import gradients as gradients_of
from common.graph.side_by_side import elementwise
from common.nn.map_batches import pull_back


def mean_gradients(fit, penalty, members, others, kernels, replica, scale=1.0):
    """Returns (gradients, others): of fit + penalty, and tensors, both as means over the replicas.

    Args:
      fit: scalar loss of one replica.
      penalty: scalar function of the variables alone.
      members: variables; the gradient of one that neither depends on is None.
      others: tensors to be averaged along with the gradients.
      kernels: {scope: `Kernel`} of the replica.
      replica: a `Replica`.
      scale: the loss scale (see common/graph/precision.py).
    """
    mapped = {kernel.generator.op.name: kernel for kernel in kernels.values() if kernel.rotate is not None}
    points = [mapped[member.op.name].rotated if member.op.name in mapped else member for member in members]
    found = dict(zip((member.op.name for member in members), gradients_of(fit, points, scale)))
    found = {name: gradient for name, gradient in found.items() if gradient is not None}
    large = {name: mapped[name] for name in found if name in mapped}
    small = {name: kernel for name, kernel in large.items() if _is_larger(kernel)} if replica.count > 1 else {}
    found |= _pulled_back(small, found)
    means = replica.mean_of_all([*found.values(), *others])
    found, others = dict(zip(found, means)), means[len(found) :]
    found |= _pulled_back({name: kernel for name, kernel in large.items() if name not in small}, found)
    # A penalty's gradient is known from the beginning: without the control it would be in memory all the while.
    with tf.control_dependencies(list(found.values())):
        own = dict(zip((member.op.name for member in members), gradients_of(penalty, members)))
    both = [name for name in found if own[name] is not None]
    sums = elementwise(tf.add, [found[name] for name in both], [own[name] for name in both])
    total = own | found | dict(zip(both, sums))
    return [total[member.op.name] for member in members], others


def _is_larger(kernel):
    """Whether what the map gave has more numbers than the generator."""
    return kernel.rotated.shape.num_elements() > kernel.generator.shape.num_elements()


def _pulled_back(kernels, upstream):
    """Returns {name: gradient of the generator}."""
    results = [kernel.rotated for kernel in kernels.values()]
    generators = [kernel.generator for kernel in kernels.values()]
    return dict(zip(kernels, pull_back(results, generators, [upstream[name] for name in kernels])))
