"""What the replicas exchange in a step: gradients, figures and changes of moving averages, in one flat buffer.

The gradient of a rotated layer is averaged at what its map gave, Y = Q(P) @ W of shape [p, m], and only then pulled
back to the generator P [p, p]. The pull-back is linear in the upstream gradient and the same on all replicas, since
their P and W are equal; so the pull-back of the mean is the mean of the pull-backs, at m / p of the numbers. Where
p <= m it is the generator's gradient that is exchanged.
"""

from common.compat import tf
from common.graph.precision import gradients as gradients_of
from common.nn import kernels


def mean_gradients(loss, members, others, replica, scale=1.0):
    """Returns (gradients, others): means over the replicas of the gradients of `loss` and of the tensors `others`.

    Args:
      loss: of one replica. What it has of a generator besides the kernel is taken to be the same on all of them, as a
        penalty is.
      members: variables; the gradient of one that the loss does not depend on is None.
      others: tensors.
      replica: whose these are.
      scale: the loss scale (see common/graph/precision.py).
    """
    if replica.count == 1:
        return gradients_of(loss, members, scale), list(others)
    layers = kernels.rotated_layers(replica.local)
    layers = {layer.trained.op.name: layer for layer in layers if _is_smaller(layer)}
    turned = [layer.turned for layer in layers.values()]
    gradients = gradients_of(loss, [*members, *turned], scale, stop=turned)
    own, upstream = gradients[: len(members)], dict(zip(layers, gradients[len(members) :]))
    # The own part of a generator's gradient stays here, as does what is None.
    exchanged = {member.op.name: gradient for member, gradient in zip(members, own) if member.op.name not in layers}
    exchanged = {name: gradient for name, gradient in {**exchanged, **upstream}.items() if gradient is not None}
    means = replica.mean_of_all([*exchanged.values(), *others])
    mean_of = dict(zip(exchanged, means))
    here = {name: layer for name, layer in layers.items() if name in mean_of}
    pulled_back = _pulled_back([(layer, mean_of[name]) for name, layer in here.items()])
    result = []
    for member, gradient in zip(members, own):
        if member.op.name in layers:
            parts = [part for part in (gradient, pulled_back.get(member.op.name)) if part is not None]
            result.append(sum(parts[1:], parts[0]) if parts else None)
        else:
            result.append(mean_of.get(member.op.name))
    return result, means[len(exchanged) :]


def _is_smaller(layer):
    return layer.turned.shape.num_elements() < layer.trained.shape.num_elements()


def _pulled_back(pairs):
    """Returns {name of the generator: its gradient} for pairs (layer, gradient of what its map gave).

    From the last layer to the first; all these gradients arrive at once.
    """
    gradients = {}
    for layer, upstream in reversed(pairs):
        upstream = kernels.two_at_a_time(upstream, list(gradients.values()))
        (gradients[layer.trained.op.name],) = tf.gradients(layer.turned, [layer.trained], grad_ys=upstream)
    return gradients
