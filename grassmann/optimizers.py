"""SGD-G and Adam-G, which train scale-invariant kernels on the manifold G(1, n), and HybridOptimizer.

Source: Cho and Lee, "Riemannian approach to batch normalization", NIPS 2017 (arXiv 1709.09603), section 4. The symbols
are the paper's: y a neuron on the manifold, g its Euclidean gradient, h the Riemannian one, nu the norm at which h is
clipped, eta the learning rate, gamma the momentum, tau the velocity, m and v Adam's moments. Kernels are arrays
[..., m] of rank 2 or more whose neurons run over all axes but the last.
"""

from common.compat import tf
from common.training.drift import UNIT_NEURONS
from common.training.step import apply_groups
from common.training.step_optimizer import StepOptimizer, same_shape
from grassmann import geometry

_GATE_OP = tf.train.Optimizer.GATE_OP


def sgd_g_step(point, gradient, tau, learning_rate, momentum, grad_clip=None):
    """One step of SGD-G, stochastic gradient descent with momentum on G(1, n).

    y <- y / |y|;  h = clip(g - <y, g> y, nu);  d = gamma tau - eta h;
    y <- exp_y(d);  tau <- d translated along itself.

    Args:
      point, gradient, tau: y, g and the velocity at y, all [..., m], float32 or float64.
      learning_rate, momentum: eta and gamma, scalars of the same dtype.
      grad_clip: nu, such a scalar > 0, or None for no clipping.

    Returns the new y and tau.
    """
    y, h = _riemannian_gradient(point, gradient, grad_clip)
    d = momentum * tau - learning_rate * h
    return geometry.exponential(y, d), geometry.transport_along_itself(y, d)


def adam_g_step(point, gradient, m, v, learning_rate, beta1, beta2, epsilon, beta1_power, beta2_power, grad_clip=None):
    """One step of Adam-G, Adam on G(1, n) with one second moment for each neuron.

    y <- y / |y|;  h = clip(g - <y, g> y, nu);  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) <h, h>;
    d = -eta sqrt(1 - beta2^t) / (1 - beta1^t) m / sqrt(v + epsilon);  y <- exp_y(d);  m <- m translated along d.

    Args:
      point, gradient, m: y, g and the first moment at y, all [..., m], float32 or float64.
      v: the second moments, [1, ..., 1, m].
      learning_rate, beta1, beta2, epsilon: scalars of the same dtype.
      beta1_power, beta2_power: beta1^t and beta2^t; the first step has t = 1.
      grad_clip: nu, such a scalar > 0, or None for no clipping.

    Returns the new y, m and v.
    """
    y, h = _riemannian_gradient(point, gradient, grad_clip)
    m = beta1 * m + (1.0 - beta1) * h
    v = beta2 * v + (1.0 - beta2) * geometry.inner(h, h)
    rate = learning_rate * tf.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    d = (-rate / tf.sqrt(v + epsilon)) * m
    return geometry.exponential(y, d), geometry.transport(y, d, m), v


def _riemannian_gradient(point, gradient, grad_clip):
    """Returns y, of norm 1 again whatever was in the variable, and the gradient h there, clipped if there is a nu."""
    y = geometry.normalise(point)
    h = geometry.project(y, gradient)
    return y, h if grad_clip is None else geometry.clip(h, grad_clip)


class _OnManifold(StepOptimizer):
    """An optimizer of kernels on G(1, n); raises ValueError for a grad_clip <= 0 and for a variable of one axis."""

    keeps = UNIT_NEURONS

    def __init__(self, name, step, slots, settings, powers=None, use_locking=False):
        nu = settings["grad_clip"]
        if isinstance(nu, (int, float)) and not nu > 0:
            raise ValueError(f"grad_clip is {nu}; it must be a norm > 0, or None for no clipping")
        super().__init__(name, step, slots, settings, powers, use_locking)

    def _create_slots(self, var_list):
        for kernel in var_list:
            if kernel.shape.rank is None or kernel.shape.rank < 2:
                raise ValueError(
                    f"{self.get_name()} was given {kernel.op.name} of shape {kernel.shape}; a kernel on the manifold "
                    "has at least two axes: give this variable to the Euclidean optimizer"
                )
        super()._create_slots(var_list)


class SgdG(_OnManifold):
    """`tf.train.Optimizer` for kernels on G(1, n): see `sgd_g_step`.

    Args:
      learning_rate, momentum: numbers, scalar tensors or functions without arguments that return one.
      grad_clip: such a value > 0, or None for no clipping.
      use_locking: whether writes of reference variables lock them.
      name: the optimizer's name and, in a checkpoint, the last part of its slot's: KERNEL/SgdgOptimizer.

    `get_slot(kernel, "momentum")`, or "tau", is the velocity tau.
    """

    def __init__(self, learning_rate, momentum, grad_clip=None, use_locking=False, name="SgdgOptimizer"):
        settings = {"learning_rate": learning_rate, "momentum": momentum, "grad_clip": grad_clip}
        slots = {"momentum": (name, same_shape)}
        super().__init__(name, sgd_g_step, slots, settings, use_locking=use_locking)

    def get_slot(self, var, name):
        return super().get_slot(var, "momentum" if name == "tau" else name)


class AdamG(_OnManifold):
    """`tf.train.Optimizer` for kernels on G(1, n): see `adam_g_step`.

    Args:
      learning_rate, beta1, beta2, epsilon: numbers, scalar tensors or functions without arguments that return one.
      grad_clip: such a value > 0, or None for no clipping.
      use_locking: whether writes of reference variables lock them.
      name: the optimizer's name and, in a checkpoint, the last part of its slots': KERNEL/Adamg (m) and KERNEL/Adamg_1
        (v, [1, ..., 1, m]). beta1_power and beta2_power are scalars beside them.

    `get_slot(kernel, "m")` and `get_slot(kernel, "v")` are the moments.
    """

    def __init__(
        self, learning_rate, beta1=0.9, beta2=0.99, epsilon=1e-8, grad_clip=None, use_locking=False, name="Adamg"
    ):
        slots = {"m": (name, same_shape), "v": (name, lambda shape: [1] * (len(shape) - 1) + shape[-1:])}
        settings = {
            "learning_rate": learning_rate,
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": epsilon,
            "grad_clip": grad_clip,
        }
        powers = {"beta1_power": "beta1", "beta2_power": "beta2"}
        super().__init__(name, adam_g_step, slots, settings, powers, use_locking)


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
