"""What `step` and `scaling` measure: the programs' own problems, at equal widths, on images in CIFAR-100's shape."""

import dataclasses
import functools
import re
import time

import numpy as np

from benchmarks import measure
from common.cli import devices
from common.compat import tf
from common.data import synthetic
from common.distributed.cluster import ALONE
from common.nn import kernels
from common.training import problem
from common.training.evaluation import Evaluation
from grassmann import train as grassmann
from opt_cp import train as opt_cp
from opt_gs import train as opt_gs
from opt_hr import train as opt_hr
from opt_ls import train as opt_ls
from opt_ogd import train as opt_ogd
from opt_or import train as opt_or
from sopt_gs import train as sopt_gs

_OPT = {
    "ordinary": (opt_gs.METHOD, {"rotation": "none"}),
    "opt_cp": (opt_cp.METHOD, {}),
    "opt_gs": (opt_gs.METHOD, {}),
    "opt_hr": (opt_hr.METHOD, {}),
    "opt_ls": (opt_ls.METHOD, {}),
    "opt_ogd": (opt_ogd.METHOD, {}),
    "opt_or": (opt_or.METHOD, {}),
    "sopt_gs": (sopt_gs.METHOD, {}),
}
# As in the published commands for CIFAR.
_DECAYS = {"weightDecay": 5e-4, "biasDecay": 5e-4, "gammaDecay": 5e-4, "betaDecay": 5e-4}
_MANIFOLD = {"grassmann": True, "learnRate": 0.01, "omega": 0.1, "grad_clip": 0.1, "weightDecay": 5e-4}
_GRASSMANN = {
    "sgd": {"optimizer": "sgd", **_DECAYS},
    "sgdg": {"optimizer": "sgdg", "learnRateG": 0.2, **_MANIFOLD},
    "adamg": {"optimizer": "adamg", "learnRateG": 0.05, **_MANIFOLD},
}
GROUPS = {**dict.fromkeys(_OPT, "opt"), **dict.fromkeys(_GRASSMANN, "grassmann")}  # of all methods
_BASE_LR = 0.01  # random images: the paper's rate may blow them up, and a step takes as long whatever the rate


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
    """

    network: str
    method: str
    batch_size: int = 128
    test_images: int = 256
    width: int = 64
    options: tuple = ()
    seed: int = 0
    device: str = "cpu"


def methods(network):
    """Returns the names of the methods that train a network; ordinary training first. ValueError for an unknown one."""
    if network in ("cnn6", "cnn9"):
        return tuple(_OPT)
    if re.fullmatch(r"resnet-\d+-\d+", network):
        return tuple(_GRASSMANN)
    raise ValueError(f"--networks: {network!r} is unknown, expected cnn6, cnn9 or resnet-DEPTH-WIDEN, as resnet-16-2")


def program_of(job):
    """Returns the program of a job and its settings. ValueError if it does not have one of the options."""
    common = {"batch_size": job.batch_size, "seed": job.seed, "device": job.device}
    if job.network.startswith("resnet"):
        _, depth, widen = job.network.split("-")
        program = grassmann.METHOD
        own = {"model": "resnet", "depth": int(depth), "widen_factor": int(widen), **_GRASSMANN[job.method]}
    else:
        program, own = _OPT[job.method]
        own = {**own, "model": job.network, "widths": (job.width,) * 4, "base_lr": _BASE_LR}
    fields = {field.name for field in dataclasses.fields(program.settings_class)}
    for name, value in job.options:
        if name not in fields:
            raise ValueError(f"--{name}={value}: these programs have no such flag; leave it out")
    return program, program.settings_class(**common, **own, **dict(job.options))


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
      map_floats: n^2 summed over the layers that a map turns.
    """

    def __init__(self, job, evaluation=False, cluster=ALONE):
        program, settings = program_of(job)
        images = dataset(job.test_images, job.batch_size, job.seed)
        with tf.Graph().as_default() as graph:
            chosen = devices.choose(job.device, settings.num_gpus, cluster=cluster)
            # A process on its own opens its session before the graph is built: starting the library is not counted.
            config = chosen.config()
            target = cluster.server(config).target if cluster.count > 1 else ""
            self._session = tf.Session(target, config=config)
            start = time.perf_counter()
            task = program.problem(settings, images)
            training = problem.build(task, chosen.names, cluster=cluster)
            self.build_seconds = time.perf_counter() - start
            definition = graph.as_graph_def()
            self.nodes = len(definition.node) + sum(len(f.node_def) for f in definition.library.function)
            generators = [layer.generator for layer in kernels.rotated_layers()]
            self.map_floats = sum(generator.shape.num_elements() for generator in generators)
            evaluated = Evaluation(task) if evaluation else None
            self._session.run(tf.global_variables_initializer())
            for store in [*training.stores, *([evaluated.store] if evaluation else [])]:
                store.fill(self._session)
            self._train_op = training.train_op
            self.step = self._session.make_callable(self._train_op)
            # Sums, for what nobody reads TensorFlow would not compute.
            sums = [tf.reduce_sum(training.images), tf.reduce_sum(training.labels)]
            self.data = self._session.make_callable(sums)
            self.evaluate = lambda: evaluated.figures(self._session)
            self._loss = training.loss

    def check(self):
        """Raises ValueError if the loss is not finite: a time of NaNs would say nothing."""
        loss = float(self._session.run(self._loss))
        if not abs(loss) < float("inf"):
            raise ValueError(f"the loss is {loss}; choose another --seed")

    def tensor_memory(self):
        """MiB of the variables, and of a step's tensors at its peak: see the function of this name."""
        return tensor_memory(self._session, self._train_op)

    def trace(self):
        """Returns TensorFlow's record of one more step."""
        return traced(self._session, self._train_op)

    def close(self):
        self._session.close()


def traced(session, fetches):
    """Runs `fetches` and returns TensorFlow's record of it: each operation, its device, times and memory."""
    options, metadata = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), tf.RunMetadata()
    session.run(fetches, options=options, run_metadata=metadata)
    return metadata


def tensor_memory(session, fetches):
    """Returns the MiB of all variables of a session's graph, and of the tensors of a run of `fetches` at its peak.

    TensorFlow's own record of what its allocators hand out and take back, without what graphs, kernels and the C
    library's heap keep for themselves: the same in every run, as far as operations run in the same order.
    """
    handles = [operation for operation in session.graph.get_operations() if operation.type == "VarHandleOp"]
    shapes = [(tf.TensorShape(handle.get_attr("shape")), handle.get_attr("dtype")) for handle in handles]
    nodes = [node for device in traced(session, fetches).step_stats.dev_stats for node in device.node_stats]
    records = [record for node in nodes for memory in node.memory for record in memory.allocation_records]
    records.sort(key=lambda record: record.alloc_micros)
    alive = np.cumsum([record.alloc_bytes for record in records], dtype=np.int64)
    return (sum(shape.num_elements() * dtype.size for shape, dtype in shapes) + alive.max(initial=0)) / 2.0**20


def first_steps(job, steps=4):
    """In a fresh process: graph building time, time to the first step, memory of tensors and process at its peak.

    On a GPU both are the peak of its allocator, which the host's memory is no part of.
    """
    tf.Session().close()  # wakes the library up
    before = measure.resident_memory()["VmRSS"]
    start = time.perf_counter()
    training = Training(job)
    training.step()
    figures = {"first_step_s": time.perf_counter() - start, "build_s": training.build_seconds, "nodes": training.nodes}
    for _ in range(steps):
        training.step()
    training.check()
    peak = measure.resident_memory()["VmHWM"]
    if job.device == "gpu":
        peak, before = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2.0**20, 0.0
    return {
        **figures,
        "tensors_mib": peak if job.device == "gpu" else training.tensor_memory(),
        "peak_mib": None if peak is None else peak - before,
        "map_mib": 4 * training.map_floats / 2.0**20,
    }
