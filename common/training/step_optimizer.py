"""Optimizers whose update of a variable is a pure function.

A subclass names the function and its slots; this class makes the slots, reads everything, calls the function and
writes what it returned, for resource variables and for the reference variables of a plain TensorFlow 1 program.
"""

from common.compat import tf
from common.graph import variables


def same_shape(shape):
    """Shape of a slot that has one entry for every entry of the variable."""
    return shape


class StepOptimizer(tf.train.Optimizer):
    """Applies `step(value, gradient, *slots, **settings, **powers) -> [new value, *new slots]` to each variable.

    Args:
      name: the optimizer's name.
      step: the pure function. It receives tensors of the variable's shape and dtype, the slots in their order, and the
        settings and powers by keyword, as scalars of the variable's dtype (a setting that is None stays None). What it
        returns it has to compute: an input handed back as it is may share the memory of a reference variable.
      slots: {key: (name, shape_of)}: `get_slot(variable, key)` returns the slot, a checkpoint calls it VARIABLE/name
        (a second slot of the same name becomes name_1), and its shape is `shape_of(shape of the variable)`. Slots
        start at zero.
      settings: {keyword: value}; a value is a number, a tensor, a function without arguments that returns either, or
        None.
      powers: {keyword: setting}: scalars shared by all variables, that start at a setting and are multiplied by it
        after each step, so that the step numbered t = 1, 2, ... receives the setting to the power t. A checkpoint
        calls them by their keyword, with the prefix of the replica whose variables are trained.
      use_locking: whether writes of reference variables lock them.

    All new values of a variable are computed before any of them is written, and powers are written last.
    Raises ValueError for sparse gradients.
    """

    def __init__(self, name, step, slots, settings, powers=None, use_locking=False):
        super().__init__(use_locking, name)
        self._step = step
        self._slot_kinds = slots
        self._settings = settings
        self._powers = powers or {}
        self._scalars = {}
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

    def _resource_apply_dense(self, grad, var):
        slots = [self.get_slot(var, key) for key in self._slot_kinds]
        scalars = {key: _scalar(value, var.dtype.base_dtype) for key, value in self._scalars.items()}
        values = self._step(var.read_value(), grad, *[slot.read_value() for slot in slots], **scalars)
        with tf.control_dependencies(values):
            return tf.group(*[self._assign(old, new) for old, new in zip([var, *slots], values)])

    _apply_dense = _resource_apply_dense

    def _finish(self, update_ops, name_scope):
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

    def _resource_apply_sparse_duplicate_indices(self, grad, handle, indices):
        raise ValueError(_sparse(self.get_name(), handle))

    def _apply_sparse_duplicate_indices(self, grad, var):
        raise ValueError(_sparse(self.get_name(), var))


def _scalar(value, dtype):
    """Returns a setting as a tensor of `dtype`; numbers are converted at once, not by way of float32."""
    if value is None:
        return None
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def _sparse(optimizer, variable):
    return (
        f"{optimizer} was given a sparse gradient (tf.IndexedSlices) for {variable.op.name}; it needs a dense one: "
        "pass tf.convert_to_tensor(gradient), or train this variable with another optimizer"
    )
