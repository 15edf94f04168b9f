"""Training steps of one and of two processes, maps computed everywhere or once, in turns on the same cores."""

import contextlib
import dataclasses
import functools
import os

from benchmarks import measure, programs
from benchmarks.cluster_pair import Pair
from common.cluster import ALONE, Cluster

STEPS = {"cnn6": "opt_gs", "resnet-10-1": "sgd"}  # network and method of the steps that are timed
MAPS = ("opt_gs", "opt_ls", "opt_ogd")  # whose steps are timed with and without --shard_maps, on cnn6
LIMIT = 120.0  # seconds after which a collective of the benchmark fails
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Setup:
    """What takes a step: processes, each with its cores, devices, environment and further flags of the program."""

    name: str
    cores: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    options: tuple = ()


def steps(settings, networks):
    """Yields a training step with one process and with two, which share its batch; the same cores in turns."""
    first, second = _two_cores()
    both = [first, second]
    setups = [
        Setup("1 process, 1 core", ([first],)),
        Setup("2 processes, 1 core each", ([first], [second])),
        Setup("2 processes on 2 cores", (both, both)),
        Setup("2 processes on 2 cores, 1 thread each", (both, both), _ONE_THREAD),
        Setup("1 process, 2 cores", (both,)),
    ]
    for network in networks:
        job = programs.Job(network, STEPS[network], settings.batch_size, 1, settings.width)
        figures = _timed(job, setups, settings)
        alone = figures[setups[0].name]["ms"]
        for setup, own in figures.items():
            case = {"kind": "step", "case": f"{network}, {job.method}", "setup": setup}
            yield {**case, **own, "speed_up": alone / own["ms"]}


def maps(settings, methods):
    """Yields a training step of two replicas, where each computes all maps, and where each map is computed once."""
    first, second = _two_cores()
    places = {
        "2 processes, 1 core each": (([first], [second]), ()),
        "2 virtual devices, 2 cores": (([first, second],), (("num_gpus", 2),)),
    }
    for method in methods:
        job = programs.Job("cnn6", method, settings.batch_size, 1, settings.width)
        setups = [
            Setup(f"{place}{', --shard_maps' * shard}", cores, {}, (*options, ("shard_maps", shard)))
            for place, (cores, options) in places.items()
            for shard in (False, True)
        ]
        figures = _timed(job, setups, settings)
        for setup, own in figures.items():
            everywhere = figures[setup.removesuffix(", --shard_maps")]["ms"]
            case = {"kind": "maps", "case": f"cnn6, {method}", "setup": setup}
            yield {**case, **own, "speed_up": everywhere / own["ms"]}


def _two_cores():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ValueError("--parts: step and maps need two cores, and there is one")
    return cores[:2]


def _timed(job, setups, settings):
    """Returns {name of a setup: figures of its step}."""
    with contextlib.ExitStack() as stack:
        turns = {}
        for setup in setups:
            pair = stack.enter_context(Pair(setup.cores, setup.environment))
            pair(_Step.open, pair.addresses, dataclasses.replace(job, options=setup.options))
            turns[setup.name] = functools.partial(measure.turn, functools.partial(pair, _Step.run))
        times = measure.round_robin(turns, settings.repeats, settings.seconds)
    return {name: measure.summary(seconds) for name, seconds in times.items()}


class _Step:
    """In a worker: a program with its session, as one of its cluster."""

    @staticmethod
    def open(index, addresses, job):
        cluster = Cluster(addresses, index, LIMIT) if len(addresses) > 1 else ALONE
        _Step.training = programs.Training(job, cluster=cluster)
        _Step.training.step()

    @staticmethod
    def run(index):
        _Step.training.step()
