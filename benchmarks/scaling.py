"""How cost grows: of the maps with n, as an exponent, and of a training step with the batch, as so much per image.

    python -m benchmarks.scaling --json=FILE --png=FILE
"""

import dataclasses
import functools
import sys

import numpy as np

from benchmarks import command, measure, maps, programs, report
from benchmarks.processes import apart
from benchmarks.report import Column
from common import flags

KEY = ("kind", "competitor", "x", "device")
SIZES = (144, 288, 576, 864, 1152, 1728)
BATCHES = (16, 32, 64, 128, 256)


@dataclasses.dataclass(frozen=True)
class Settings(command.Settings):
    """Flags of this benchmark."""

    sizes: tuple[int, ...] | None = flags.option(None, f"sizes n; {','.join(map(str, SIZES))}", minimum=2)
    columns: int = flags.option(64, "number m of the weights' columns", minimum=1)
    maps: str = flags.option("cayley,gram_schmidt,householder,lowdin", "maps, or none; as of benchmarks.maps")
    batch_sizes: tuple[int, ...] | None = flags.option(None, f"batches; {','.join(map(str, BATCHES))}", minimum=1)
    network: str = flags.option("cnn6", "cnn6, cnn9 or resnet-DEPTH-WIDEN")
    methods: str = flags.option("all", "methods; none for no steps; as of benchmarks.step")
    width: int = flags.option(64, "filters of cnn6 and cnn9, everywhere", minimum=1)
    limit: float = flags.option(2.5, "seconds of a call above which a map is called no more", above=0)


def measure_scaling(settings):
    """Yields one row for each map and n, and for each method and batch size."""
    if settings.maps != "none":
        shared = {name: getattr(settings, name) for name in ("maps", "repeats", "seconds", "limit", "seed", "device")}
        sizes = settings.sizes or SIZES
        for row in maps.measure_maps(maps.Settings(sizes=sizes, columns=str(settings.columns), **shared)):
            times = {field.removeprefix("both_"): row[field] for field in row if field.startswith("both_")}
            yield {"kind": "map", "competitor": row["map"], "x": row["n"], **times}
    if settings.methods != "none":
        names = programs.methods(settings.network)
        chosen = command.chosen("methods", settings.methods, programs.GROUPS)
        for batch in settings.batch_sizes or BATCHES:
            print(f"{settings.network}: batch {batch}", file=sys.stderr, flush=True)
            jobs = [
                programs.Job(settings.network, name, batch, 1, settings.width, (), settings.seed, settings.device)
                for name in names
                if name in chosen
            ]
            for method, times in apart(_time, jobs, settings.repeats, settings.seconds).items():
                yield {"kind": "step", "competitor": method, "x": batch, **times}


def _time(jobs, repeats, seconds):
    """In one process: the steps of all methods in turn."""
    trainings = {job.method: programs.Training(job) for job in jobs}
    for training in trainings.values():
        training.step()
    turns = {name: functools.partial(measure.turn, training.step) for name, training in trainings.items()}
    return {name: measure.summary(times) for name, times in measure.round_robin(turns, repeats, seconds).items()}


def exponent(points):
    """Returns p of y = c x^p by least squares of logarithms, over the larger half of the (x, y); None for too few.

    The smaller half is where fixed costs show, and the exponent wanted is that of large x.
    """
    points = sorted(points)[-max(2, (len(points) + 1) // 2) :]
    if len({x for x, _ in points}) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(points, float).T), 1)[0])


def line(points):
    """Returns (a, b) of y = a + b x by least squares over all (x, y); None for too few."""
    if len({x for x, _ in points}) < 2:
        return None
    slope, start = np.polyfit(*np.array(points, float).T, 1)
    return float(start), float(slope)


def tables(rows):
    """Returns a table of the maps, one column for each n, with exponents, and one of the steps for each batch."""
    parts = []
    for device in dict.fromkeys(row["device"] for row in rows):
        for kind, name, unit, fits in (
            ("map", "map, forward + backward, ms", "n", _EXPONENT),
            ("step", "step, ms", "batch", _LINE),
        ):
            here = [row for row in rows if row["kind"] == kind and row["device"] == device and row.get("ms")]
            if here:
                lines = _by_competitor(here)
                sizes = sorted({row["x"] for row in here})
                columns = [Column(name, report.text("competitor"))]
                columns += [Column(f"{unit} = {size}", functools.partial(_cell, size)) for size in sizes]
                parts.append(f"On the {device.upper()}:\n\n" + report.table(lines, [*columns, *fits]))
    return "\n".join(parts)


def _by_competitor(rows):
    names = dict.fromkeys(row["competitor"] for row in rows)
    return [{"competitor": name, "of": {row["x"]: row for row in rows if row["competitor"] == name}} for name in names]


def _cell(size, line_of):
    return report.times()(line_of["of"].get(size, {}))


def _points(line_of):
    return [(size, row["ms"]) for size, row in line_of["of"].items()]


def _fixed_and_slope(line_of, index, form):
    fitted = line(_points(line_of))
    return report.EMPTY if fitted is None else format(fitted[index], form)


def _shown_exponent(line_of):
    fitted = exponent(_points(line_of))
    return report.EMPTY if fitted is None else f"{fitted:.2f}"


_EXPONENT = (Column("exponent", _shown_exponent),)
_LINE = (
    Column("fixed, ms", lambda line_of: _fixed_and_slope(line_of, 0, ",.1f")),
    Column("ms for an image", lambda line_of: _fixed_and_slope(line_of, 1, ",.3f")),
)


def plot(rows, path):
    """Writes time against n with the exponents, and step time against the batch with the fitted lines."""
    shape, axes = report.figure(columns=2)
    for axis, kind, label in zip(axes, ("map", "step"), ("n", "images in a batch")):
        here = [row for row in rows if row["kind"] == kind and row.get("ms")]
        for device in dict.fromkeys(row["device"] for row in here):
            for line_of in _by_competitor([row for row in here if row["device"] == device]):
                points = sorted(_points(line_of))
                text = f"{line_of['competitor']}{' (GPU)' if device == 'gpu' else ''}"
                if kind == "map":
                    text += f", n^{_shown_exponent(line_of)}"
                axis.plot(*zip(*points), "o-", markersize=4, linewidth=1, label=text)
        axis.set(xlabel=label, ylabel="ms", title={"map": "maps, forward + backward", "step": "training step"}[kind])
        if kind == "map":
            axis.set(xscale="log", yscale="log")
        axis.grid(True, which="both", alpha=0.2)
        if here:
            axis.legend(fontsize=7)
    report.save(shape, path)


BENCHMARK = command.Benchmark("scaling", Settings, KEY, measure_scaling, tables, plot, gpu_columns=False)

if __name__ == "__main__":
    command.main(BENCHMARK)
