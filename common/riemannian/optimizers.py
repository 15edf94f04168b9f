"""SGD-G and Adam-G, which train scale-invariant kernels on the manifold G(1, n).

Source: Cho and Lee, "Riemannian approach to batch normalization", NIPS 2017 (arXiv 1709.09603), section 4. The symbols
are the paper's: y a neuron on the manifold, g its Euclidean gradient, h the Riemannian one, nu the norm at which h is
clipped, eta the learning rate, gamma the momentum, tau the velocity, m and v Adam's moments. Kernels are arrays
[..., m] of rank 2 or more whose neurons run over all axes but the last, or over one `axis` (see geometry.py).
"""

import functools

from common.compat import tf
from common.riemannian import geometry
from common.training.drift import unit_neurons
from common.training.step_optimizer import COLUMNS, StepOptimizer, same_shape


def sgd_g_step(point, gradient, tau, learning_rate, momentum, grad_clip=None, axis=None):
    """One step of SGD-G, stochastic gradient descent with momentum on G(1, n).

    y <- y / |y|;  h = clip(g - <y, g> y, nu);  d = gamma tau - eta h;
    y <- exp_y(d);  tau <- d translated along itself.

    Args:
      point, gradient, tau: y, g and the velocity at y, all [..., m], float32 or float64.
      learning_rate, momentum: eta and gamma, scalars of the same dtype.
      grad_clip: nu, such a scalar > 0, or None for no clipping.
      axis: over which a neuron runs; None for all but the last.

    Returns the new y and tau.
    """
    y, h = _riemannian_gradient(point, gradient, grad_clip, axis)
    d = momentum * tau - learning_rate * h
    return geometry.exponential(y, d, axis), geometry.transport_along_itself(y, d, axis)


def adam_g_step(
    point, gradient, m, v, learning_rate, beta1, beta2, epsilon, beta1_power, beta2_power, grad_clip=None, axis=None
):
    """One step of Adam-G, Adam on G(1, n) with one second moment for each neuron.

    y <- y / |y|;  h = clip(g - <y, g> y, nu);  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) <h, h>;
    d = -eta sqrt(1 - beta2^t) / (1 - beta1^t) m / sqrt(v + epsilon);  y <- exp_y(d);  m <- m translated along d.

    Args:
      point, gradient, m: y, g and the first moment at y, all [..., m], float32 or float64.
      v: the second moments, [1, ..., 1, m].
      learning_rate, beta1, beta2, epsilon: scalars of the same dtype.
      beta1_power, beta2_power: beta1^t and beta2^t; the first step has t = 1.
      grad_clip, axis: as for `sgd_g_step`.

    Returns the new y, m and v.
    """
    y, h = _riemannian_gradient(point, gradient, grad_clip, axis)
    m = beta1 * m + (1.0 - beta1) * h
    v = beta2 * v + (1.0 - beta2) * geometry.inner(h, h, axis)
    rate = learning_rate * tf.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    d = (-rate / tf.sqrt(v + epsilon)) * m
    return geometry.exponential(y, d, axis), geometry.transport(y, d, m, axis), v


def counting_adam_g_step(point, gradient, m, v, t, beta1, beta2, **settings):
    """One step of Adam-G for a variable that counts its own steps: t <- t + 1, and the powers are those of t.

    Returns the new y, m, v and t.
    """
    t = t + 1.0
    powers = {"beta1_power": tf.pow(beta1, t), "beta2_power": tf.pow(beta2, t)}
    return *adam_g_step(point, gradient, m, v, beta1=beta1, beta2=beta2, **powers, **settings), t


def _riemannian_gradient(point, gradient, grad_clip, axis):
    """Returns y, of norm 1 again whatever was in the variable, and the gradient h there, clipped if there is a nu."""
    y = geometry.normalise(point, axis=axis)
    h = geometry.project(y, gradient, axis)
    return y, h if grad_clip is None else geometry.clip(h, grad_clip, axis)


class _OnManifold(StepOptimizer):
    """An optimizer of kernels on G(1, n); raises ValueError for a grad_clip <= 0 and for a variable of one axis."""

    def __init__(self, name, step, slots, settings, powers=None, use_locking=False, axis=None):
        nu = settings["grad_clip"]
        if isinstance(nu, (int, float)) and not nu > 0:
            raise ValueError(f"grad_clip is {nu}; it must be a norm > 0, or None for no clipping")
        self.keeps = unit_neurons(axis)
        joins = COLUMNS if axis is None and "t" not in slots else None
        super().__init__(name, functools.partial(step, axis=axis), slots, settings, powers, joins, use_locking)

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
      axis: over which a neuron runs; None for all but the last.

    `get_slot(kernel, "momentum")`, or "tau", is the velocity tau.
    """

    def __init__(self, learning_rate, momentum, grad_clip=None, use_locking=False, name="SgdgOptimizer", axis=None):
        settings = {"learning_rate": learning_rate, "momentum": momentum, "grad_clip": grad_clip}
        slots = {"momentum": (name, same_shape)}
        super().__init__(name, sgd_g_step, slots, settings, use_locking=use_locking, axis=axis)

    def get_slot(self, var, name):
        return super().get_slot(var, "momentum" if name == "tau" else name)


class AdamG(_OnManifold):
    """`tf.train.Optimizer` for kernels on G(1, n): see `adam_g_step`.

    Args:
      learning_rate, beta1, beta2, epsilon: numbers, scalar tensors or functions without arguments that return one.
      grad_clip, use_locking, axis: as for `SgdG`.
      name: the optimizer's name and, in a checkpoint, the last part of its slots': KERNEL/Adamg (m) and KERNEL/Adamg_1
        (v, [1, ..., 1, m]). beta1_power and beta2_power are scalars beside them.
      counting: whether each kernel counts its own steps, in the slot KERNEL/Adamg_t and in place of the two powers, so
        that one kernel can begin anew.

    `get_slot(kernel, "m")` and `get_slot(kernel, "v")` are the moments.
    """

    def __init__(
        self, learning_rate, beta1=0.9, beta2=0.99, epsilon=1e-8, grad_clip=None, use_locking=False, name="Adamg",
        axis=None, counting=False,
    ):  # fmt: skip
        slots = {"m": (name, same_shape), "v": (name, functools.partial(_one_a_neuron, axis=axis))}
        settings = {
            "learning_rate": learning_rate,
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": epsilon,
            "grad_clip": grad_clip,
        }
        step, powers = adam_g_step, {"beta1_power": "beta1", "beta2_power": "beta2"}
        if counting:
            step, powers = counting_adam_g_step, None
            slots["t"] = (f"{name}_t", lambda shape: [])
        super().__init__(name, step, slots, settings, powers, use_locking, axis)


def _one_a_neuron(shape, axis):
    """Returns the shape of what has one number for each neuron of a kernel of `shape`."""
    ones = range(len(shape) - 1) if axis is None else [axis % len(shape)]
    return [1 if place in ones else size for place, size in enumerate(shape)]
