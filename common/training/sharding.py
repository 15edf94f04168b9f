"""Maps that are computed once, not once on each replica: every rotated layer has one replica that owns it.

The owner computes the map, and what it gives, [p, m], reaches all replicas through one flat collective, to which the
others bring zeros: x + 0 is exact. The mean gradient at that result is exchanged as ever (see exchange.py); the owner
alone pulls it back, steps the generator and knows its newest value. Methods, optimizers and layers know nothing of it.
"""

from common import kernels, variables
from common.compat import tf


def owners(costs, count):
    """Returns the owner, 0 to `count` - 1, of each of some layers: the dearest first, each to whom has least so far."""
    loads, result = [0] * count, [0] * len(costs)
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        result[index] = loads.index(min(loads))
        loads[result[index]] += costs[index]
    return result


def compute(replica):
    """Builds the maps that a replica owns and the exchange of their results, when its network has been built.

    The layers are those of the network, made within `kernels.postponed`; a map costs about p^3.
    """
    layers = kernels.rotated_layers(replica.local)
    if not layers:
        return
    results, parts, mine = [], [], []
    for layer, owner in zip(layers, owners([int(layer.trained.shape[0]) ** 3 for layer in layers], replica.count)):
        variables.give_to(owner, layer.trained)
        result = None
        if owner == replica.index:
            generator = kernels.two_at_a_time(layer.generator, mine)
            result = kernels.turned_by(layer.rotate, generator, layer.turned.op.inputs[0])
            mine.append(result)
        results.append(result)
        parts.append(tf.zeros(layer.turned.shape, layer.turned.dtype) if result is None else result)
    for layer, result, total in zip(layers, results, replica.sum_ahead(parts)):
        kernels.arrive(layer, result, total)


def penalty(of_replica, replica):
    """Returns (penalty, figure): what the replica's loss has of a penalty, and what counts of it in a mean of losses.

    Args:
      of_replica: `of_replica(local number) -> scalar`, a sum of terms that each concern one variable.
      replica: whose it is.

    The penalty has the terms of the generators that the replica owns, and of no others, whose values it does not know.
    The mean over all replicas of the figures is the penalty of one device.
    """
    shared = [variable for variable in variables.trainable(replica.local) if variables.owner_of(variable) is not None]
    with variables.hidden([variable for variable in shared if not replica.steps(variable)]):
        own = of_replica(replica.local)
    if not shared:
        return own, own
    with variables.hidden(shared):
        common = of_replica(replica.local)
    return own, common + replica.count * (own - common)
