"""What a benchmark leaves behind: a JSON file that grows by parts, Markdown tables of it, a plot.

The file is {"benchmark": name, "runs": [what each run depended on], "rows": [{key fields, "run", figures}]}. A row
replaces one of equal key, so a long benchmark can be run in parts, or a part of it again.
"""

import json
import math
import os

from common.results import drawing
from common.results.tables import EMPTY, Column, number, significant, table, text  # noqa: F401, benchmarks' names too


def new(benchmark, run):
    """Returns the results of a benchmark that has no rows yet; `run` is what they will depend on."""
    return {"benchmark": benchmark, "runs": [run], "rows": []}


def read(path):
    """Returns the results in a file. Raises ValueError if it is not such a file."""
    try:
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError):
        results = None
    if not isinstance(results, dict) or not {"benchmark", "runs", "rows"} <= set(results):
        raise ValueError(f"{path} is not a file of results; name another --json, or remove it")
    return results


def merged(old, results, key):
    """Returns the results of both, rows of equal `key` fields being those of the second; runs without rows are dropped.

    Raises ValueError if they are of different benchmarks.
    """
    if old["benchmark"] != results["benchmark"]:
        raise ValueError(
            f"the file holds results of {old['benchmark']}, not of {results['benchmark']}; name another --json"
        )
    rows = {tuple(row.get(field) for field in key): (row, old["runs"]) for row in old["rows"]}
    rows |= {tuple(row.get(field) for field in key): (row, results["runs"]) for row in results["rows"]}
    runs = []
    for row, own_runs in rows.values():
        if own_runs[row["run"]] not in runs:
            runs.append(own_runs[row["run"]])
    rows = [{**row, "run": runs.index(own_runs[row["run"]])} for row, own_runs in rows.values()]
    return {"benchmark": results["benchmark"], "runs": runs, "rows": rows}


def write(path, results, key):
    """Writes results into a file, together with what it holds already; returns all of them."""
    if os.path.exists(path):
        results = merged(read(path), results, key)
    text = json.dumps(_plain(results), indent=1) + "\n"
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.part", path)
    return results


def _plain(value):
    """The same without what JSON does not know: NaN and infinities become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def times(prefix=""):
    """Shows a `measure.summary`: the median, and the quartiles behind it."""

    def show(row):
        if row.get(f"{prefix}ms") is None:
            return EMPTY
        if row.get(f"{prefix}turns") == 1:
            return f"{significant(row[f'{prefix}ms'])} (once)"
        quartiles = [significant(row[f"{prefix}ms_{end}"]) for end in ("low", "high")]
        return f"{significant(row[f'{prefix}ms'])} ({quartiles[0]}..{quartiles[1]})"

    return show


def of_gpu(rows, key):
    """Returns the rows of the CPU, each with the row of the GPU of equal key, or {}, as "gpu"; GPU rows alone last."""

    def name(row):
        return tuple(row.get(field) for field in key if field != "device")

    on_gpu = {name(row): row for row in rows if row["device"] == "gpu"}
    on_cpu = [{**row, "gpu": on_gpu.pop(name(row), {})} for row in rows if row["device"] == "cpu"]
    empty = [{**{field: row.get(field) for field in (*key, "group")}, "gpu": row} for row in on_gpu.values()]
    return on_cpu + empty


NO_GPU = "The GPU columns are empty: not measured on one. `--device=gpu --json=...` with the same file fills them."


def footnotes(results, gpu_columns=True):
    """Returns lines on what the figures depend on; `gpu_columns` is whether there are any that may be empty."""
    lines = []
    for index, run in enumerate(results["runs"]):
        count = sum(row["run"] == index for row in results["rows"])
        details = ", ".join(f"{name} {value}" for name, value in run.items() if name != "command" and value)
        lines.append(f"- {count} rows: `{run.get('command', '')}`; {details}.")
    if gpu_columns and all(row["device"] == "cpu" for row in results["rows"]):
        lines.append(f"- {NO_GPU}")
    return "\n".join(lines) + "\n"


def figure(rows=1, columns=1, width=6.0, height=4.5):
    """Returns (figure, axes as a flat list) of Matplotlib, for a file. Raises ValueError if it is not installed."""
    drawing.library("--png needs Matplotlib: pip install -e '.[bench]', or leave --png out").use("Agg")
    from matplotlib import pyplot

    shape, axes = pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False)
    return shape, list(axes.flat)


def save(shape, path):
    """Writes a figure to a PNG file."""
    from matplotlib import pyplot

    shape.tight_layout()
    shape.savefig(path, dpi=110, format="png")
    pyplot.close(shape)
