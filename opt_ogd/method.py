"""OPT with orthogonality-preserving gradient descent: the orthogonal matrix is the variable."""

import dataclasses

from common.cli.recipe import DECAYED, Method
from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn import losses
from common.nn.kernels import rotated
from opt_ogd.ogd import OrthogonalGradientDescent, RelativeGradientDescent
from opt_ogd.relative import rotate_relative
from opt_ogd.settings import OgdSettings

LR, FASHION_LR = 0.02, 0.2  # of the rotations; on Fashion-MNIST the best of four on a holdout
_DROP = 0.2  # factor of the rotations' rate at each step of the schedule


class Ogd(Method):
    """Q starts at the identity and steps along the orthogonal group.

    All else is trained as in every method, on fit + 0.1 L2. No L2 term contains Q, so for Q the gradient of that sum is
    the gradient of the fit alone: one backward pass serves both optimizers. The step is taken in relative coordinates,
    or with --map_algorithm=published in the paper's.
    """

    settings_class = OgdSettings
    decay_share = 0.1

    def __init__(self):
        from_identity = {"start": initializers.identity, "role": Role.ROTATION}
        relative, published = [rotated(product, **from_identity) for product in (rotate_relative, tf.matmul)]
        factories = {"auto": relative, "relative": relative, "published": published}
        super().__init__("opt_ogd", factories=factories, short_lr=0.02, fashion_lr=0.02)

    def resolve(self, settings, dataset):
        settings = super().resolve(settings, dataset)
        is_chosen = dataset.name == "fashion_mnist" and settings.fixed is None and settings.map_algorithm != "published"
        usual = FASHION_LR if is_chosen else LR
        rate = settings.rotation_lr or (usual if settings.rotation == "method" else None)
        return dataclasses.replace(settings, rotation_lr=rate)

    def penalty(self, settings, replica):
        return losses.decay(variables.with_role(*DECAYED, replica=replica), self.l2(settings))

    def rates(self, settings, step):
        schedule = self.schedule_for_batch(settings, factor=_DROP)
        return {**super().rates(settings, step), "rotation_lr": schedule.rate(settings.rotation_lr, step)}

    def optimizers(self, settings, step, replica):
        rate = self.rates(settings, step)["rotation_lr"]
        rotations = variables.with_role(Role.ROTATION, replica=replica)
        others = variables.with_role(*DECAYED, replica=replica)
        optimizer = OrthogonalGradientDescent if settings.map_algorithm == "published" else RelativeGradientDescent
        return [(optimizer(rate, settings.momentum), rotations), *self.euclidean(settings, step, others)]
