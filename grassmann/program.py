"""Riemannian batch normalization (Cho & Lee, NIPS 2017): the recipe, its flags, and what is on the manifold."""

import dataclasses

from common.cli.program import Program
from common.cli.settings import BATCH_SIZE, SHORT_BATCH_SIZE
from common.compat import tf
from common.data.batches import Pipeline
from common.data.dataset import channel_statistics
from common.data.names import title
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels, losses, networks
from common.nn.kernels import Place
from common.nn.layers import BatchNormConstants
from common.nn.schedules import StepDecay, rounded
from common.riemannian.optimizers import AdamG, SgdG
from common.training.problem import Problem
from grassmann.settings import Settings

BATCH_NORM = BatchNormConstants(decay=0.99, epsilon=1e-5, corrected=False)


@dataclasses.dataclass(frozen=True)
class EpochPreset:
    """How long a run is (epochs, and after which the rates drop), images per update, pixels padded before the crop."""

    epochs: int
    drops: tuple[int, ...]
    batch_size: int
    padding_size: int


CIFAR = EpochPreset(200, (60, 120, 160), BATCH_SIZE, 4)
SVHN = EpochPreset(160, (60, 120), BATCH_SIZE, 0)
FASHION = EpochPreset(10, (3, 6, 8), BATCH_SIZE, 2)
PRESETS = {"cifar10": CIFAR, "cifar100": CIFAR, "svhn": SVHN, "fashion_mnist": FASHION}
SHORT_RESNET = EpochPreset(40, (12, 24, 32), SHORT_BATCH_SIZE, 2)  # of digits and synthetic data: a minute on two cores
SHORT_VGG = EpochPreset(10, (3, 6, 8), SHORT_BATCH_SIZE, 2)  # an epoch of it costs six times as much


class Grassmann(Program):
    """Conv kernels on the Grassmann manifold, everything else in Euclidean space."""

    settings_class = Settings
    paper_data = "cifar10"
    paper_vali_freq = 1000

    def resolve(self, settings, dataset):
        run = preset_of(settings, dataset.name)
        settings = dataclasses.replace(
            settings,
            data=dataset.name,
            batch_size=settings.batch_size or run.batch_size,
            padding_size=settings.padding_of(dataset, run.padding_size),
            crop_size=settings.crop_size or min(dataset.train_images.shape[1:3]),
        )
        if settings.bn_decay is not None:
            return settings
        updates = schedule(settings, dataset).after_last_drop()
        return dataclasses.replace(settings, bn_decay=BATCH_NORM.decay_for(updates))

    def problem(self, settings, dataset):
        settings = self.resolve(settings, dataset)
        return Problem(
            dataset=dataset,
            pipeline=pipeline(settings, dataset),
            network=networks.network(settings.model, settings.depth, settings.widen_factor),
            factory_of=by_shape if settings.grassmann else kernels.by_place(kernels.plain()),
            batch_norm=dataclasses.replace(BATCH_NORM, decay=settings.bn_decay),
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

    def run_name(self, settings):
        # The original has no optimizer here.
        names = [settings.model, settings.task, title(settings.data), settings.optimizer]
        return "_".join(name for name in names if name)

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

    def mark(self, variable):
        return "G" if variables.role_of(variable) is Role.UNIT_KERNEL else "E"


_ON_MANIFOLD = kernels.unit_norm()


def by_shape(layer):
    """Returns a layer's factory: convs with more inputs than neurons are on the manifold, but no 1x1 projections."""
    on_manifold = layer.place is not Place.PLAIN and layer.inputs > layer.shape[-1]
    return _ON_MANIFOLD if on_manifold else kernels.plain(name=layer.name)


def pipeline(settings, dataset):
    """Returns how images become inputs: SVHN's are divided by 255, others standardised by channel and augmented."""
    mirror = settings.mirrors(dataset)
    if dataset.name == "svhn":
        return Pipeline(scale=255.0, crop_size=settings.crop_size, mirror=mirror)
    mean, deviation = channel_statistics(dataset.train_images)
    return Pipeline(mean, deviation, settings.padding_size, "reflect", settings.crop_size, mirror)


def preset_of(settings, data):
    """Returns the `EpochPreset` of a run on the data set of that name."""
    return PRESETS.get(data, SHORT_RESNET if settings.model == "resnet" else SHORT_VGG)


def schedule(settings, dataset):
    """Returns the `StepDecay` of both rates: drops at the first step > boundary, a boundary being epochs of updates."""
    run = preset_of(settings, dataset.name)
    images = len(dataset.train_images)
    steps, *boundaries = [epochs * images // settings.batch_size for epochs in (run.epochs, *run.drops)]
    after = StepDecay(max(steps, 1), tuple(boundaries), settings.learnRateDecay)
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
