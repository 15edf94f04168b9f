"""OPT with orthogonality by regularisation: no map, a penalty holds P near the orthogonal matrices."""

from common import kernels, variables
from common.compat import tf
from common.recipe import Method
from common.variables import Role
from opt_or.penalty import excess_norm

_STRENGTH = 0.1  # of the penalty, as the authors have it
_SHORT_LR = 0.001  # on the digits 0.1 and 0.02 ended at chance, 0.005 at 2 % error with one seed and at 20 % with another


class OrthogonalRegularisation(Method):
    """The kernel is P @ W0, as in UPT, and the loss gains 0.1 sum over layers ||P P^T - I||_F.

    P starts at the identity: nothing normalises it, so at N(0, 1) kernels would be sqrt(n) times too large. The
    recipe's L2 stays on P. Its pull, 5e-4 ||P||_F = 5e-4 sqrt(n), is a tenth of the penalty's, 0.2 wherever P is
    nearly but not quite orthogonal, so it moves P little.
    """

    def __init__(self):
        super().__init__("opt_or", kernels.free(), short_lr=_SHORT_LR)

    def penalty(self, settings, replica):
        norms = [excess_norm(tf.convert_to_tensor(p)) for p in variables.with_role(Role.GENERATOR, replica=replica)]
        return super().penalty(settings, replica) + _STRENGTH * tf.reduce_sum(tf.stack(norms))
