"""OPT with orthogonality by regularisation: no map, a penalty holds P near the orthogonal matrices."""

from common.cli.recipe import DECAYED, Method
from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels, losses
from opt_or.penalty import excess_norm

_STRENGTH = 0.1  # of the penalty, as the authors have it
_SHORT_LR = 0.001  # on digits 0.1 and 0.02 ended at chance, 0.005 at 2 % error with one seed and 20 % with another


class OrthogonalRegularisation(Method):
    """The kernel is P @ W0, as in UPT, and the loss gains 0.1 sum over layers ||P P^T - I||_F.

    P starts at the identity: nothing normalises P, so at N(0, 1) kernels would be sqrt(n) times too large. The recipe's
    L2 stays on P and moves it little: the pull of L2, 5e-4 ||P||_F = 5e-4 sqrt(n), is a tenth of the penalty's, which
    is 0.2 wherever P is nearly but not quite orthogonal.
    """

    def __init__(self):
        super().__init__("opt_or", factories={"auto": kernels.free()}, short_lr=_SHORT_LR)

    def penalty(self, settings, replica):
        # One reading of P for L2 and norm: their gradients are added first, and the sum to the kernel's. Three at once
        # would be added in whatever order they are ready, and the last bit would differ between runs.
        generators = [tf.identity(p) for p in variables.with_role(Role.GENERATOR, replica=replica)]
        others = [role for role in (*DECAYED, Role.FIXED) if role is not Role.GENERATOR]
        decay = losses.decay([*variables.with_role(*others, replica=replica), *generators], self.l2(settings))
        return decay + _STRENGTH * losses.total(*[excess_norm(p) for p in generators])
