"""The training step of every method against ordinary training, another checkout or PyTorch, and evaluation.

python -m benchmarks.step --networks=cnn6,resnet-16-2 --json=FILE
python -m benchmarks.step --networks=cnn6 --against=/path/of/another/checkout
python -m benchmarks.step --networks=cnn6 --against=torch
"""

import dataclasses
import functools
import sys

from benchmarks import command, compare, measure, programs, records
from benchmarks.processes import apart, noted
from common import flags
from common.results.tables import number

KEY = ("network", "method", "batch", "xla", "precision", "device", "against")


@dataclasses.dataclass(frozen=True)
class Settings(command.Settings):
    """Flags of this benchmark."""

    networks: str = flags.option("cnn6,resnet-16-2", "cnn6, cnn9 or resnet-DEPTH-WIDEN, with commas between them")
    methods: str = flags.option("all", "methods to compare with ordinary training, or opt, or grassmann")
    batch_size: int = flags.option(128, "images of a step", minimum=1)
    width: int = flags.option(64, "filters of cnn6 and cnn9, everywhere", minimum=1)
    test_images: int = flags.option(1000, "images of an evaluation; 0 leaves evaluation out", minimum=0)
    xla: bool = flags.option(False, "measure the programs with their --xla")
    precision: str = flags.option("float32", "measure the programs with this --precision")
    against: str | None = flags.path(None, "root of another checkout, whose steps alternate with ours, or torch")


def jobs(settings):
    """Returns {network: [Job]}, ordinary training first in each list."""
    known = {network: programs.methods(network) for network in settings.networks.split(",")}
    chosen = command.chosen("methods", settings.methods, {n: g for of_all in known.values() for n, g in of_all.items()})
    options = {"xla": settings.xla, "precision": settings.precision}
    options = tuple((name, value) for name, value in options.items() if value not in (False, "float32"))
    sizes = (settings.batch_size, settings.test_images or 1, settings.width)
    found = {
        network: [
            programs.Job(network, method, *sizes, options, settings.seed, settings.device)
            for method in of_network
            if method in chosen or method == next(iter(of_network))
        ]
        for network, of_network in known.items()
    }
    for of_network in found.values():
        programs.program_of(of_network[0])
    return found


def shared_fields(settings):
    """Returns what all rows of one command share: {field: value}."""
    return {"batch": settings.batch_size, "xla": settings.xla, "precision": settings.precision}


def measure_steps(settings):
    """Yields one row for each network and method."""
    same = shared_fields(settings)
    for network, competitors in jobs(settings).items():
        print(f"{network}: {', '.join(job.method for job in competitors)}", file=sys.stderr, flush=True)
        rows = _against(competitors, settings) if settings.against else _among(competitors, settings)
        for method, row in rows:
            yield {"network": network, "method": method, **same, "against": settings.against, **row}


def _against(competitors, settings):
    """Yields (method, numbers) of each method here and in another checkout or PyTorch."""
    for job in competitors:
        yield job.method, noted(compare.both, job, settings.against, settings.repeats, settings.seconds)


def _among(competitors, settings):
    """Yields (method, numbers) of methods that alternate."""
    found = {job.method: noted(apart, programs.first_steps, job) for job in competitors}
    here = [job for job in competitors if "note" not in found[job.method]]
    for method, times in apart(_time, here, settings.repeats, settings.seconds, settings.test_images > 0).items():
        found[method] |= times
    ordinary = found[competitors[0].method]
    for method, own in found.items():
        ratios = {
            f"{name}_ratio": own[name] / ordinary[name]
            for name in ("ms", "evaluation_ms", "tensors_mib")
            if own.get(name) and ordinary.get(name)
        }
        if own.get("ms"):
            ratios["images_per_second"] = 1000.0 * settings.batch_size / own["ms"]
            ratios["data_share"] = own["data_ms"] / own["ms"]
        yield method, {**own, **ratios}


def _time(competitors, repeats, seconds, evaluation):
    """In one process: steps, batches and evaluations of all competitors, alternating. Returns {method: numbers}."""
    trainings = {job.method: programs.Training(job, evaluation) for job in competitors}
    for training in trainings.values():
        training.step()
    kinds = {"step": "", "data": "data_"} | ({"evaluate": "evaluation_"} if evaluation else {})
    samples = {
        (method, kind): functools.partial(measure.sample, getattr(training, kind))
        for method, training in trainings.items()
        for kind in kinds
    }
    found = {method: {} for method in trainings}
    for (method, kind), times in measure.round_robin(samples, repeats, seconds).items():
        found[method] |= measure.summary(times, kinds[kind])
    for training in trainings.values():
        training.check()
    return found


def conditions(row):
    """Returns under what a row was measured, in words."""
    name = f"batch {row['batch']}, {row['precision']}{', XLA' if row['xla'] else ''}"
    return f"{name}, {row['device'].upper()}" + (f", against {row['against']}" if row.get("against") else "")


def title(row):
    """Returns what the rows of one table share, in words."""
    return f"{row['network']}, {conditions(row)}"


def cells(row):
    """Returns {column: text} of a row."""
    if row.get("against"):
        return compare.cells(row)
    return {
        "method": row["method"],
        "step, ms": records.times(row),
        "of ordinary": number(row.get("ms_ratio"), ".2f"),
        "images/s": number(row.get("images_per_second"), ",.0f"),
        "waits for data": number(row.get("data_share"), ".1%"),
        "graph built, s": number(row.get("build_s"), ".1f"),
        "first step, s": number(row.get("first_step_s"), ".1f"),
        "nodes": number(row.get("nodes"), ",d"),
        "tensors, MiB": number(row.get("tensors_mib"), ",.0f"),
        "tensors of ordinary": number(row.get("tensors_mib_ratio"), ".2f"),
        "process, MiB": number(row.get("process_mib"), ",.0f"),
        "evaluation, ms": records.times(row, "evaluation_"),
        "evaluation of ordinary": number(row.get("evaluation_ms_ratio"), ".2f"),
    }


BENCHMARK = command.Benchmark("step", Settings, KEY, measure_steps, title, cells)

if __name__ == "__main__":
    command.main(BENCHMARK)
