"""Two optimizers, each for its own variables, with one backward pass and one global step."""

from common.compat import tf
from common.training.step import apply_groups


class HybridOptimizer:
    """Trains Euclidean variables with one optimizer and variables on a manifold with another.

    Args:
      a: the `tf.train.Optimizer` for the Euclidean variables.
      b: the `tf.train.Optimizer` for the variables on the manifold.

    Either list of variables may be empty; its optimizer then has nothing to do and makes no slots.
    """

    def __init__(self, a, b):
        self._optimizers = (a, b)

    def minimize(self, loss, variables_a, variables_b, global_step=None, name=None):
        """Returns the operation of one training step: `compute_gradients`, then `apply_gradients`."""
        return self.apply_gradients(*self.compute_gradients(loss, variables_a, variables_b), global_step, name)

    def compute_gradients(self, loss, variables_a, variables_b):
        """Returns two lists of pairs (gradient, variable), one for each optimizer, from a single backward pass."""
        variables_a, variables_b = list(variables_a), list(variables_b)
        gradients = tf.gradients(loss, variables_a + variables_b)
        pairs = list(zip(gradients, variables_a + variables_b))
        return pairs[: len(variables_a)], pairs[len(variables_a) :]

    def apply_gradients(self, pairs_a, pairs_b, global_step=None, name=None):
        """Returns one operation that updates all variables and then adds 1 to `global_step`, if there is one.

        Args:
          pairs_a: (gradient, variable) for each Euclidean variable.
          pairs_b: (gradient, variable) for each variable on the manifold.
          global_step: a scalar variable of any number type, or None.
          name: the operation's name.

        It keeps what `apply_groups` promises of the order in which things are written.
        Raises ValueError if there are no variables, if one is given twice, or if a gradient is None.
        """
        return apply_groups(zip(self._optimizers, (pairs_a, pairs_b)), global_step, name=name or "hybrid_update")

    def get_slot(self, variable, name):
        """Returns the slot called `name` that either optimizer keeps for `variable`, or None."""
        slots = [optimizer.get_slot(variable, name) for optimizer in self._optimizers]
        return next((slot for slot in slots if slot is not None), None)

    def variables(self):
        """Returns all variables that the two optimizers have made: slots and powers."""
        return [variable for optimizer in self._optimizers for variable in optimizer.variables()]
