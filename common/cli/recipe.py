"""The recipe that every opt_ folder runs (Liu et al., CVPR 2021), and what a method may change of it."""

import dataclasses
import functools
import json
import os

from common.cli import fixed, generators, start
from common.cli.presets import (
    ADAM_LR, BASELINE_LRS, FASHION, FIXED_ADAM_LR, FIXED_LR, PAPER, PAPER_LR, SHORT, own_steps, preset_of,
)  # fmt: skip
from common.cli.program import Program
from common.cli.settings import OptSettings
from common.compat import tf
from common.data.batches import Pipeline
from common.data.names import is_own, title
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn import kernels, losses, networks
from common.nn.layers import BatchNormConstants
from common.nn.schedules import Constant, Cosine, rounded
from common.training.adam import Adam
from common.training.problem import Problem

BATCH_NORM = BatchNormConstants(decay=0.999, epsilon=1e-3, corrected=True)
DECAYED = (Role.GENERATOR, Role.GAMMA, Role.BETA, Role.WEIGHT, Role.BIAS)


class Method(Program):
    """A folder's method: where its kernels come from and how its variables step.

    Args:
      name: the folder's.
      rotate: its map, Q(P) W0; `rotate.algorithms` names how else it can be computed, for --map_algorithm.
      widths: filters of CNN-6, if not 64 everywhere.
      factories: {algorithm: kernel factory} in place of those of `rotate`; "auto" is among them.
      short_lr, short_steps: learning rate and updates of the short runs, on digits, synthetic and own images.
      fashion_lr: learning rate on Fashion-MNIST.

    A method that needs more overrides `factory_of`, `schedule`, `penalty`, `optimizers`, `rates` or `callbacks`.
    """

    settings_class = OptSettings
    decay_share = 1.0  # of --weight_decay

    def __init__(
        self,
        name,
        rotate=None,
        widths=networks.CNN6_WIDTHS,
        factories=None,
        short_lr=PAPER_LR,
        fashion_lr=PAPER_LR,
        short_steps=SHORT.schedule.steps,
    ):
        self.name, self.widths = name, widths
        self.factories = factories or {name: kernels.rotated(by) for name, by in by_algorithm(rotate).items()}
        self.starts_at_random = not factories
        self.scale_free_axis = kernels.scale_free_axis_of(rotate)
        self.short_lr, self.fashion_lr, self.short_steps = short_lr, fashion_lr, short_steps

    # --- what a method may change ---

    def factory_of(self, settings):
        """Returns `factory_of(layer)`: where the kernels come from."""
        factory = self.factories[settings.map_algorithm]
        if self.on_manifold(settings):
            factory = dataclasses.replace(factory, start=initializers.unit_normal(self.scale_free_axis))
        elif self.starts_at_random:
            start = generators.start_of(settings.generator_start or SHORT.generator_start)
            factory = dataclasses.replace(factory, start=start)
        return kernels.by_place(factory)

    def schedule(self, settings):
        """The paper's schedule of the learning rate; its length is the run's unless --max_steps changes it."""
        preset = preset_of(settings.data)
        steps = self.short_steps if preset is SHORT else preset.schedule.steps
        return preset.schedule.stretched(settings.max_steps or steps)

    def usual_steps(self, dataset, batch_size):
        """--max_steps of a run on own images, if not given; None where the schedule knows its length."""
        return own_steps(len(dataset.train_images), batch_size) if is_own(dataset.name) else None

    def penalty(self, settings, replica):
        """What is added to the fit loss: a sum of terms of one variable each.

        That of the fixed W0 is a constant, reported as the originals do.
        """
        roles = {*DECAYED, Role.FIXED} - ({Role.GENERATOR} if self.on_manifold(settings) else set())
        return losses.decay(variables.with_role(*roles, replica=replica), self.l2(settings))

    def rates(self, settings, step):
        """Learning rates by name, for optimizers and logs."""
        schedule = self.schedule_for_batch(settings)
        own = {"generator_lr": schedule.rate(settings.generator_lr, step)} if self.on_manifold(settings) else {}
        return {"lr": schedule.rate(settings.base_lr, step), **own}

    def optimizers(self, settings, step, replica):
        """Pairs (optimizer, variables): those of --optimizer, and of --generator_optimizer if P has its own."""
        if not self.on_manifold(settings):
            return self.euclidean(settings, step, variables.trainable(replica))
        trained = variables.with_role(Role.GENERATOR, replica=replica)
        others = variables.with_role(*variables.TRAINABLE - {Role.GENERATOR}, replica=replica)
        rate = rounded(self.rates(settings, step)["generator_lr"], trained)
        own = generators.optimizer(settings, rate, self.scale_free_axis)
        return [*self.euclidean(settings, step, others), (own, trained)]

    # --- what a method may use ---

    def on_manifold(self, settings):
        """Whether the columns or rows of P whose lengths Q does not see are kept on the manifold G(1, n)."""
        return settings.generator_optimizer != "momentum" and self.scale_free_axis is not None

    def l2(self, settings):
        """Returns the coefficient of L2 in the loss; AdamW decays the same variables in its own step instead."""
        return 0.0 if settings.optimizer == "adamw" else self.decay_share * settings.weight_decay

    def euclidean(self, settings, step, trained):
        """Returns pairs (optimizer, variables) for variables without constraints, as --optimizer says."""
        rate = rounded(self.rates(settings, step)["lr"], trained)
        if settings.optimizer == "momentum":
            return [(tf.train.MomentumOptimizer(rate, settings.momentum), trained)]
        decay = self.decay_share * settings.weight_decay - self.l2(settings)
        decayed, others = [
            [variable for variable in trained if (variables.role_of(variable) in DECAYED) is is_decayed]
            for is_decayed in (True, False)
        ]
        shares = (decayed, decay), (others, 0.0)
        return [(Adam(rate, settings.momentum, weight_decay=own), share) for share, own in shares if share]

    # --- the program ---

    def schedule_for_batch(self, settings, factor=PAPER.schedule.factor):
        """The schedule as --schedule, --lr_scale and --warmup_steps change it: that of every rate.

        `factor` is that of a drop of the paper's schedule.
        """
        paper, recipe = self.schedule(settings), preset_of(settings.data).batch_size
        own = {"cosine": Cosine, "constant": Constant}.get(settings.schedule)
        schedule = own(paper.steps) if own else dataclasses.replace(paper, factor=factor)
        return schedule.for_batch(settings.lr_scale, settings.batch_size, recipe, settings.warmup_steps or 0)

    def check(self, settings):
        method = self.of(settings)
        if settings.map_algorithm not in method.factories:
            names = ", ".join(method.factories)
            raise ValueError(f"--map_algorithm={settings.map_algorithm}: {method.name} has {names}; choose one")
        if settings.generator_start and (settings.fixed or not method.starts_at_random):
            given, where = f"--generator_start={settings.generator_start}", "under --fixed " if settings.fixed else ""
            raise ValueError(f"{given}: {where}{method.name} has no generators that start at random; leave it out")
        generators.check(settings, method.name, method.scale_free_axis)

    def of(self, settings):
        """Returns the method that --rotation asks for; the two baselines run the common recipe in every folder."""
        baselines = {"none": kernels.plain(), "free": kernels.free()}
        if settings.rotation == "method":
            return self
        name, factories = f"{self.name}-{settings.rotation}", {"auto": baselines[settings.rotation]}
        return Method(name, widths=self.widths, factories=factories, **BASELINE_LRS[settings.rotation])

    def resolve(self, settings, dataset):
        preset, method = preset_of(dataset.name), self.of(settings)
        generator_start = settings.generator_start or preset.generator_start
        base_lr = {PAPER: PAPER_LR, FASHION: method.fashion_lr}.get(preset, method.short_lr)
        base_lr = base_lr if settings.optimizer == "momentum" else ADAM_LR
        generator_lr = generators.LR if method.on_manifold(settings) else None
        at_random = method.starts_at_random and not generator_lr and settings.fixed is None
        batch_size = settings.batch_size or preset.batch_size
        if settings.fixed is not None:
            base_lr = FIXED_LR if settings.optimizer == "momentum" else FIXED_ADAM_LR
            inputs, widths = fixed.inputs_of(settings), settings.widths or fixed.widths_of(settings)
            path = os.path.abspath(settings.fixed)
            settings = dataclasses.replace(settings, fixed=path, fixed_inputs=inputs, widths=widths)
        settings = dataclasses.replace(
            settings,
            data=dataset.name,
            max_steps=settings.max_steps or method.usual_steps(dataset, batch_size),
            widths=settings.widths or (self.widths if settings.model == "cnn6" else None),
            base_lr=settings.base_lr or base_lr,
            generator_start=generator_start if at_random else None,
            generator_lr=settings.generator_lr or generator_lr,
            batch_size=batch_size,
        )
        schedule, warmup, decay = method.schedule(settings), settings.warmup_steps, settings.bn_decay
        return dataclasses.replace(
            settings,
            warmup_steps=round(preset.warmup * schedule.steps) if warmup is None else warmup,
            bn_decay=BATCH_NORM.decay_for(schedule.after_last_drop()) if decay is None else decay,
        )

    def start_values(self, settings, problem, of_replicas):
        if settings.fixed is None:
            return {}, []
        return fixed.start_values(settings.fixed, settings.fresh_score, problem, of_replicas)

    def problem(self, settings, dataset):
        settings = self.resolve(settings, dataset)
        method = self.of(settings)
        network = networks.network(settings.model, settings.depth, settings.widen_factor, settings.widths)
        padding = settings.padding_of(dataset, preset_of(dataset.name).padding)
        own = {"offset": 127.5, "scale": 128.0, "epsilon": BATCH_NORM.epsilon}
        own |= json.loads(settings.fixed_inputs) if settings.fixed else {}
        # Of a trained network the averages go on from where they are; corrected, they would begin anew at step 0.
        batch_norm = BatchNormConstants(settings.bn_decay, own["epsilon"], corrected=settings.fixed is None)
        crop_size = min(dataset.train_images.shape[1:3])
        return Problem(
            dataset=dataset,
            pipeline=Pipeline(own["offset"], own["scale"], padding, "symmetric", crop_size, settings.mirrors(dataset)),
            network=network,
            factory_of=method.factory_of(settings),
            batch_norm=batch_norm,
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

    def run_name(self, settings):
        return f"{self.method(settings)}_{settings.model}_{title(settings.data)}"


def by_algorithm(rotate):
    """Returns {"auto": a map, algorithm: the map computed by it}."""
    names = [name for name in getattr(rotate, "algorithms", ()) if name != "auto"]
    return {"auto": rotate, **{name: functools.partial(rotate, algorithm=name) for name in names}}


def methods():
    """Returns {folder: its `Method`} of the folders that have a train.py with one."""
    found = {name: module.method() for name, module in start.train_modules().items()}
    return {name: method for name, method in found.items() if isinstance(method, Method)}
