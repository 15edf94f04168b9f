"""The recipe that every opt_ folder runs (Liu et al., CVPR 2021), and what a method may change of it."""

import dataclasses
import importlib
import pathlib

from common import flags
from common.cli.program import Common, Program
from common.compat import tf
from common.data.batches import Pipeline
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels, losses, networks
from common.nn.layers import BatchNormConstants
from common.nn.parts import Parts
from common.nn.schedules import StepDecay, rounded
from common.training.problem import Problem

BATCH_NORM = BatchNormConstants(decay=0.999, epsilon=1e-3, corrected=True)
DECAYED = (Role.GENERATOR, Role.GAMMA, Role.BETA, Role.WEIGHT, Role.BIAS)


@dataclasses.dataclass(frozen=True)
class Length:
    """How long a run is (updates, and where the rate drops), images per update, pixels padded before the crop."""

    schedule: StepDecay
    batch_size: int
    padding: int


PAPER = Length(StepDecay(steps=75_000, boundaries=(30_000, 50_000, 65_000), factor=0.1), 128, 4)
SHORT = Length(PAPER.schedule.stretched(500), 32, 2)
SHORTER_STEPS = 400  # opt_ls: its map costs the most, and the short run is to end within three minutes on two cores
LENGTHS = {"cifar100": PAPER, "cifar10": PAPER, "svhn": PAPER, "digits": SHORT, "synthetic": SHORT}
PAPER_LR = 0.1  # of every method; the short runs' is the method's own
BASELINE_SHORT_LR = 0.005  # ten classes and few images: kernels that are trained directly blow up at the paper's rate
_ENTRY = "from common.cli.program import main"  # what every train.py of this project says


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Flags of the opt_ programs; None means: as the recipe has it."""

    model: str = flags.option("cnn6", "network", ("cnn6", "cnn9", "resnet", *networks.VGGS))
    widths: tuple[int, ...] | None = flags.option(None, "filters of cnn6's or cnn9's three stages and fc6", minimum=1)
    rotation: str = flags.option(
        "method", "the folder's own method, none = ordinary training, or free = UPT", ("method", "none", "free")
    )
    map_method: str = flags.option("auto", "how the map is computed; auto is the fastest way on the device")
    base_lr: float | None = flags.option(None, "learning rate at the start; 0.1 on CIFAR", above=0)
    batch_size: int | None = flags.option(None, "images per update; 128 on CIFAR, 32 on digits", minimum=1)
    weight_decay: float = flags.option(5e-4, "L2 coefficient c, in c/2 times the sum of squares", minimum=0)

    on_resume = {**Common.on_resume, **flags.on_resume(steers=("base_lr", "weight_decay"), free=("map_method",))}

    def __post_init__(self):
        super().__post_init__()
        if self.widths is not None and len(self.widths) != 4:
            raise ValueError(f"--widths has {len(self.widths)} numbers, expected four: the three stages and fc6")
        if self.widths is not None and not self.model.startswith("cnn"):
            raise ValueError(f"--widths: {self.model} has none; leave it out, or choose --model=cnn6 or cnn9")
        self.check_network()
        self.check_share(self.batch_size or LENGTHS.get(self.data, PAPER).batch_size)


class Method(Program):
    """A folder's method: where its kernels come from and how its variables step.

    Args:
      name: the folder's.
      kernel: kernel factory of the conv layers.
      widths: filters of CNN-6, if not 64 everywhere.
      map_methods: {name: kernel factory}, other ways to compute the same kernels, for --map_method.
      short_lr, short_steps: learning rate and updates of the short runs, on digits and synthetic images.

    A method that needs more overrides `parts`, `schedule`, `penalty`, `optimizers`, `rates` or `callbacks`.
    """

    settings_class = Settings

    def __init__(
        self,
        name,
        kernel,
        widths=networks.CNN6_WIDTHS,
        map_methods=None,
        short_lr=PAPER_LR,
        short_steps=SHORT.schedule.steps,
    ):
        self.name, self.widths = name, widths
        self.map_methods = {"auto": kernel, **(map_methods or {})}
        self.short_lr, self.short_steps = short_lr, short_steps

    # --- what a method may change ---

    def parts(self, settings):
        """Where the kernels come from."""
        return Parts(self.map_methods[settings.map_method])

    def schedule(self, settings):
        """The schedule of the learning rate; its length is the run's unless --max_steps changes it."""
        length = LENGTHS[settings.data]
        steps = length.schedule.steps if length is PAPER else self.short_steps
        return length.schedule.stretched(settings.max_steps or steps)

    def penalty(self, settings, replica):
        """What is added to the fit loss: a sum of terms of one variable each.

        That of the fixed W0 is a constant, reported as the originals do.
        """
        return losses.decay(variables.with_role(*DECAYED, Role.FIXED, replica=replica), settings.weight_decay)

    def rates(self, settings, step):
        """Learning rates by name, for optimizers and logs."""
        return {"lr": self.schedule_for_batch(settings).rate(settings.base_lr, step)}

    def optimizers(self, settings, step, replica):
        """Pairs (optimizer, variables): momentum SGD for everything."""
        trained = variables.trainable(replica)
        rate = rounded(self.rates(settings, step)["lr"], trained)
        return [(tf.train.MomentumOptimizer(rate, settings.momentum), trained)]

    # --- the program ---

    def schedule_for_batch(self, settings):
        """The schedule as --lr_scale and --warmup_steps change it: that of every rate."""
        recipe = LENGTHS[settings.data].batch_size
        return self.schedule(settings).for_batch(
            settings.lr_scale, settings.batch_size, recipe, settings.warmup_steps
        )

    def check(self, settings):
        ways = self.of(settings).map_methods
        if settings.map_method not in ways:
            raise ValueError(
                f"--map_method={settings.map_method}: {self.of(settings).name} has {', '.join(ways)}; choose one"
            )

    def of(self, settings):
        """Returns the method that --rotation asks for; the two baselines run the common recipe in every folder."""
        baselines = {"none": kernels.plain(), "free": kernels.free()}
        if settings.rotation == "method":
            return self
        kernel = baselines[settings.rotation]
        return Method(f"{self.name}-{settings.rotation}", kernel, self.widths, short_lr=BASELINE_SHORT_LR)

    def resolve(self, settings, dataset):
        length = LENGTHS[dataset.name]
        base_lr = PAPER_LR if length is PAPER else self.of(settings).short_lr
        return dataclasses.replace(
            settings,
            data=dataset.name,
            widths=settings.widths or (self.widths if settings.model == "cnn6" else None),
            base_lr=settings.base_lr or base_lr,
            batch_size=settings.batch_size or length.batch_size,
        )

    def problem(self, settings, dataset):
        settings = self.resolve(settings, dataset)
        method = self.of(settings)
        network = networks.network(settings.model, settings.depth, settings.widen_factor, settings.widths)
        return Problem(
            dataset=dataset,
            pipeline=Pipeline(127.5, 128.0, LENGTHS[dataset.name].padding, "symmetric", mirror=dataset.mirror),
            network=network,
            parts=method.parts(settings),
            batch_norm=BATCH_NORM,
            fit=losses.smoothed_cross_entropy,
            penalty=lambda replica: method.penalty(settings, replica),
            optimizers=lambda step, replica: method.optimizers(settings, step, replica),
            rates=lambda step: method.rates(settings, step),
            batch_size=settings.batch_size,
            **settings.of_problem(),
        )

    def steps(self, settings, dataset):
        return self.of(settings).schedule(settings).steps

    def method(self, settings):
        return self.of(settings).name

    def words(self, settings):
        return [self.method(settings), settings.model, settings.data]


def methods(root=pathlib.Path(__file__).resolve().parents[2]):
    """Returns {folder: its `Method`} of the folders beside this one that have a train.py with one.

    Of an installed project that is where every package lies: a train.py of somebody else's is not imported.
    """
    found = {}
    for script in sorted(root.glob("*/train.py")):
        if _ENTRY not in script.read_text(encoding="utf-8", errors="replace"):
            continue
        method = getattr(importlib.import_module(f"{script.parent.name}.train"), "METHOD", None)
        if isinstance(method, Method):
            found[script.parent.name] = method
    return found
