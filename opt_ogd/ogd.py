"""Gradient descent that keeps a square matrix orthogonal.

Source: Li, Li and Todorovic, "Efficient Riemannian optimization on the Stiefel manifold via the Cayley transform",
ICLR 2020 (arXiv 2002.01113), section 4: Cayley SGD with momentum.
"""

from common.compat import tf
from common.graph.linalg import matmul, norm, transposed
from common.training.drift import ORTHOGONAL
from common.training.step_optimizer import MATRICES, StepOptimizer, same_shape
from opt_ogd.relative import relative_gradient_step


def cayley_gradient_step(point, gradient, momentum, learning_rate, beta):
    """One step of Cayley SGD with momentum.

    M <- beta M - G;  W^ = M X^T - 1/2 X (X^T M X^T);  W = W^ - W^^T;  M <- W X;  a = min(eta, 1 / (|W|_F + 1e-8));
    Y <- X + a M;  Y <- X + a/2 W (X + Y), twice;  X <- Y.

    The two passes approach the Cayley transform (I - a/2 W)^-1 (I + a/2 W) X, which is exactly orthogonal, and leave
    out a^4/8 W^4 X and higher terms: where W rotates a plane by the angle t = a |W|, X shrinks by the factor 1 - t^4/8.
    X drifts from orthogonality by that much, so no product may be saved through X X^T = I. Six products of n x n
    matrices remain: M X^T, once for both its places, the two around it, W X, and one for each pass. (The passes amount
    to (a^2/2 W^2 + a^3/4 W^3) X, two products beyond W X in any grouping. A gradient through Q W0 has the rank of W0
    at most, but M, the sum of many, each rotated since, has not.) `relative_gradient_step` does with three.

    Args:
      point, gradient, momentum: X, G and M, all [..., n, n], float32 or float64.
      learning_rate, beta: eta and the factor of the momentum, scalars of the same dtype.

    Returns the new X and M.
    """
    x = point
    m_xt = matmul(beta * momentum - gradient, x, transpose_b=True)
    w_hat = m_xt - matmul(0.5 * x, matmul(x, m_xt, transpose_a=True))
    w = w_hat - transposed(w_hat)
    m = matmul(w, x)
    a = tf.minimum(learning_rate, 1.0 / (norm(w) + 1e-8))
    half = 0.5 * a * w
    y = x + a * m
    for _ in range(2):
        y = x + matmul(half, x + y)
    return y, m


class _OfSquareMatrices(StepOptimizer):
    """An optimizer of orthogonal matrices; its step has the momentum as its one slot."""

    keeps = ORTHOGONAL

    def __init__(self, name, step, slot, learning_rate, momentum):
        settings = {"learning_rate": learning_rate, "beta": momentum}
        super().__init__(name, step, {"momentum": (slot, same_shape)}, settings, joins=MATRICES)

    def _create_slots(self, var_list):
        for variable in var_list:
            shape = variable.shape.as_list()
            if len(shape) != 2 or shape[0] != shape[1]:
                raise ValueError(
                    f"{self.get_name()} was given {variable.op.name} of shape {variable.shape}; it trains square "
                    "matrices: give this variable to another optimizer"
                )
        super()._create_slots(var_list)


class OrthogonalGradientDescent(_OfSquareMatrices):
    """`tf.train.Optimizer` for orthogonal matrices, as published: see `cayley_gradient_step`.

    Args:
      learning_rate, momentum: numbers, scalar tensors or functions without arguments that return one.
      name: the optimizer's name. In a checkpoint its slot is MATRIX/Momentum.

    Raises ValueError for a variable that is not a square matrix.
    """

    def __init__(self, learning_rate, momentum=0.9, name="OrthogonalGradientDescent"):
        super().__init__(name, cayley_gradient_step, "Momentum", learning_rate, momentum)


class RelativeGradientDescent(_OfSquareMatrices):
    """The same with half of the products, for matrices that are applied by `opt_ogd.relative.rotate_relative`.

    Its gradients have to be relative ones, G X^T, as those through it are: see `relative_gradient_step`. Arguments and
    errors are those of `OrthogonalGradientDescent`; in a checkpoint its slot is MATRIX/RelativeMomentum.
    """

    def __init__(self, learning_rate, momentum=0.9, name="RelativeGradientDescent"):
        super().__init__(name, relative_gradient_step, "RelativeMomentum", learning_rate, momentum)
