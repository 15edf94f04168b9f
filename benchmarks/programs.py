"""What `step` and `profile` measure: the programs' own problems, at equal widths, on images in CIFAR-100's shape."""

import contextlib
import dataclasses
import functools
import re
import time
from unittest import mock

from benchmarks import measure
from common.cli import devices, recipe
from common.compat import tf
from common.data import synthetic
from common.graph import linalg, precision, variables
from common.runs import checkpoints
from common.training import problem
from common.training.evaluation import Evaluation
from grassmann import train as grassmann

# As in the published commands for CIFAR.
_DECAYS = {"weightDecay": 5e-4, "biasDecay": 5e-4, "gammaDecay": 5e-4, "betaDecay": 5e-4}
_MANIFOLD = {"grassmann": True, "learnRate": 0.01, "omega": 0.1, "grad_clip": 0.1, "weightDecay": 5e-4}
_GRASSMANN = {
    "sgd": {"optimizer": "sgd", **_DECAYS},
    "sgdg": {"optimizer": "sgdg", "learnRateG": 0.2, **_MANIFOLD},
    "adamg": {"optimizer": "adamg", "learnRateG": 0.05, **_MANIFOLD},
}
_BASE_LR = 0.01  # random images: the paper's rate may blow them up, and a step takes as long whatever the rate
ORDINARY = "ordinary"


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to be built and run.

    Attributes:
      network: "cnn6", "cnn9" or "resnet-DEPTH-WIDEN".
      method: a name from `methods(network)`; the first of them is what the others are compared with.
      batch_size: images of a step.
      test_images: images of an evaluation.
      width: filters of cnn6 and cnn9, everywhere.
      options: further settings, as pairs (name, value), for example ("xla", True).
      seed, device: as for every benchmark.
      algorithms: of the maps, "auto" for those of the device, "gpu" for those of a GPU that is fast in float64.
    """

    network: str
    method: str
    batch_size: int = 128
    test_images: int = 256
    width: int = 64
    options: tuple = ()
    seed: int = 0
    device: str = "cpu"
    algorithms: str = "auto"


def methods(network):
    """Returns {method: group} of those that train a network, ordinary training first. ValueError for an unknown one."""
    if network in ("cnn6", "cnn9"):
        return dict.fromkeys([ORDINARY, *recipe.methods()], "opt")
    if re.fullmatch(r"resnet-\d+-\d+", network):
        return dict.fromkeys(_GRASSMANN, "grassmann")
    raise ValueError(f"--networks: {network!r} is unknown, expected cnn6, cnn9 or resnet-DEPTH-WIDEN, as resnet-16-2")


def arguments_of(job):
    """Returns (folder, {setting: value}): which program a job is, and what it is started with."""
    common = {"batch_size": job.batch_size, "seed": job.seed, "device": job.device, **dict(job.options)}
    if job.network.startswith("resnet"):
        _, depth, widen = job.network.split("-")
        network = {"model": "resnet", "depth": int(depth), "widen_factor": int(widen)}
        return "grassmann", {**common, **network, **_GRASSMANN[job.method]}
    own = {"model": job.network, "widths": (job.width,) * 4, "base_lr": _BASE_LR}
    if job.method == ORDINARY:  # the same from every folder
        return next(iter(recipe.methods())), {**common, **own, "rotation": "none"}
    return job.method, {**common, **own}


def program_of(job):
    """Returns the program of a job and its settings. ValueError if it does not have one of the options."""
    folder, values = arguments_of(job)
    program = grassmann.method() if folder == "grassmann" else recipe.methods()[folder]
    fields = {field.name for field in dataclasses.fields(program.settings_class)}
    for name, value in job.options:
        if name not in fields:
            raise ValueError(f"--{name}={value}: these programs have no such flag; leave it out")
    return program, program.settings_class(**values)


@functools.lru_cache(maxsize=1)
def dataset(test_images, batch_size, seed):
    """Random images that can be learnt, named and mirrored as CIFAR-100, so that its recipe is what runs."""
    images = synthetic.load(max(1024, batch_size), test_images, classes=100, seed=seed)
    return dataclasses.replace(images, name="cifar100", mirror=True)


class Training:
    """A job with its graph and session, its variables and images in place.

    Attributes:
      build_seconds: what making the graph of the training step took.
      nodes: its graph nodes, those inside functions included.
      step, data: functions without arguments: one update; the batch of a step alone.
      evaluate: the evaluation of all test images, if asked for.
    """

    def __init__(self, job, evaluation=False):
        with _algorithms(job.algorithms):
            self._build(job, evaluation)

    def _build(self, job, evaluation):
        program, settings = program_of(job)
        precision.switch(settings.precision)
        if settings.xla:
            precision.prepare_xla()
        images = dataset(job.test_images, job.batch_size, job.seed)
        with tf.Graph().as_default() as graph:
            chosen = devices.choose(job.device, settings.num_gpus)
            self._session = chosen.session()  # before the graph is built: starting the library is not counted
            start = time.perf_counter()
            task = program.problem(settings, images)
            training = problem.build(task, chosen.names)
            self.build_seconds = time.perf_counter() - start
            self.nodes = measure.nodes(graph)
            evaluated = Evaluation(task, training.kernels[0]) if evaluation else None
            self._session.run(tf.global_variables_initializer())
            for store in [*training.stores, *([evaluated.store] if evaluation else [])]:
                store.fill(self._session)
            self._saved = variables.saved()
            self._train_op, self._loss = training.train_op, training.loss
            self.step = self._session.make_callable(self._train_op)
            # Sums, for what nobody reads TensorFlow would not compute.
            sums = [tf.reduce_sum(training.images), tf.reduce_sum(training.labels)]
            self.data = self._session.make_callable(sums)
            self.evaluate = lambda: evaluated.metrics(self._session)

    def check(self):
        """Raises ValueError if the loss is not finite: a time of NaNs would say nothing."""
        loss = float(self._session.run(self._loss))
        if not abs(loss) < float("inf"):
            raise ValueError(f"the loss is {loss}; choose another --seed")

    def values(self):
        """Returns {name: value} of all saved variables."""
        return self._session.run({variable.op.name: variable for variable in self._saved})

    def assign(self, values):
        """Gives the saved variables their values."""
        checkpoints.assign(self._session, {variable: values[variable.op.name] for variable in self._saved})

    def trace(self):
        """Returns TensorFlow's record of one more step."""
        return measure.traced(self._session, self._train_op)

    def memory(self):
        """Returns the MiB of the variables and of a step's tensors at its peak."""
        return measure.variable_memory(self._session.graph) + measure.tensor_memory(self.trace())

    def close(self):
        self._session.close()


def _algorithms(name):
    """Within it, maps choose what they would on that device."""
    if name == "auto":
        return contextlib.nullcontext()
    return mock.patch.multiple(linalg, on_gpu=lambda: True, fast_in_float64=lambda: True)


def first_steps(job, steps=4):
    """In a fresh process: seconds to build the graph and to the first step, memory of tensors and process at its peak.

    On a GPU both are the peak of its allocator, which the host's memory is no part of.
    """
    tf.Session().close()  # wakes the library up
    before = measure.process_memory()
    start = time.perf_counter()
    training = Training(job)
    training.step()
    found = {"first_step_s": time.perf_counter() - start, "build_s": training.build_seconds, "nodes": training.nodes}
    for _ in range(steps):
        training.step()
    training.check()
    if job.device == "gpu":
        tensors = grown = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2.0**20
    else:
        grown = None if before is None else measure.process_memory() - before
        tensors = training.memory()
    return {**found, "tensors_mib": tensors, "process_mib": grown}
