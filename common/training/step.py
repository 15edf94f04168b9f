"""One training step: one backward pass, the gradients shared out to the optimizers, one count of the step."""

import dataclasses

from common.compat import tf
from common.graph import variables
from common.graph.precision import as_one
from common.graph.replicas import ALONE
from common.graph.side_by_side import joined
from common.training.gradients import mean_gradients


@dataclasses.dataclass(frozen=True)
class Health:
    """What of a step is finite.

    Attributes:
      finite: bool [number of quantities], for a caller to fetch along with the step: if one is False, no variable was
        written.
      names: what each of them is: the loss, a gradient or a moving average.
      gradients: {name of a trained variable: its gradient}, the mean over the replicas.
    """

    finite: tf.Tensor
    names: tuple
    gradients: dict


def make_train_op(
    fit, groups, step, replica=ALONE, kernels=None, penalty=0.0, metrics=None, count_dropped=False, scale=1.0, xla=False
):
    """Returns (train_op, metrics, health): an op that does one update of one replica, its metrics, a `Health`.

    Args:
      fit: the scalar to minimise; with several replicas their mean is.
      groups: pairs (optimizer, variables). Every trainable variable of the replica must be in exactly one of them.
      step: the int64 variable that counts updates.
      replica: whose update this is.
      kernels: {scope: `Kernel`} of the replica's network; None where no kernel is computed by a map.
      penalty: a scalar function of the variables, added to fit.
      metrics: scalars of the forward pass, as a dict; the returned ones are their means over the replicas.
      count_dropped: whether a step that is dropped counts.
      scale: the loss scale of a network of low precision (see common/graph/precision.py).
      xla: whether XLA compiles the finite check and the updates, as one function.

    A step is dropped if its loss, a gradient or a change of a moving average is not finite: variables, slots, powers
    and averages then stay as they are, bit for bit. Each is a mean over the replicas, or follows from such means (see
    gradients.py), so that all of them decide alike.
    The op is the one consumer of UPDATE_OPS. Metrics are computed before the first variable is written.
    Raises ValueError for a variable that no optimizer takes, that two take, or that the loss does not depend on.
    """
    metrics, penalty = dict(metrics or {}), tf.convert_to_tensor(penalty, fit.dtype)
    loss = fit + penalty
    members = [variable for _, group in groups for variable in group]
    check_coverage(members, variables.trainable(replica.local))
    changes = variables.changes(replica.local)
    others = [loss, *metrics.values(), *[change.amount for change in changes if change.local]]
    gradients, others = mean_gradients(fit, penalty, members, others, kernels or {}, replica, scale)
    check_pairs(list(zip(gradients, members)))
    gradient_of = {variable.op.name: gradient for gradient, variable in zip(gradients, members)}
    loss, others = others[0], iter(others[1:])
    metrics = {name: next(others) for name in metrics}
    changes = [dataclasses.replace(c, amount=next(others), local=False) if c.local else c for c in changes]
    quantities = {"the loss": loss}
    names = [variable.op.name for variable in members]
    quantities |= {f"the gradient of {variables.bare_name(name)}": gradient_of[name] for name in names}
    quantities |= {f"the average {variables.bare_name(change.variable.op.name)}": change.amount for change in changes}
    shares = [(optimizer, [(gradient_of[v.op.name], v) for v in group]) for optimizer, group in groups]

    def write():
        with tf.control_dependencies([apply_groups(shares), *[change.write() for change in changes]]):
            return tf.ones([len(quantities)], tf.bool)

    def drop():
        return tf.stack([_all_finite(quantity) for quantity in quantities.values()])

    def update():
        good = _finite_together(list(quantities.values()))
        # In a tf.cond the optimizers keep their fused kernels; choosing between old and new values of each variable
        # would read and write them all once more. Which quantity it was is looked for only if there is one.
        return good, tf.cond(good, write, drop)

    with tf.control_dependencies(list(metrics.values())):
        good, finite = as_one(update, xla)
    with tf.control_dependencies([finite]):
        counted = tf.ones([], step.dtype.base_dtype) if count_dropped else tf.cast(good, step.dtype.base_dtype)
        return step.assign_add(counted, read_value=False), metrics, Health(finite, tuple(quantities), gradient_of)


def _finite_together(quantities):
    """Whether every number is finite.

    Every number is looked at: a sum can overflow, and Grappler turns g * 0 into 0, though it may be NaN.
    """
    finite = [_all_finite(tensor) for tensor in joined(quantities)]
    return tf.reduce_all(tf.stack(finite)) if len(finite) > 1 else finite[0]


def _all_finite(tensor):
    return tf.reduce_all(tf.math.is_finite(tensor))


def apply_groups(groups, step=None, name=None):
    """Returns one operation that updates all variables, each with its optimizer, and then adds 1 to `step`.

    Args:
      groups: pairs (optimizer, [(gradient, variable), ...]); an optimizer without variables makes no slots.
      step: a scalar variable of any number type that counts updates, or None.
      name: the operation's name.

    No variable is written before all gradients are known: a reference variable that is still being read by the
    backward pass would otherwise give it a mixture of old and new values.
    Raises ValueError if there are no variables, if one is given twice, or if a gradient is None.
    """
    groups = [(optimizer, list(pairs)) for optimizer, pairs in groups]
    everything = [pair for _, pairs in groups for pair in pairs]
    check_pairs(everything)
    gradients = iter(tf.tuple([gradient for gradient, _ in everything]))
    gated = [(optimizer, [(next(gradients), variable) for _, variable in pairs]) for optimizer, pairs in groups]
    updates = [optimizer.apply_gradients(pairs) for optimizer, pairs in gated if pairs]
    if step is not None:
        with tf.control_dependencies(updates):
            updates = [step.assign_add(tf.ones([], step.dtype.base_dtype), read_value=False)]
    return tf.group(*updates, name=name)


def check_pairs(pairs):
    """Raises ValueError unless there are pairs (gradient, variable), each variable with a gradient and there once."""
    if not pairs:
        raise ValueError("there are no variables to train: at least one pair (gradient, variable) is needed")
    seen = set()
    for gradient, variable in pairs:
        name = variable.op.name
        if name in seen:
            raise ValueError(f"variable {name} is given more than once; give it once, and to one optimizer")
        if gradient is None:
            raise ValueError(f"variable {name} has no gradient: the loss does not depend on it; leave it out")
        seen.add(name)


def check_coverage(taken, trainable):
    """Raises ValueError unless the variables `taken` by optimizers are exactly the `trainable` ones, each once."""
    taken, trainable = [[variable.op.name for variable in group] for group in (taken, trainable)]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    missing = [name for name in trainable if name not in taken]
    foreign = [name for name in taken if name not in trainable]
    for names, fault in ((twice, "taken by two optimizers"), (missing, "taken by none"), (foreign, "not trainable")):
        if names:
            raise ValueError(f"every trainable variable needs exactly one optimizer; {fault}: {', '.join(names)}")
