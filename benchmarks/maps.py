"""Every orthogonal map, forward and with its gradients, against plain forms, torch, and one matrix product.

python -m benchmarks.maps --sizes=576,1024 --maps=ours,plain --json=FILE
"""

import dataclasses
import functools
import sys
import time

from benchmarks import command, measure, records, reference, tensorflow_maps, torch_maps
from benchmarks.processes import Failed, Worker
from common import flags
from common.results.tables import number

KEY = ("map", "n", "m", "device")
SIZES = (576, 1024)
PRODUCT = tensorflow_maps.PRODUCT
_LIBRARIES = {"tf": tensorflow_maps, "torch": torch_maps}


@dataclasses.dataclass(frozen=True)
class Settings(command.Settings):
    """Flags of this benchmark."""

    sizes: tuple[int, ...] | None = flags.option(None, "sizes n of the generators; 576,1024", minimum=2)
    columns: int = flags.option(64, "number m of the weights' columns", minimum=1)
    maps: str = flags.option("all", "names from the table's first column, or groups: ours, plain, torch")
    limit: float = flags.option(2.5, "seconds of a call above which a map is called no more", above=0)


def measure_maps(settings):
    """Yields one row for each map and size."""
    libraries = {name: key for key, module in _LIBRARIES.items() for name in module.competitors()}
    groups = {name: _LIBRARIES[libraries[name]].competitors()[name][0] for name in libraries}
    names = command.chosen("maps", settings.maps, groups)
    names = [PRODUCT, *(name for name in names if name != PRODUCT)]
    # A process for each library: their threads would spin against each other. None of them has run an operation yet.
    workers = {key: Worker(getattr(_LIBRARIES[key], "prepare", None)) for key in {libraries[name] for name in names}}
    try:
        for size in settings.sizes or SIZES:
            print(f"n = {size}, m = {settings.columns}: {len(names)} maps", file=sys.stderr, flush=True)
            found = _measure_size(settings, size, {name: (libraries[name], workers[libraries[name]]) for name in names})
            for name, values in found.items():
                yield {"map": name, "n": size, "m": settings.columns, **values}
    finally:
        for worker in workers.values():
            worker.close()


def _measure_size(settings, size, competitors):
    """Returns {name: numbers} of maps, {name: (library, worker)}, that alternate at one size."""
    found, samples = {}, {}
    for name, (key, worker) in competitors.items():
        inputs = (size, size if name == PRODUCT else settings.columns, settings.seed)
        try:
            found[name], results = worker(_open, key, name, inputs, settings.device)
        except Failed as error:
            found[name] = {"note": str(error)}
            continue
        known = _LIBRARIES[key].competitors()[name][1]
        found[name] |= {} if name == PRODUCT else _errors(known, inputs, *results)
        if found[name]["both_ms"] <= 1000.0 * settings.limit:
            for kind in ("forward",) if name == PRODUCT else ("forward", "both"):
                samples[name, kind] = functools.partial(worker, _sample, name, kind)
    for (name, kind), seconds in measure.round_robin(samples, settings.repeats, settings.seconds).items():
        found[name] |= measure.summary(seconds, f"{kind}_")
        if name == PRODUCT:
            found[name] |= measure.summary(seconds, "both_")
    for values in found.values():
        if "both_ms" in values and "both_ms" in found[PRODUCT]:
            values["products"] = values["both_ms"] / found[PRODUCT]["both_ms"]
    for name, (_, worker) in competitors.items():
        worker(_close, name)
    return found


def _errors(known, inputs, result, gradient):
    """How far a float32 map is from an orthogonal one, by the products of columns, and its gradient from float64's."""
    _, weights, upstream = [value.astype("float64") for value in reference.inputs(*inputs)]
    result = result.astype("float64")
    found = {"orthogonality": reference.relative(result.T @ result, weights.T @ weights)}
    if known:
        found["gradient_error"] = reference.relative(gradient, _reference(known, inputs)[1](weights, upstream))
    return found


@functools.lru_cache(maxsize=8)
def _reference(known, inputs):
    return getattr(reference, known)(reference.inputs(*inputs)[0].astype("float64"))


# --- what runs in the workers -----------------------------------------------------------------------------------------

_cases = {}  # of this process


def _open(key, name, inputs, device):
    """Returns ({nodes, memory, time of one call}, results) of a map that is open from then on."""
    case = _cases[name] = _LIBRARIES[key].Case(name, reference.inputs(*inputs), device)
    results = case.results()  # a first call is not typical
    start = time.perf_counter()
    case.both()
    once = {"both_ms": 1000.0 * (time.perf_counter() - start), "both_turns": 1}
    return {**once, "nodes": case.nodes, "tensors_mib": case.memory()}, results


def _sample(name, kind):
    return measure.sample(getattr(_cases[name], kind))


def _close(name):
    if name in _cases:
        _cases.pop(name).close()


# --- what is shown ----------------------------------------------------------------------------------------------------


def title(row):
    """Returns what the rows of one table share, in words."""
    return f"n = {row['n']}, m = {row['m']}, float32, {row['device'].upper()}"


def cells(row):
    """Returns {column: text} of a row."""
    return {
        "map": row["map"],
        "forward, ms": records.times(row, "forward_"),
        "forward + backward, ms": records.times(row, "both_"),
        "in products": number(row.get("products"), ".1f"),
        "nodes": number(row.get("nodes"), ",d"),
        "tensors, MiB": number(row.get("tensors_mib"), ",.0f"),
        "orthogonality": number(row.get("orthogonality"), ".1e"),
        "gradient error": number(row.get("gradient_error"), ".1e"),
    }


BENCHMARK = command.Benchmark("maps", Settings, KEY, measure_maps, title, cells)

if __name__ == "__main__":
    command.main(BENCHMARK)
