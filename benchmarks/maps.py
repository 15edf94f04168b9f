"""Every orthogonal map, forward and with its gradients, against plain forms, torch, and one matrix product.

    python -m benchmarks.maps --sizes=576,1024 --maps=ours,plain --json=FILE --png=FILE
"""

import dataclasses
import functools
import sys
import time

from benchmarks import command, measure, reference, report, tensorflow_maps, torch_maps
from benchmarks.processes import Failed, Worker, apart
from benchmarks.report import Column
from common import flags

KEY = ("map", "n", "m", "device")
SIZES = (27, 144, 288, 576, 1024, 1152, 2304)
_ALL_SIZES = ",".join(map(str, SIZES))
PRODUCT = tensorflow_maps.PRODUCT
_LIBRARIES = {"tf": tensorflow_maps, "torch": torch_maps}
_SMALL = 16  # size at which a fresh process wakes its libraries up


@dataclasses.dataclass(frozen=True)
class Settings(command.Settings):
    """Flags of this benchmark."""

    sizes: tuple[int, ...] | None = flags.option(None, f"sizes n of the generators; {_ALL_SIZES}", minimum=2)
    columns: str = flags.option("64,n", "numbers m of the weights' columns; n means as many as rows")
    maps: str = flags.option("all", "names from the table's first column, or groups: ours, plain, unrolled, torch")
    limit: float = flags.option(2.5, "seconds of a call above which a map is called no more", above=0)


def measure_maps(settings):
    """Yields one row for each map and shape."""
    libraries = {name: key for key, module in _LIBRARIES.items() for name in module.competitors()}
    groups = {name: _LIBRARIES[libraries[name]].competitors()[name].group for name in libraries}
    names = command.chosen("maps", settings.maps, groups)
    names = [PRODUCT, *(name for name in names if name != PRODUCT)]
    shapes = [(size, columns) for size in settings.sizes or SIZES for columns in _columns(settings, size)]
    used = dict.fromkeys(libraries[name] for name in names)
    workers = {}
    try:
        for key in used:
            workers[key] = Worker(_prepare(key))
        fresh = {"tf": apart}
        if "torch" in used:  # torch is not imported here: its fresh processes are those of one that has imported it
            workers["fresh torch"] = Worker(torch_maps.prepare)
            fresh["torch"] = functools.partial(workers["fresh torch"], apart)
        workers["reference"] = Worker()
        for size, columns in shapes:
            here = {n: libraries[n] for n in names if _LIBRARIES[libraries[n]].competitors()[n].largest >= size}
            print(f"n = {size}, m = {columns}: {len(here)} maps", file=sys.stderr, flush=True)
            for name, figures in _measure_shape(settings, size, columns, here, workers, fresh).items():
                yield {"map": name, "n": size, "m": columns, "group": groups[name], **figures}
    finally:
        for worker in workers.values():
            worker.close()


def _columns(settings, size):
    """The numbers of columns asked for, each once."""
    try:
        numbers = [size if word == "n" else int(word) for word in settings.columns.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise ValueError(f"--columns={settings.columns}: expected numbers above 0 or n, with commas, as in 64,n")
    return list(dict.fromkeys(numbers))


def _prepare(key):
    return getattr(_LIBRARIES[key], "prepare", None)


def _measure_shape(settings, size, columns, here, workers, fresh):
    """Returns {name: figures} of all maps at one shape, which take turns."""
    inputs_of = {name: (size, size if name == PRODUCT else columns, settings.seed) for name in here}
    figures, open_maps = {}, []
    for name, key in here.items():
        try:
            first = workers[key] if settings.device == "gpu" else fresh[key]  # whose allocator keeps count by itself
            figures[name] = first(_first_call, key, name, inputs_of[name], settings.device)
            if figures[name]["both_ms"] <= 1000.0 * settings.limit:
                figures[name] |= workers[key](_open, key, name, inputs_of[name], settings.device)
                open_maps.append(name)
        except Failed as error:
            figures[name] = {"note": str(error)}
    for name in open_maps:
        if columns == size and name != PRODUCT:
            figures[name] |= _accuracy(name, here[name], inputs_of[name], workers)
    kinds = [(name, kind) for name in open_maps for kind in ("forward", "both") if (name, kind) != (PRODUCT, "both")]
    turns = {kind: functools.partial(workers[here[kind[0]]], _turn, *kind) for kind in kinds}
    for (name, kind), seconds in measure.round_robin(turns, settings.repeats, settings.seconds).items():
        figures[name] |= measure.summary(seconds, f"{kind}_")
    if "forward_ms" in figures[PRODUCT]:
        figures[PRODUCT] |= {f"both{end}": figures[PRODUCT][f"forward{end}"] for end in ("_ms", "_ms_low", "_ms_high")}
        figures[PRODUCT]["both_turns"] = figures[PRODUCT]["forward_turns"]
    for name in here:
        if "both_ms" in figures[name] and "both_ms" in figures[PRODUCT]:
            figures[name]["products"] = figures[name]["both_ms"] / figures[PRODUCT]["both_ms"]
    for key in {here[name] for name in open_maps}:
        workers[key](_close)
    return figures


# --- what runs in the workers -----------------------------------------------------------------------------------------

_open_cases = {}  # of this process


def _first_call(key, name, inputs, device):
    """The memory of one call of map and gradient, and its time for want of a better; on a CPU in a fresh process."""
    measure.give_freed_memory_back()
    case_of = _LIBRARIES[key].Case
    size, columns, seed = inputs
    small = case_of(name, reference.inputs(min(size, _SMALL), min(columns, _SMALL), seed), device)
    small.both()
    small.close()
    case = case_of(name, reference.inputs(*inputs), device)
    start = time.perf_counter()
    peak = case.gpu_memory() if device == "gpu" else measure.peak_memory(case.both)
    if key == "tf":  # whose first call also optimises the graph
        start = time.perf_counter()
        case.both()
    milliseconds = 1000.0 * (time.perf_counter() - start)
    case.close()
    return {"peak_mib": peak, "both_ms": milliseconds, "both_turns": 1}


def _open(key, name, inputs, device):
    case = _open_cases[name] = _LIBRARIES[key].Case(name, _inputs(*inputs), device)
    case.forward()  # a first call is not typical
    case.both()
    return {"nodes": case.nodes}


def _turn(name, kind):
    return measure.turn(getattr(_open_cases[name], kind))


def _results(name):
    return _open_cases[name].gradient(), _open_cases[name].rotation()


def _close():
    while _open_cases:
        _open_cases.popitem()[1].close()


def _own_reference(name, inputs):
    return torch_maps.own_reference(name, _inputs(*inputs))


def _accuracy(name, key, inputs, workers):
    """The error of Q, and of the gradient of P against float64, both of the float32 results."""
    gradient, rotation = workers[key](_results, name)
    known = _LIBRARIES[key].competitors()[name].reference
    if known:
        error = workers["reference"](_gradient_error, known, inputs, gradient)
    else:
        error = reference.relative(gradient, workers[key](_own_reference, name, inputs))
    return {"orthogonality": reference.orthogonality(rotation), "gradient_error": error}


def _gradient_error(known, inputs, gradient):
    _, weights, upstream = [value.astype("float64") for value in _inputs(*inputs)]
    return reference.relative(gradient, _reference(known, inputs)[1](weights, upstream))


@functools.lru_cache(maxsize=4)
def _reference(known, inputs):
    return getattr(reference, known)(_inputs(*inputs)[0].astype("float64"))


@functools.lru_cache(maxsize=2)
def _inputs(size, columns, seed):
    return reference.inputs(size, columns, seed)


# --- what is shown ----------------------------------------------------------------------------------------------------

_COLUMNS = (
    Column("map", report.text("map")),
    Column("forward, ms", report.times("forward_")),
    Column("forward + backward, ms", report.times("both_")),
    Column("in products", report.number("products", ".1f")),
    Column("nodes", report.number("nodes", ",d")),
    Column("peak, MiB", report.number("peak_mib", ",.0f")),
    Column("‖QQᵀ - I‖", report.number("orthogonality", ".1e")),
    Column("gradient error", report.number("gradient_error", ".1e")),
    Column("GPU, ms", lambda row: report.times("both_")(row["gpu"])),
    Column("GPU in products", lambda row: report.number("products", ".1f")(row["gpu"])),
)


def tables(rows):
    """Returns a table for each shape."""
    rows = report.of_gpu(rows, KEY)
    parts = []
    for size, columns in sorted({(row["n"], row["m"]) for row in rows}):
        here = [row for row in rows if (row["n"], row["m"]) == (size, columns)]
        parts.append(f"n = {size}, m = {columns}\n\n{report.table(here, _COLUMNS)}")
        parts += [f"- {row['map']}: {row['note']}\n" for row in here if row.get("note")]
    return "\n".join(parts)


def plot(rows, path):
    """Writes time against n, one panel for few columns and one for as many as rows."""
    shape, axes = report.figure(columns=2, width=8.0, height=7.0)
    panels = (("few columns", lambda row: row["m"] < row["n"]), ("m = n", lambda row: row["m"] == row["n"]))
    for axis, (title, belongs) in zip(axes, panels):
        here = [row for row in rows if belongs(row) and row.get("both_ms")]
        for index, (name, device) in enumerate(dict.fromkeys((row["map"], row["device"]) for row in here)):
            line = sorted((row["n"], row["both_ms"]) for row in here if (row["map"], row["device"]) == (name, device))
            style = {"yardstick": "k--", "ours": "o-", "torch": "s:"}.get(_group(here, name), "^-.")
            label = name if device == "cpu" else f"{name} (GPU)"
            color = {} if style == "k--" else {"color": f"C{index % 10}"}
            axis.loglog(*zip(*line), style, label=label, markersize=4, linewidth=1, **color)
        axis.set(title=f"forward + backward, {title}, float32", xlabel="n", ylabel="ms")
        axis.grid(True, which="both", alpha=0.2)
        if here:
            axis.legend(fontsize=7, loc="upper left")
    report.save(shape, path)


def _group(rows, name):
    return next(row["group"] for row in rows if row["map"] == name)


BENCHMARK = command.Benchmark("maps", Settings, KEY, measure_maps, tables, plot)

if __name__ == "__main__":
    command.main(BENCHMARK)
