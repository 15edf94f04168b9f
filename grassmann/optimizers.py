"""SGD-G and Adam-G: training of scale-invariant kernels on the manifold G(1, n).

Source: Cho and Lee, "Riemannian approach to batch normalization", NIPS 2017 (arXiv 1709.09603), section 4. The symbols
are the paper's: y a neuron on the manifold, g its Euclidean gradient, h the Riemannian one, nu the norm at which h is
clipped, eta the learning rate, gamma the momentum, tau the velocity, m and v Adam's moments. Kernels are arrays
[..., m] of rank 2 or more whose neurons run over all axes but the last.
"""

from common.compat import tf
from common.training.drift import UNIT_NEURONS
from common.training.step_optimizer import StepOptimizer, same_shape
from grassmann import geometry
from grassmann.hybrid_optimizer import HybridOptimizer

__all__ = ["AdamG", "HybridOptimizer", "SgdG", "adam_g_step", "sgd_g_step"]


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
    return geometry.geodesic(y, d)


def adam_g_step(
    point, gradient, m, v, learning_rate, beta1, beta2, epsilon, beta1_power, beta2_power, grad_clip=None
):
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
    scalars = _adam_scalars(learning_rate, beta1, beta2, epsilon, beta1_power, beta2_power, grad_clip)
    return _adam_g_step(point, gradient, m, v, **scalars)


def _adam_scalars(learning_rate, beta1, beta2, epsilon, beta1_power, beta2_power, grad_clip=None):
    """What `_adam_g_step` takes of them, the same for all kernels."""
    rate = -learning_rate * tf.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    return {
        "rate": rate,
        "old_and_new": [(beta1, 1.0 - beta1), (beta2, 1.0 - beta2)],
        "epsilon": epsilon,
        "grad_clip": grad_clip,
    }


def _adam_g_step(point, gradient, m, v, rate, old_and_new, epsilon, grad_clip):
    y, h = _riemannian_gradient(point, gradient, grad_clip)
    (old_m, new_m), (old_v, new_v) = old_and_new
    m = old_m * m + new_m * h
    v = old_v * v + new_v * geometry.inner(h, h)
    d = (rate / tf.sqrt(v + epsilon)) * m
    length = geometry.norm(d)
    return geometry.geodesic(y, d, length)[0], geometry.transport(y, d, m, length), v


def _riemannian_gradient(point, gradient, grad_clip):
    """Returns y, of norm 1 again in spite of rounding, and the gradient h there, clipped unless grad_clip is None."""
    y = geometry.normalise(point)
    h = geometry.project(y, gradient)
    return y, h if grad_clip is None else geometry.clip(h, grad_clip)


class SgdG(StepOptimizer):
    """`tf.train.Optimizer` for kernels on G(1, n): see `sgd_g_step`.

    Args:
      learning_rate, momentum: numbers, scalar tensors or functions without arguments that return one.
      grad_clip: such a value > 0, or None for no clipping.
      name: the optimizer's name and, in a checkpoint, the last part of its slot's: KERNEL/SgdgOptimizer (tau).
    """

    keeps = UNIT_NEURONS

    def __init__(self, learning_rate, momentum, grad_clip=None, name="SgdgOptimizer"):
        _check_clip(grad_clip)
        settings = {"learning_rate": learning_rate, "momentum": momentum, "grad_clip": grad_clip}
        super().__init__(name, sgd_g_step, {"tau": (name, same_shape)}, settings)

    def _create_slots(self, var_list):
        _check_ranks(self.get_name(), var_list)
        super()._create_slots(var_list)


class AdamG(StepOptimizer):
    """`tf.train.Optimizer` for kernels on G(1, n): see `adam_g_step`.

    Args:
      learning_rate, beta1, beta2, epsilon: numbers, scalar tensors or functions without arguments that return one.
      grad_clip: such a value > 0, or None for no clipping.
      name: the optimizer's name and, in a checkpoint, the last part of its slots': KERNEL/Adamg (m) and KERNEL/Adamg_1
        (v, [1, ..., 1, m]). beta1_power and beta2_power are scalars beside them.
    """

    keeps = UNIT_NEURONS

    def __init__(self, learning_rate, beta1=0.9, beta2=0.99, epsilon=1e-8, grad_clip=None, name="Adamg"):
        _check_clip(grad_clip)
        slots = {"m": (name, same_shape), "v": (name, _one_per_neuron)}
        settings = {
            "learning_rate": learning_rate,
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": epsilon,
            "grad_clip": grad_clip,
        }
        powers = {"beta1_power": "beta1", "beta2_power": "beta2"}
        super().__init__(name, _adam_g_step, slots, settings, powers, _adam_scalars)

    def _create_slots(self, var_list):
        _check_ranks(self.get_name(), var_list)
        super()._create_slots(var_list)


def _one_per_neuron(shape):
    return [1] * (len(shape) - 1) + shape[-1:]


def _check_clip(grad_clip):
    if isinstance(grad_clip, (int, float)) and not grad_clip > 0:
        raise ValueError(f"grad_clip is {grad_clip}; it must be a norm > 0, or None for no clipping")


def _check_ranks(optimizer, kernels):
    for kernel in kernels:
        if kernel.shape.rank is None or kernel.shape.rank < 2:
            raise ValueError(
                f"{optimizer} was given {kernel.op.name} of shape {kernel.shape}; a kernel on the manifold has at "
                "least two axes: give this variable to the Euclidean optimizer"
            )
