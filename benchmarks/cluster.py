"""Several processes: what their exchange costs, what two of them gain here, and what many GPUs would, on paper.

    python -m benchmarks.cluster --json=FILE --png=FILE
"""

import contextlib
import dataclasses
import functools
import sys

from benchmarks import cluster_model as model
from benchmarks import cluster_steps, command, measure, programs
from benchmarks.cluster_pair import STREAM_BYTES, Pair, Stream
from benchmarks.cluster_steps import LIMIT, MAPS, STEPS
from benchmarks.cluster_tables import plot, tables
from benchmarks.processes import apart
from common import flags, kernels, variables
from common.cluster import ALONE, Cluster
from common.compat import tf
from common.devices import choose
from common.replicas import Replica
from common.training import problem

KEY = ("kind", "case", "setup", "device")
BUFFERS = {"cnn6": ("opt_gs",), "resnet-16-2": ("sgd",)}
MODELS = {"cnn6": ("ordinary", "opt_gs"), "resnet-28-10": ("sgd",)}


@dataclasses.dataclass(frozen=True)
class Settings(command.Settings):
    """Flags of this benchmark."""

    parts: str = flags.option("all", "parts to measure: exchange, step, maps, model")
    batch_size: int = flags.option(128, "images of a step, over all processes; in the model, of each GPU", minimum=2)
    width: int = flags.option(64, "filters of cnn6, everywhere", minimum=1)
    device: str = flags.option("cpu", "processes on one machine are measured on its CPU", ("cpu",))
    methods: str = flags.option("all", f"those whose maps are shared or not, of {', '.join(MAPS)}")
    networks: str = flags.option("all", "those of the step and of the model, as cnn6 or resnet-10-1")


def measure_all(settings):
    """Yields the rows of all parts that are asked for."""
    for part in command.chosen("parts", settings.parts, {part: part for part in _PARTS}):
        print(part, file=sys.stderr, flush=True)
        yield from _PARTS[part](settings)


def _networks(settings, known):
    names = {network: network for network in {**STEPS, **MODELS}}
    return [network for network in command.chosen("networks", settings.networks, names) if network in known]


# --- exchange ---


def exchanges(settings):
    """Yields the rate of a plain socket, and then the all-reduce of each buffer with its lower bound."""
    sizes = {}
    for network, methods in BUFFERS.items():
        for method in methods:
            sizes |= apart(_buffers, programs.Job(network, method, settings.batch_size, 1, settings.width))
    with contextlib.ExitStack() as stack:
        sockets = stack.enter_context(Stream())
        turns = {"socket": functools.partial(measure.turn, sockets)}
        for name, size in sizes.items():
            pair = stack.enter_context(Pair())
            pair(_Exchange.open, pair.addresses, size)
            turns[name] = functools.partial(measure.turn, functools.partial(pair, _Exchange.run))
        times = measure.round_robin(turns, settings.repeats, settings.seconds)
    stream = measure.summary(times.pop("socket"))
    rate = STREAM_BYTES / stream["ms"] * 1e3
    yield {"kind": "loopback", "case": "one TCP stream", "setup": "", "bytes_per_second": rate, **stream}
    for name, seconds in times.items():
        figures, numbers = measure.summary(seconds), sizes[name]
        bound = 1e3 * model.exchange(4 * numbers, 2, rate, 0.0, 1)
        case = {"kind": "exchange", "case": name, "setup": "", "numbers": numbers, "bound_ms": bound}
        yield {**case, **figures, "of_bound": figures["ms"] / bound}


def _buffers(job):
    """Returns {name: numbers} of what the replicas of a job exchange: of turned kernels, results or generators."""
    with tf.Graph().as_default():
        _build(job)
        layers = [layer for layer in kernels.of_layers() if layer.generator is not None]
        generators = sum(layer.generator.shape.num_elements() for layer in layers)
        everything = sum(variable.shape.num_elements() for variable in variables.trainable())
        if not layers:
            return {f"{job.network}, {job.method}": everything}
        turned = sum(layer.tensor.shape.num_elements() for layer in layers)
        title = f"{job.network}, {job.method}"
        return {
            f"{title}, kernels n x m": everything - generators + turned,
            f"{title}, generators n x n": everything,
        }


def _build(job, cluster=ALONE):
    program, settings = programs.program_of(job)
    images = programs.dataset(job.test_images, job.batch_size, job.seed)
    return problem.build(program.problem(settings, images), cluster=cluster)


class _Exchange:
    """In a worker: a session of the cluster with the all-reduce of a buffer.

    A replica runs its collectives in the order in which they were built: of two in one session, the second one's time
    would hold the first one's. So each buffer has processes of its own.
    """

    @staticmethod
    def open(index, addresses, size):
        cluster = Cluster(addresses, index, LIMIT)
        config = choose("cpu", cluster=cluster).config()
        session = tf.Session(cluster.server(config).target, config=config)
        replica = Replica(index, 2, range(index, index + 1))
        buffer = tf.Variable(tf.random.uniform([size]), use_resource=True)
        # A sum of the result would be another pass over it: that it is there is enough.
        with tf.control_dependencies([replica.mean(tf.identity(buffer))]):
            done = tf.no_op()
        session.run(tf.global_variables_initializer())
        _Exchange.call = session.make_callable(done)

    @staticmethod
    def run(index):
        _Exchange.call()


# --- model ---


def models(settings):
    """Yields what a step of each network computes and exchanges."""
    for network in _networks(settings, MODELS):
        for method in MODELS[network]:
            job = programs.Job(network, method, settings.batch_size, 1, settings.width)
            pair = dataclasses.replace(job, batch_size=2 * settings.batch_size)
            sizes = apart(_all_reduces, pair)
            yield {
                "kind": "model",
                "case": f"{network}, {method}",
                "setup": "",
                "batch": settings.batch_size,
                "operations": apart(_operations, job),
                "numbers": sum(sizes),
                "collectives": len(sizes),
                "largest": max(sizes),
            }


def _operations(job):
    with tf.Graph().as_default():
        return model.operations(_build(job).train_op)


def _all_reduces(job):
    with tf.Graph().as_default() as graph:
        _build(job, Cluster(("a:1", "b:1"), 0))
        return model.collectives(graph)


def steps(settings):
    """Yields the steps of the networks that are asked for."""
    yield from cluster_steps.steps(settings, _networks(settings, STEPS))


def maps(settings):
    """Yields the steps of the methods that are asked for, with and without --shard_maps."""
    names = {method: method for method in MAPS}
    yield from cluster_steps.maps(settings, command.chosen("methods", settings.methods, names))


_PARTS = {"exchange": exchanges, "step": steps, "maps": maps, "model": models}


BENCHMARK = command.Benchmark("cluster", Settings, KEY, measure_all, tables, plot, gpu_columns=False)

if __name__ == "__main__":
    command.main(BENCHMARK)
