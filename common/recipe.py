"""The recipe that every opt_ folder runs (Liu et al., CVPR 2021), and what a method may change of it."""

import dataclasses

from common import flags, kernels, losses, variables
from common.compat import tf
from common.data.batches import Pipeline
from common.layers import BatchNormConstants
from common.models import catalogue as networks
from common.models.parts import Parts
from common.program import Common, Program
from common.schedules import StepDecay
from common.training.problem import Problem
from common.variables import Role

BATCH_NORM = BatchNormConstants(decay=0.999, epsilon=1e-3, corrected=True)
DECAYED = (Role.GENERATOR, Role.GAMMA, Role.BETA, Role.WEIGHT, Role.BIAS)

# How long a run is: updates, where the rate drops, images per update.
PAPER = StepDecay(steps=75_000, boundaries=(30_000, 50_000, 65_000), factor=0.1)
SHORT = PAPER.stretched(600)
LENGTHS = {
    "cifar100": (PAPER, 128),
    "cifar10": (PAPER, 128),
    "svhn": (PAPER, 128),
    "digits": (SHORT, 32),
    "synthetic": (SHORT, 32),
}


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Flags of the opt_ programs; None means: as the recipe has it."""

    model: str = flags.option("cnn6", "network", ("cnn6", "cnn9", "resnet", *networks.VGGS))
    widths: tuple[int, ...] | None = flags.option(None, "filters of the three stages and of fc6 of cnn6", minimum=1)
    rotation: str = flags.option(
        "method", "the folder's own method, none = ordinary training, or free = UPT", ("method", "none", "free")
    )
    base_lr: float = flags.option(0.1, "learning rate at the start", above=0)
    batch_size: int | None = flags.option(None, "images per update; 128 on CIFAR, 32 on digits", minimum=1)
    weight_decay: float = flags.option(5e-4, "L2 coefficient c, in c/2 times the sum of squares", minimum=0)

    def __post_init__(self):
        super().__post_init__()
        if self.widths is not None and len(self.widths) != 4:
            raise ValueError(f"--widths has {len(self.widths)} numbers, expected four: the three stages and fc6")


class Method(Program):
    """A folder's method: where its kernels come from and how its variables step.

    Args:
      name: the folder's.
      kernel: kernel factory of the conv layers.
      widths: filters of CNN-6, if not 64 everywhere.

    A method that needs more overrides `parts`, `schedule`, `penalty`, `optimizers`, `rates` or `callbacks`.
    """

    settings_class = Settings

    def __init__(self, name, kernel, widths=networks.CNN6_WIDTHS):
        self.name, self.kernel, self.widths = name, kernel, widths

    # --- what a method may change ---

    def parts(self, settings):
        """Where the kernels come from."""
        return Parts(self.kernel)

    def schedule(self, settings):
        """The schedule of the learning rate; its length is the run's unless --max_steps changes it."""
        schedule, _ = LENGTHS[settings.data]
        return schedule.stretched(settings.max_steps) if settings.max_steps else schedule

    def penalty(self, settings, replica):
        """What is added to the fit loss. That of the fixed W0 is a constant, reported as the originals do."""
        return losses.decay(variables.with_role(*DECAYED, Role.FIXED, replica=replica), settings.weight_decay)

    def rates(self, settings, step):
        """Learning rates by name, for optimizers and logs."""
        return {"lr": self.schedule(settings).rate(settings.base_lr, step)}

    def optimizers(self, settings, step, replica):
        """Pairs (optimizer, variables): momentum SGD for everything."""
        optimizer = tf.train.MomentumOptimizer(self.rates(settings, step)["lr"], settings.momentum)
        return [(optimizer, variables.trainable(replica))]

    # --- the program ---

    def of(self, settings):
        """Returns the method that --rotation asks for; the two baselines run the common recipe in every folder."""
        baselines = {"none": kernels.plain(), "free": kernels.free()}
        if settings.rotation == "method":
            return self
        return Method(f"{self.name}-{settings.rotation}", baselines[settings.rotation], self.widths)

    def resolve(self, settings, dataset):
        _, batch_size = LENGTHS[dataset.name]
        return dataclasses.replace(
            settings,
            data=dataset.name,
            widths=settings.widths or (self.widths if settings.model == "cnn6" else None),
            batch_size=settings.batch_size or batch_size,
        )

    def problem(self, settings, dataset):
        method = self.of(settings)
        network = networks.network(settings.model, settings.depth, settings.widen_factor, settings.widths)
        return Problem(
            dataset=dataset,
            pipeline=Pipeline(offset=127.5, scale=128.0, padding=4, reflection="symmetric", mirror=dataset.mirror),
            network=network,
            parts=method.parts(settings),
            batch_norm=BATCH_NORM,
            fit=losses.smoothed_cross_entropy,
            penalty=lambda replica: method.penalty(settings, replica),
            optimizers=lambda step, replica: method.optimizers(settings, step, replica),
            rates=lambda step: method.rates(settings, step),
            batch_size=settings.batch_size,
            vali_batch_size=settings.vali_batch_size,
            seed=settings.seed,
        )

    def steps(self, settings, dataset):
        return self.of(settings).schedule(settings).steps

    def words(self, settings):
        return [self.of(settings).name, settings.model, settings.data]
