"""Optimizers whose update of a variable is a pure function.

A subclass names the function and its slots; this class makes the slots, reads everything, calls the function and
writes what it returned, for resource variables and for the reference variables of a plain TensorFlow 1 program.
"""

import math

from common.compat import tf
from common.graph import linalg, variables
from common.graph.side_by_side import is_small, padded_sizes

COLUMNS, MATRICES = "columns", "matrices"


def same_shape(shape):
    """Shape of a slot that has one entry for every entry of the variable."""
    return shape


class StepOptimizer(tf.train.Optimizer):
    """Applies `step(value, gradient, *slots, **settings, **powers) -> [new value, *new slots]` to each variable.

    Args:
      name: the optimizer's name.
      step: the pure function. It receives tensors of the variable's shape and dtype, the slots in their order, and the
        settings and powers by keyword, as scalars of the variable's dtype (a setting that is None stays None). It
        has to compute what it returns: an input handed back as it is may share the memory of a reference variable.
      slots: {key: (name, shape_of)}: `get_slot(variable, key)` returns the slot, a checkpoint calls it VARIABLE/name
        (a second slot of the same name becomes name_1), and its shape is `shape_of(shape of the variable)`. Slots
        start at zero.
      settings: {keyword: value}; a value is a number, a tensor, a function without arguments that returns either, or
        None.
      powers: {keyword: setting}: scalars shared by all variables, that start at a setting and are multiplied by it
        after each step, so that the step numbered t = 1, 2, ... receives the setting to the power t. A checkpoint
        calls them by their keyword, with the prefix of the replica whose variables are trained.
      joins: which variables the step may get as one tensor. None for none. `COLUMNS`: those whose neurons, all axes but
        the last, have equally many numbers, as a matrix of all their neurons. `MATRICES`: square ones of equal size, or
        padded to it with zeros, as [b, n, n]. A slot is joined as its variable is. On a CPU only small ones are joined.
      use_locking: whether writes of reference variables lock them.

    All new values of a variable are computed before any of them is written, and powers are written last.
    Raises ValueError for sparse gradients.
    """

    def __init__(self, name, step, slots, settings, powers=None, joins=None, use_locking=False):
        super().__init__(use_locking, name)
        self._step = step
        self._slot_kinds = slots
        self._settings = settings
        self._powers = powers or {}
        self._joins = joins
        self._scalars, self._rounded, self._pairs = {}, {}, []
        self._graph = None

    def _create_slots(self, var_list):
        for variable in var_list:
            for key, (name, shape_of) in self._slot_kinds.items():
                shape = shape_of(variable.shape.as_list())
                self._get_or_make_slot(variable, tf.zeros(shape, variable.dtype.base_dtype), key, name)
        first = min(var_list, key=lambda variable: variable.name)
        self._graph = first.graph  # not the default graph where updates are built inside a tf.cond
        prefix = first.op.name[: -len(variables.bare_name(first.op.name))]
        with tf.name_scope(prefix or None):  # absolute: names must not depend on the scope of the caller
            for name, setting in self._powers.items():
                start = _scalar(self._call_if_callable(self._settings[setting]), first.dtype.base_dtype)
                self._create_non_slot_variable(start, name, first)

    def _prepare(self):
        self._scalars = {key: self._call_if_callable(value) for key, value in self._settings.items()}
        self._scalars |= {name: self._power(name).read_value() for name in self._powers}
        self._rounded, self._pairs = {}, []

    def _resource_apply_dense(self, grad, var):
        self._pairs.append((grad, var))  # the update waits for all of them: see _finish
        return tf.no_op()

    _apply_dense = _resource_apply_dense

    def _scalars_as(self, dtype):
        if dtype not in self._rounded:
            self._rounded[dtype] = {key: _scalar(value, dtype) for key, value in self._scalars.items()}
        return self._rounded[dtype]

    def _update(self, pairs, join, part):
        """Returns the operation that updates variables that are given to the step as one."""
        gradients, members = zip(*pairs)
        scalars = self._scalars_as(members[0].dtype.base_dtype)
        kept = [members, *[[self.get_slot(var, key) for var in members] for key in self._slot_kinds]]
        with tf.device(members[0].device):
            point, *slots = [join([variable.read_value() for variable in column]) for column in kept]
            results = self._step(point, join(gradients), *slots, **scalars)
            values = [part(result, column) for result, column in zip(results, kept)]
            with tf.control_dependencies([value for column in values for value in column]):
                pairs = [pair for columns in zip(kept, values) for pair in zip(*columns)]
                return tf.group(*[self._assign(variable, value) for variable, value in pairs])

    def _finish(self, update_ops, name_scope):
        update_ops = update_ops + [self._update(*group) for group in _groups(self._pairs, self._joins)]
        with tf.control_dependencies(update_ops):
            powers = []
            for name, setting in self._powers.items():
                power = self._power(name)
                factor = _scalar(self._scalars[setting], power.dtype.base_dtype)
                powers.append(self._assign(power, power.read_value() * factor))
        return tf.group(*update_ops, *powers, name=name_scope)

    def _power(self, name):
        return self._get_non_slot_variable(name, graph=self._graph)

    def _assign(self, variable, value):
        return variable.assign(value, use_locking=self._use_locking, read_value=False)

    def _apply_sparse_duplicate_indices(self, grad, var, indices=None):
        raise ValueError(
            f"{self.get_name()} was given a sparse gradient (tf.IndexedSlices) for {var.op.name}; it needs a dense "
            "one: pass tf.convert_to_tensor(gradient), or train this variable with another optimizer"
        )

    _resource_apply_sparse_duplicate_indices = _apply_sparse_duplicate_indices


def _groups(pairs, joins):
    """Yields (pairs (gradient, variable), join(tensors), part(tensor, variables)) of each group of variables.

    `join` makes one tensor of those of a group and `part` takes it apart; of a single variable they do nothing.
    """
    groups = {}
    padded = padded_sizes([int(variable.shape[0]) for _, variable in pairs]) if joins == MATRICES else {}
    for index, (gradient, variable) in enumerate(pairs):
        shape = variable.shape.as_list()
        size = math.prod(shape[:-1]) if joins == COLUMNS else padded.get(shape[0]) if joins == MATRICES else None
        alone = size is None or not (is_small(variable) or linalg.on_gpu())
        groups.setdefault((variable.dtype.base_dtype, index if alone else None, size), []).append((gradient, variable))
    for (*_, size), members in groups.items():
        if len(members) == 1:
            yield members, lambda tensors: tensors[0], lambda tensor, variables: [tensor]
        elif joins == COLUMNS:
            yield members, _joined_columns, _parted_columns
        else:
            yield members, lambda matrices, size=size: _stacked(matrices, size), _unstacked


def _joined_columns(tensors):
    return tf.concat([tf.reshape(tensor, [-1, tensor.shape[-1]]) for tensor in tensors], 1)


def _parted_columns(tensor, variables):
    parts = tf.split(tensor, [int(variable.shape[-1]) for variable in variables], 1)
    return [tf.reshape(part, variable.shape) for part, variable in zip(parts, variables)]


def _stacked(matrices, size):
    missing = [size - int(matrix.shape[0]) for matrix in matrices]
    return tf.stack([tf.pad(m, [[0, more], [0, more]]) if more else m for m, more in zip(matrices, missing)])


def _unstacked(tensor, variables):
    sizes = [int(variable.shape[0]) for variable in variables]
    return [m[:n, :n] if n < int(m.shape[0]) else m for m, n in zip(tf.unstack(tensor), sizes)]


def _scalar(value, dtype):
    """Returns a setting in `dtype`, a tensor or a NumPy scalar: what is computed of numbers alone is no operation."""
    if value is None:
        return None
    return tf.cast(value, dtype) if tf.is_tensor(value) else dtype.as_numpy_dtype(value)
