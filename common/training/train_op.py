"""One training step: one backward pass, the gradients shared out to the optimizers, one count of the step."""

from common import variables
from common.compat import tf
from common.precision import gradients as gradients_of
from common.replicas import ALONE


def make_train_op(loss, groups, step, replica=ALONE, report=None, scale=1.0):
    """Returns (train_op, report): an op that does one update of one replica, and what it reports.

    Args:
      loss: the scalar to go down; with several replicas the mean of theirs is what is trained.
      groups: pairs (optimizer, variables). Every trainable variable of the replica must be in exactly one of them.
      step: the int64 variable that counts updates.
      replica: whose update this is.
      report: scalars of the forward pass, as a dict; the returned ones are their means over the replicas.
      scale: the loss scale of a network of low precision (see common/precision.py).

    It is the one consumer of UPDATE_OPS. What it reports is computed before the first variable is written.
    Raises ValueError for a variable that no optimizer takes, that two take, or that the loss does not depend on.
    """
    report = dict(report or {})
    members = [variable for _, group in groups for variable in group]
    check_coverage(members, variables.trainable(replica.index))
    gradients = gradients_of(loss, members, scale)
    check_pairs(list(zip(gradients, members)))
    means = replica.mean_of_all(gradients + list(report.values()))
    gradient_of = {variable.op.name: mean for variable, mean in zip(members, means)}
    report = dict(zip(report, means[len(members) :]))
    updates = [op for op in tf.get_collection(tf.GraphKeys.UPDATE_OPS) if _replica_of_update(op) == replica.index]
    pairs = [[(gradient_of[variable.op.name], variable) for variable in group] for _, group in groups]
    shares = [(optimizer, share) for (optimizer, _), share in zip(groups, pairs)]
    return apply_groups(shares, step, after=[*updates, *report.values()]), report


def apply_groups(groups, step=None, after=(), name=None):
    """Returns one operation that updates all variables, each with its optimizer, and then adds 1 to `step`.

    Args:
      groups: pairs (optimizer, [(gradient, variable), ...]); an optimizer without variables makes no slots.
      step: a scalar variable of any number type that counts updates, or None.
      after: operations and tensors that have to be done before the first variable is written.
      name: the operation's name.

    No variable is written before all gradients are known: a reference variable that is still being read by the
    backward pass would otherwise give it a mixture of old and new values.
    Raises ValueError if there are no variables, if one is given twice, or if a gradient is None.
    """
    groups = [(optimizer, list(pairs)) for optimizer, pairs in groups]
    everything = [pair for _, pairs in groups for pair in pairs]
    check_pairs(everything)
    gradients = iter(tf.tuple([gradient for gradient, _ in everything], control_inputs=list(after)))
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


def _replica_of_update(op):
    """An update of a moving average belongs to the replica of the variable that it writes."""
    return variables.replica_of_name(op.inputs[0].op.name)
