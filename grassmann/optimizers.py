"""HybridOptimizer, which trains Euclidean variables and variables on a manifold in one step; SGD-G and Adam-G.

Source: Cho and Lee, "Riemannian approach to batch normalization", NIPS 2017 (arXiv 1709.09603), section 4. The two
steps on the manifold stand in common/riemannian/optimizers.py.
"""

from common.compat import tf
from common.riemannian.optimizers import AdamG, SgdG, adam_g_step, sgd_g_step
from common.training.step import apply_groups

__all__ = ["AdamG", "HybridOptimizer", "SgdG", "adam_g_step", "sgd_g_step"]
_GATE_OP = tf.train.Optimizer.GATE_OP


class HybridOptimizer(tf.train.Optimizer):
    """Trains Euclidean variables with one optimizer and variables on a manifold with another.

    Args:
      a: the `tf.train.Optimizer` for the Euclidean variables.
      b: the `tf.train.Optimizer` for the variables on the manifold.
      use_locking: accepted, as any `tf.train.Optimizer` does; each of the two has its own.
      name: the optimizer's name.

    Either list of variables may be empty; its optimizer then has nothing to do and makes no slots.
    """

    def __init__(self, a, b, use_locking=False, name="HybridOptimizer"):
        super().__init__(use_locking, name)
        self._optimizers = (a, b)

    def minimize(self, loss, variables_a, variables_b, global_step=None, name=None):
        """Returns the operation of one training step: `compute_gradients`, then `apply_gradients`."""
        return self.apply_gradients(*self.compute_gradients(loss, variables_a, variables_b), global_step, name)

    def compute_gradients(
        self, loss, var_list=None, gate_gradients=_GATE_OP, *args, variables_a=None, variables_b=None, **options
    ):
        """Returns pairs (gradient, variable) from a single backward pass; a gradient that does not exist is None.

        `compute_gradients(loss)` is that of any `tf.train.Optimizer`, with all of its arguments: one list, over all
        trainable variables or over `var_list`, which the caller splits for `apply_gradients`.
        `compute_gradients(loss, variables_a, variables_b)` returns two lists, one for each optimizer.
        """
        if variables_a is not None:
            var_list = variables_a
        if not isinstance(gate_gradients, int):  # the second list by its position
            variables_b, gate_gradients = gate_gradients, _GATE_OP
        if variables_b is None:
            return super().compute_gradients(loss, var_list, gate_gradients, *args, **options)
        variables_a, variables_b = list(var_list), list(variables_b)
        pairs = super().compute_gradients(loss, variables_a + variables_b, gate_gradients, *args, **options)
        return pairs[: len(variables_a)], pairs[len(variables_a) :]

    def apply_gradients(self, pairs_a, pairs_b, global_step=None, name=None):
        """Returns one operation that updates all variables and then adds 1 to `global_step`, if there is one.

        Args:
          pairs_a: (gradient, variable) for each Euclidean variable.
          pairs_b: (gradient, variable) for each variable on the manifold.
          global_step: a scalar variable of any number type, or None.
          name: the operation's name.

        A variable whose gradient is None is left alone. The order of reads and writes is that of `apply_groups`.
        Raises ValueError if no variable has a gradient, or if a variable is given twice.
        """
        pairs_a, pairs_b = list(pairs_a), list(pairs_b)
        shares = [[pair for pair in pairs if pair[0] is not None] for pairs in (pairs_a, pairs_b)]
        if pairs_a + pairs_b and not any(shares):
            names = ", ".join(variable.op.name for _, variable in pairs_a + pairs_b)
            raise ValueError(f"no variable has a gradient: the loss depends on none of {names}")
        return apply_groups(zip(self._optimizers, shares), global_step, name=name or self.get_name())

    def get_slot(self, var, name):
        """Returns the slot called `name` that either optimizer keeps for a variable, or None."""
        slots = [optimizer.get_slot(var, name) for optimizer in self._optimizers]
        return next((slot for slot in slots if slot is not None), None)

    def get_slot_names(self):
        """Returns the names of the slots of both optimizers."""
        return sorted({name for optimizer in self._optimizers for name in optimizer.get_slot_names()})

    def variables(self):
        """Returns all variables that the two optimizers have made: slots and powers."""
        return [variable for optimizer in self._optimizers for variable in optimizer.variables()]
