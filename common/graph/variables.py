"""Variables with roles.

Whoever makes a variable says what it is *for*; whoever needs a set of variables asks for roles, never for names. A
regulariser asks for `WEIGHT`, a Riemannian optimizer for `UNIT_KERNEL`, stochastic OPT for `SUBSET`.

With several replicas each has its own copy of every variable. Replica 0 has the bare names, replica r > 0 the same
names under `replica_r/`; a variable's replica is read off its name, so slots of optimizers are covered too.
"""

import contextlib
import dataclasses
import enum
import os
import re
import zlib

import numpy as np

from common.compat import tf
from common.graph import initializers
from common.graph.side_by_side import elementwise

_REPLICA = re.compile(r"^replica_(\d+)/")
_REGISTRY, _ORDER = "common/variables", "common/variables/order"


class Role(enum.Enum):
    """What a variable is for."""

    WEIGHT = "weight"  # an ordinary kernel or matrix, trained in Euclidean space
    BIAS = "bias"
    GAMMA = "gamma"  # scale of a batch normalization
    BETA = "beta"  # shift of a batch normalization
    GENERATOR = "generator"  # P: what an orthogonal matrix is computed from
    ROTATION = "rotation"  # an orthogonal matrix that is itself trained
    UNIT_KERNEL = "unit_kernel"  # a kernel whose neurons are unit vectors, trained on the Grassmann manifold
    FIXED = "fixed"  # W0: random weights that stay as they are
    SUBSET = "subset"  # indices of the input dimensions that stochastic OPT rotates at present
    MOVING = "moving"  # moving averages of a batch normalization
    STEP = "step"  # the number of updates done
    DATA = "data"  # images and labels: on the device, but never saved


TRAINABLE = frozenset(
    {Role.WEIGHT, Role.BIAS, Role.GAMMA, Role.BETA, Role.GENERATOR, Role.ROTATION, Role.UNIT_KERNEL}
)


def create(name, shape, role, initial, dtype=tf.float32):
    """Returns the variable `name` of the current variable scope, made if it is not there: the only `get_variable`.

    Args:
      name: its name within the scope.
      shape: its static shape.
      role: a `Role`; it decides whether the variable is trainable and whether it is saved.
      initial: `initial(shape, dtype, seed) -> tensor`, for example `normal(0.1)`. `seed` is a pair of integers that
        follows from the graph's seed (`tf.set_random_seed`) and the variable's name without its replica.
      dtype: its type.

    A second call for one name (the evaluation pass, within a scope that reuses) returns the first one's variable.
    Raises ValueError where TensorFlow does (another shape, no reuse), and if the role is not the first call's.
    """
    scope = tf.get_variable_scope().name
    full_name = f"{scope}/{name}" if scope else name
    kind = tf.GraphKeys.LOCAL_VARIABLES if role is Role.DATA else tf.GraphKeys.GLOBAL_VARIABLES
    variable = tf.get_variable(
        name,
        shape,
        dtype,
        initializer=lambda shape, dtype, partition_info=None: initial(shape, dtype, seed_of(full_name)),
        trainable=role in TRAINABLE,
        collections=[kind],
    )
    registry = tf.get_collection_ref(_REGISTRY)
    known = next((known_role for known_variable, known_role in registry if known_variable is variable), None)
    if known is None:
        registry.append((variable, role))
    elif known is not role:
        raise ValueError(f"variable {full_name} has the role {known.name} and cannot be reused as {role.name}")
    return variable


def list_by(scopes):
    """Lets `with_role` list variables in the order of their `scopes`, as a network has them; all other variables first.

    Kernels are created before the network that uses them, so the order of creation is not that of the layers.
    """
    tf.get_collection_ref(_ORDER)[:] = [{scope: position for position, scope in enumerate(scopes)}]


def with_role(*roles, replica=0):
    """Returns the variables of one replica that have one of `roles`, in the order of `list_by`, else of creation."""
    found = [
        variable
        for variable, role in tf.get_collection(_REGISTRY)
        if role in roles and replica_of(variable) == replica
    ]
    for position in tf.get_collection(_ORDER):
        found.sort(key=lambda variable: position.get(os.path.dirname(bare_name(variable.op.name)), -1))
    return found


def trainable(replica=0):
    """Returns all variables of one replica that some optimizer has to take, in the order of `with_role`."""
    return with_role(*TRAINABLE, replica=replica)


def role_of(variable):
    """Returns the role of a variable made by `create`; raises KeyError for any other."""
    for known, role in tf.get_collection(_REGISTRY):
        if known is variable:
            return role
    raise KeyError(f"{variable.op.name} was not made by variables.create")


def saved(replica=0):
    """Returns what a checkpoint holds: all global variables of one replica, optimizer slots included, data not."""
    return [variable for variable in tf.global_variables() if replica_of(variable) == replica]


def replica_scope(replica):
    """Within it, variables are those of one replica: bare names for replica 0, `replica_r/` before them for others."""
    return tf.variable_scope(f"replica_{replica}") if replica else contextlib.nullcontext()


def current_replica():
    """Returns the number of the replica whose scope is open."""
    return replica_of_name(tf.get_variable_scope().name + "/")


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """What a step adds to a variable that no optimizer takes, such as a moving average.

    The collection UPDATE_OPS holds changes as what they are, not as operations: `make_train_op` writes them once all
    numbers of a step are known to be finite.

    Attributes:
      variable: what is changed.
      amount: what is added to it.
      local: whether replicas have amounts of their own; each replica then adds the mean of the amounts.
    """

    variable: tf.Variable
    amount: tf.Tensor
    local: bool = False

    def write(self):
        """Returns the operation that adds it."""
        return self.variable.assign_add(self.amount, read_value=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Average:
    """A moving average, to which a step adds rate * (statistic - variable), the statistic being factor * value.

    The factor stays apart: one operation each does for the factors, the rate and the variables of many averages.

    Attributes:
      variable: what is changed.
      value, factor: a tensor and a number.
      rate: the weight of the batch, a scalar.
      local: as in `Change`.
    """

    variable: tf.Variable
    value: tf.Tensor
    rate: object
    factor: float
    local: bool

    @property
    def statistic(self):
        """The batch's own value, to which the average moves."""
        return self.factor * self.value


def average_later(variable, value, rate, factor=1.0, local=False):
    """Lets the training step under construction move an `Average` when it writes, as a `Change`."""
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, Average(variable, value, rate, factor, local))


def averages(replica=0):
    """Returns the `Average`s of one replica."""
    return [a for a in tf.get_collection(tf.GraphKeys.UPDATE_OPS) if replica_of(a.variable) == replica]


def changes(replica=0):
    """Returns a `Change` for each of the `averages` of one replica, in their order."""
    known, amounts = averages(replica), {}
    for rate in {id(average.rate): average.rate for average in known}.values():
        here = [average for average in known if average.rate is rate]
        values = [average.value for average in here]
        factors = [np.full(value.shape, a.factor, value.dtype.as_numpy_dtype) for a, value in zip(here, values)]
        olds = [tf.convert_to_tensor(average.variable) for average in here]
        moved = elementwise(lambda v, f, old, rate=rate: rate * (v * f - old), values, factors, olds)
        amounts |= zip(here, moved)
    return [Change(average.variable, amounts[average], average.local) for average in known]


def replica_of(variable):
    """Returns the number of the replica that a variable (or slot) belongs to."""
    return replica_of_name(variable.op.name)


def replica_of_name(name):
    """Returns the number of the replica that a variable called `name` belongs to."""
    match = _REPLICA.match(name)
    return int(match.group(1)) if match else 0


def bare_name(name):
    """Returns a variable's name without its replica: what it is called in a checkpoint."""
    return _REPLICA.sub("", name)


def seed_of(name):
    """Returns the pair of seeds from which everything random about `name` follows: (run seed, hash of the name)."""
    return (tf.get_default_graph().seed or 0, zlib.crc32(bare_name(name).encode()) & 0x7FFFFFFF)


def global_step():
    """Returns the number of updates done so far by the open replica: an int64 variable, made if it is not there.

    The first call has to be in the replica's own scope, outside those of the layers.
    """
    known = with_role(Role.STEP, replica=current_replica())
    return known[0] if known else create("global_step", [], Role.STEP, initializers.zeros, tf.int64)


def key_of(name, number):
    """Returns the key of a stateless random operation, int64 [2]: a function of (run seed, `name`, `number`)."""
    run_seed, name_hash = seed_of(name)
    mixed = (run_seed * 0x9E3779B97F4A7C15 + name_hash) & 0x7FFFFFFFFFFFFFFF  # odd factor: distinct seeds stay distinct
    return tf.stack([tf.constant(mixed, tf.int64), tf.cast(number, tf.int64)])
