"""Adam, and AdamW, whose decay of the weights is apart from the gradient.

Source: Kingma and Ba, "Adam", ICLR 2015 (arXiv 1412.6980), algorithm 1; Loshchilov and Hutter, "Decoupled weight decay
regularization", ICLR 2019 (arXiv 1711.05101), algorithm 2, with the decay multiplied by the learning rate.
"""

from common.compat import tf
from common.training.step_optimizer import StepOptimizer, same_shape


def adam_step(value, gradient, m, v, t, learning_rate, beta1, beta2, epsilon, weight_decay):
    """One step of AdamW; with weight_decay 0 it is one of Adam.

    t <- t + 1;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    w <- w - eta (c w + m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)).

    Args:
      value, gradient, m, v: w, g and the moments, all of one shape, float32 or float64.
      t: the number of steps done since the moments were zero, a scalar of the same dtype.
      learning_rate, beta1, beta2, epsilon, weight_decay: scalars of the same dtype; eta, ..., c.

    Returns the new w, m, v and t.
    """
    t = t + 1.0
    m = beta1 * m + (1.0 - beta1) * gradient
    v = beta2 * v + (1.0 - beta2) * tf.square(gradient)
    change = m / (1.0 - tf.pow(beta1, t)) / (tf.sqrt(v / (1.0 - tf.pow(beta2, t))) + epsilon)
    return value - learning_rate * (weight_decay * value + change), m, v, t


class Adam(StepOptimizer):
    """`tf.train.Optimizer`: see `adam_step`.

    Each variable counts its own steps, in a slot: moments that are set to zero are corrected as those of a first step,
    if the count is too. TensorFlow's Adam has one count for all variables.

    Args:
      learning_rate, beta1, beta2, epsilon, weight_decay: numbers, scalar tensors or functions that return one.
      name: the optimizer's name. In a checkpoint its slots are VARIABLE/Adam_m, VARIABLE/Adam_v and VARIABLE/Adam_t.
    """

    def __init__(self, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, name="Adam"):
        slots = {"m": ("Adam_m", same_shape), "v": ("Adam_v", same_shape), "t": ("Adam_t", lambda shape: [])}
        settings = {
            "learning_rate": learning_rate,
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": epsilon,
            "weight_decay": weight_decay,
        }
        super().__init__(name, adam_step, slots, settings)
