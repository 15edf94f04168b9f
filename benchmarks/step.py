"""The training step of every method against ordinary training, and evaluation.

    python -m benchmarks.step --networks=cnn6,resnet-16-2 --json=FILE --png=FILE
"""

import dataclasses
import functools
import sys

from benchmarks import command, gpu, measure, programs, report
from benchmarks.processes import Failed, apart
from benchmarks.report import Column
from common import flags

KEY = ("network", "method", "batch", "xla", "precision", "device")


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


def options(settings):
    """The settings of the programs that differ from their defaults."""
    given = {"xla": settings.xla, "precision": settings.precision}
    return tuple((name, value) for name, value in given.items() if value not in (False, "float32"))


def jobs(settings):
    """Returns {network: [Job]}, ordinary training first in each list."""
    found, chosen = {}, command.chosen("methods", settings.methods, programs.GROUPS)
    for network in settings.networks.split(","):
        names = programs.methods(network)
        found[network] = [
            programs.Job(
                network,
                method,
                settings.batch_size,
                settings.test_images or 1,
                settings.width,
                options(settings),
                settings.seed,
                settings.device,
            )
            for method in names
            if method in chosen or method == names[0]
        ]
        programs.program_of(found[network][0])
    return found


def measure_steps(settings):
    """Yields one row for each network and method."""
    for network, competitors in jobs(settings).items():
        print(f"{network}: {', '.join(job.method for job in competitors)}", file=sys.stderr, flush=True)
        figures = {}
        for job in competitors:
            try:
                figures[job.method] = apart(programs.first_steps, job)
            except Failed as error:
                figures[job.method] = {"note": str(error)}
        here = [job for job in competitors if "note" not in figures[job.method]]
        timed = apart(_time, here, settings.repeats, settings.seconds, settings.test_images > 0)
        for job in here:
            figures[job.method] |= timed[job.method]
        for job in competitors:
            derived = _derived(figures[job.method], figures[competitors[0].method], settings.batch_size)
            yield {
                "network": network,
                "method": job.method,
                "batch": settings.batch_size,
                "xla": settings.xla,
                "precision": settings.precision,
                "baseline": competitors[0].method,
                **figures[job.method],
                **derived,
            }


def _time(competitors, repeats, seconds, evaluation):
    """In one process: steps, batches and evaluations of all competitors in turn. Returns {method: figures}."""
    trainings = {job.method: programs.Training(job, evaluation) for job in competitors}
    for training in trainings.values():
        training.step()
    kinds = {"step": "", "data": "data_"} | ({"evaluate": "evaluation_"} if evaluation else {})
    turns = {
        (method, kind): functools.partial(measure.turn, getattr(training, kind))
        for method, training in trainings.items()
        for kind in kinds
    }
    figures = {method: {} for method in trainings}
    for (method, kind), times in measure.round_robin(turns, repeats, seconds).items():
        figures[method] |= measure.summary(times, kinds[kind])
    for method, training in trainings.items():
        training.check()
        if competitors[0].device == "gpu":
            figures[method]["utilisation"] = gpu.utilisation(training.step)
    return figures


def _derived(own, ordinary, batch_size):
    """Ratios to ordinary training, and what memory the maps are allowed."""
    derived = {}
    if "ms" in own:
        derived["images_per_second"] = 1000.0 * batch_size / own["ms"]
        derived["data_share"] = own["data_ms"] / own["ms"]
    for field, ratio in (("ms", "ratio"), ("evaluation_ms", "evaluation_ratio"), ("tensors_mib", "tensors_ratio")):
        if own.get(field) and ordinary.get(field):
            derived[ratio] = own[field] / ordinary[field]
    if own.get("tensors_mib") and ordinary.get("tensors_mib"):
        derived["allowed_mib"] = 1.3 * ordinary["tensors_mib"] + 12 * own["map_mib"]
    return derived


_COLUMNS = (
    Column("method", report.text("method")),
    Column("step, ms", report.times()),
    Column("of ordinary", report.number("ratio", ".2f")),
    Column("images/s", report.number("images_per_second", ",.0f")),
    Column("waits for data", report.number("data_share", ".1%")),
    Column("graph built, s", report.number("build_s", ".1f")),
    Column("first step, s", report.number("first_step_s", ".1f")),
    Column("nodes", report.number("nodes", ",d")),
    Column("tensors, MiB", report.number("tensors_mib", ",.0f")),
    Column("of ordinary", report.number("tensors_ratio", ".2f")),
    Column("1.3 x ordinary + 12 n², MiB", report.number("allowed_mib", ",.0f")),
    Column("process, MiB", report.number("peak_mib", ",.0f")),
    Column("evaluation, ms", report.times("evaluation_")),
    Column("of ordinary", report.number("evaluation_ratio", ".2f")),
    Column("GPU: steps/s", lambda row: _gpu_speed(row["gpu"])),
    Column("of ordinary", lambda row: report.number("ratio", ".2f")(row["gpu"])),
    Column("busy", lambda row: report.number("utilisation", ".0f")(row["gpu"])),
)


def _gpu_speed(row):
    return f"{1000.0 / row['ms']:,.1f}" if row.get("ms") else report.EMPTY


def tables(rows):
    """Returns a table for each network, batch size and precision."""
    rows = report.of_gpu(rows, KEY)
    parts = []
    for name in dict.fromkeys(title(row) for row in rows):
        here = [row for row in rows if title(row) == name]
        parts.append(f"{name}\n\n{report.table(here, _COLUMNS)}")
        parts += [f"- {row['method']}: {row['note']}\n" for row in here if row.get("note")]
    return "\n".join(parts)


def title(row):
    """Returns what the rows of one table share, in words."""
    return f"{row['network']}, batch {row['batch']}, {row['precision']}{', XLA' if row['xla'] else ''}"


def plot(rows, path):
    """Writes bars of the step's time, a panel for each table, with quartiles."""
    rows = [{**row, "title": f"{title(row)}, {row['device'].upper()}"} for row in rows if row.get("ms")]
    titles = list(dict.fromkeys(row["title"] for row in rows))
    shape, axes = report.figure(columns=max(len(titles), 1))
    for axis, name in zip(axes, titles):
        here = [row for row in rows if row["title"] == name]
        values = [row["ms"] for row in here]
        spread = [[row["ms"] - row["ms_low"] for row in here], [row["ms_high"] - row["ms"] for row in here]]
        axis.bar([row["method"] for row in here], values, yerr=spread, capsize=4, color="C0")
        axis.axhline(values[0], color="k", linestyle=":", linewidth=1)
        axis.set(title=name, ylabel="ms per step")
        axis.tick_params(axis="x", rotation=45)
    report.save(shape, path)


BENCHMARK = command.Benchmark("step", Settings, KEY, measure_steps, tables, plot)

if __name__ == "__main__":
    command.main(BENCHMARK)
