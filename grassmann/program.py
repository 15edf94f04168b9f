"""Riemannian batch normalization (Cho & Lee, NIPS 2017): the recipe, its flags, and what is on the manifold."""

import dataclasses

from common import flags
from common.cli.program import Common, Program
from common.compat import tf
from common.data.batches import Pipeline
from common.data.dataset import channel_statistics
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels, losses, networks
from common.nn.layers import BatchNormConstants
from common.nn.parts import Parts
from common.nn.schedules import StepDecay, rounded
from common.training.problem import Problem
from grassmann.optimizers import AdamG, SgdG

MODELS = ("resnet", *networks.VGGS)
OPTIMIZERS = ("sgd", "sgdg", "adamg")
IMAGE_SIZE = 32  # height and width of the images of every data set
BATCH_NORM = BatchNormConstants(decay=0.99, epsilon=1e-5, corrected=False)


@dataclasses.dataclass(frozen=True)
class Length:
    """How long a run is (epochs, and after which the rates drop), images per update, pixels padded before the crop."""

    epochs: int
    drops: tuple[int, ...]
    batch_size: int
    padding_size: int


CIFAR = Length(200, (60, 120, 160), 128, 4)
SVHN = Length(160, (60, 120), 128, 0)
LENGTHS = {"cifar10": CIFAR, "cifar100": CIFAR, "svhn": SVHN}
SHORT_RESNET = Length(40, (12, 24, 32), 32, 2)  # for digits and synthetic data: about a minute on two cores
SHORT_VGG = Length(10, (3, 6, 8), 32, 2)  # an epoch of it costs six times as much


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Flags of grassmann, in the original's spelling; None means: as the recipe has it, or not at all."""

    model: str | None = flags.option(None, "network; it has to be given", MODELS)
    optimizer: str | None = flags.option(None, "optimizer; to train it has to be given", OPTIMIZERS)
    grassmann: bool = flags.option(False, "keep conv kernels on the manifold: unit neurons, omega in place of decay")
    learnRate: float = flags.option(0.1, "learning rate of Euclidean variables at the start", above=0)
    learnRateG: float = flags.option(0.1, "learning rate of SGD-G and Adam-G at the start", above=0)
    learnRateDecay: float = flags.option(0.2, "factor of both rates at each drop", above=0)
    nesterov: bool = flags.option(True, "Nesterov's momentum for Euclidean variables")
    adam_beta2: float = flags.option(0.99, "decay of Adam-G's v; --momentum is that of its m", minimum=0, below=1)
    adam_eps: float = flags.option(1e-8, "what Adam-G adds to second moments", above=0)
    grad_clip: float | None = flags.option(None, "norm at which SGD-G and Adam-G clip a neuron's gradient", above=0)
    omega: float | None = flags.option(None, "coefficient of the orthogonality regulariser on the manifold", minimum=0)
    weightDecay: float | None = flags.option(None, "L2 coefficient of weights off the manifold", minimum=0)
    biasDecay: float | None = flags.option(None, "L2 coefficient of biases", minimum=0)
    gammaDecay: float | None = flags.option(None, "L2 coefficient of batch normalization's scales", minimum=0)
    betaDecay: float | None = flags.option(None, "L2 coefficient of batch normalization's shifts", minimum=0)
    keep_prob: float | None = flags.option(None, "probability with which dropout keeps a value", above=0, maximum=1)
    batch_size: int | None = flags.option(None, "images per update; 128, on digits 32", minimum=1)
    crop_size: int = flags.option(32, "height and width of what the network sees", minimum=1, maximum=IMAGE_SIZE)
    padding_size: int | None = flags.option(
        None,
        "pixels reflected round an image before the crop; 4, on digits 2, on svhn always none",
        minimum=0,
        maximum=IMAGE_SIZE - 1,
    )
    k: int = flags.option(5, "validations report the top-k error", minimum=1)
    report_freq: int = flags.option(10, "updates between two reports of training figures", minimum=1)
    vali_freq: int = flags.option(1000, "updates between two evaluations of the test set", minimum=1)
    save_freq: int = flags.option(10000, "updates between two checkpoints", minimum=1)
    max_to_keep: int = flags.option(1, "newest checkpoints kept", minimum=1)
    verbose: bool = flags.option(True, "task=see also prints values, and draws the first layer's filters")

    on_resume = {
        **Common.on_resume,
        **flags.on_resume(
            steers=(
                "learnRate", "learnRateG", "learnRateDecay", "omega", "weightDecay", "biasDecay", "gammaDecay",
                "betaDecay",
            ),
            free=("k",),
        ),
    }  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.model is None:
            raise ValueError(f"--model is missing: choose one of {', '.join(MODELS)}")
        if self.optimizer is None and self.task == "train":
            raise ValueError(f"--optimizer is missing, and --task=train needs one: {', '.join(OPTIMIZERS)}")
        self.check_network()
        usual = length(self, Grassmann.paper_data if self.data == "auto" else self.data)
        self.check_share(self.batch_size or usual.batch_size)
        if self.model in networks.VGGS and self.crop_size < IMAGE_SIZE:
            raise ValueError(f"--crop_size={self.crop_size}: {self.model}'s five poolings need {IMAGE_SIZE} pixels")


class Grassmann(Program):
    """Conv kernels on the Grassmann manifold, everything else in Euclidean space."""

    settings_class = Settings
    paper_data = "cifar10"

    def resolve(self, settings, dataset):
        run = length(settings, dataset.name)
        return dataclasses.replace(
            settings,
            data=dataset.name,
            batch_size=settings.batch_size or run.batch_size,
            padding_size=run.padding_size if settings.padding_size is None else settings.padding_size,
        )

    def problem(self, settings, dataset):
        settings = self.resolve(settings, dataset)
        return Problem(
            dataset=dataset,
            pipeline=pipeline(settings, dataset),
            network=networks.network(settings.model, settings.depth, settings.widen_factor),
            parts=Parts(by_shape if settings.grassmann else kernels.plain()),
            batch_norm=BATCH_NORM,
            fit=losses.cross_entropy,
            penalty=lambda replica: penalty(settings, replica),
            optimizers=lambda step, replica: optimizers(settings, self.rates(settings, dataset, step), replica),
            rates=lambda step: self.rates(settings, dataset, step),
            batch_size=settings.batch_size,
            keep_prob=settings.keep_prob,
            **settings.of_problem(),
            k=settings.k,
        )

    def rates(self, settings, dataset, step):
        """Returns the learning rates in use: lr, which is --learnRate, and learnRateG."""
        names = {"lr": "learnRate"}
        if settings.grassmann and settings.optimizer != "sgd":
            names["learnRateG"] = "learnRateG"
        rate = schedule(settings, dataset).rate
        return {name: rate(getattr(settings, flag), step) for name, flag in names.items()}

    def steps(self, settings, dataset):
        return schedule(settings, dataset).steps

    def method(self, settings):
        return "grassmann"

    def words(self, settings):
        return [settings.model, settings.task, settings.data]

    def remarks(self, settings):
        if settings.grassmann and settings.optimizer == "sgd":
            yield (
                "--grassmann=True with --optimizer=sgd: conv kernels start with unit neurons and have omega in place "
                "of decay, but are trained in Euclidean space like everything else."
            )
        if not settings.grassmann and settings.optimizer in ("sgdg", "adamg"):
            yield (
                f"--optimizer={settings.optimizer} without --grassmann=True: no kernel is on the manifold, and "
                "everything is trained as --optimizer=sgd does."
            )

    def place(self, variable):
        return "G" if variables.role_of(variable) is Role.UNIT_KERNEL else "E"


def by_shape(shape, dtype):
    """The kernel factory: on the manifold go kernels [h, w, c_in, c_out] with more inputs h w c_in than neurons c_out.

    Projections and fully connected layers never ask for it (see common/nn/parts.py).
    """
    height, width, channels, neurons = shape
    kernel = kernels.unit_norm() if height * width * channels > neurons else kernels.plain()
    return kernel(shape, dtype)


def pipeline(settings, dataset):
    """Returns how images become inputs: SVHN's are divided by 255, others standardised by channel and augmented."""
    if dataset.name == "svhn":
        return Pipeline(scale=255.0, crop_size=settings.crop_size)
    mean, deviation = channel_statistics(dataset.train_images)
    return Pipeline(mean, deviation, settings.padding_size, "reflect", settings.crop_size, dataset.mirror)


def length(settings, data):
    """Returns the `Length` of a run on the data set of that name."""
    return LENGTHS.get(data, SHORT_RESNET if settings.model == "resnet" else SHORT_VGG)


def schedule(settings, dataset):
    """Returns the `StepDecay` of both rates: drops at the first step > boundary, a boundary being epochs of updates."""
    run = length(settings, dataset.name)
    images = len(dataset.train_images)
    steps, *boundaries = [epochs * images // settings.batch_size for epochs in (run.epochs, *run.drops)]
    after = StepDecay(steps, tuple(boundaries), settings.learnRateDecay)
    if settings.max_steps:
        after = after.stretched(settings.max_steps)
    after = dataclasses.replace(after, boundaries=tuple(boundary + 1 for boundary in after.boundaries))
    return after.for_batch(settings.lr_scale, settings.batch_size, run.batch_size, settings.warmup_steps)


def penalty(settings, replica):
    """Returns the decays plus the orthogonality regulariser of the kernels on the manifold, which have no decay."""
    decays = {
        Role.WEIGHT: settings.weightDecay,
        Role.BIAS: settings.biasDecay,
        Role.GAMMA: settings.gammaDecay,
        Role.BETA: settings.betaDecay,
    }
    terms = [
        losses.decay(variables.with_role(role, replica=replica), coefficient)
        for role, coefficient in decays.items()
        if coefficient
    ]
    units = variables.with_role(Role.UNIT_KERNEL, replica=replica)
    return sum(terms, losses.orthogonality(units, settings.omega) if settings.omega else 0.0)


def optimizers(settings, rates, replica):
    """Returns pairs (optimizer, variables): SGD-G or Adam-G for the manifold, momentum SGD for all else."""
    rate = rounded(rates["lr"], variables.trainable(replica))
    euclidean = tf.train.MomentumOptimizer(rate, settings.momentum, use_nesterov=settings.nesterov)
    if "learnRateG" not in rates:
        return [(euclidean, variables.trainable(replica))]
    if settings.optimizer == "sgdg":
        manifold = SgdG(rates["learnRateG"], settings.momentum, settings.grad_clip)
    else:
        manifold = AdamG(
            rates["learnRateG"], settings.momentum, settings.adam_beta2, settings.adam_eps, settings.grad_clip
        )
    units = variables.with_role(Role.UNIT_KERNEL, replica=replica)
    others = variables.with_role(*variables.TRAINABLE - {Role.UNIT_KERNEL}, replica=replica)
    return [(euclidean, others), (manifold, units)]
