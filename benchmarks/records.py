"""What a benchmark leaves behind: a JSON file that grows by parts, and the Markdown tables of such a file.

The file is {"benchmark": name, "runs": [what each run depended on], "rows": [{key fields, "run", numbers}]}. A row
replaces one of equal key, so a long benchmark can be run in parts, or a part of it again.
"""

import json
import math
import os

from common import files
from common.results.tables import EMPTY, markdown, significant


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
        names = f"holds results of {old['benchmark']}, not of {results['benchmark']}"
        raise ValueError(f"the file {names}; name another --json")
    rows = {
        tuple(row.get(field) for field in key): (row, part["runs"][row["run"]])
        for part in (old, results)
        for row in part["rows"]
    }
    runs = []
    for _, run in rows.values():
        if run not in runs:
            runs.append(run)
    rows = [{**row, "run": runs.index(run)} for row, run in rows.values()]
    return {"benchmark": results["benchmark"], "runs": runs, "rows": rows}


def write(path, results, key):
    """Writes results into a file, together with what it holds already."""
    if os.path.exists(path):
        results = merged(read(path), results, key)
    files.replace(path, json.dumps(_plain(results), indent=1) + "\n")


def _plain(value):
    """The same without what JSON does not know: NaN and infinities become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tables(rows, title, cells):
    """Returns Markdown: a table for each `title(row)`, with rows {title: text} from `cells(row)`, and notes below."""
    parts = []
    for name in dict.fromkeys(map(title, rows)):
        here = [row for row in rows if title(row) == name]
        parts.append(f"{name}\n\n{markdown(list(map(cells, here)))}")
        parts += [f"- {next(iter(cells(row).values()))}: {row['note']}\n" for row in here if row.get("note")]
    return "\n".join(parts)


def times(row, prefix=""):
    """Shows a `measure.summary` in a row: the median, and the quartiles behind it."""
    if row.get(f"{prefix}ms") is None:
        return EMPTY
    if row.get(f"{prefix}samples") == 1:
        return f"{significant(row[f'{prefix}ms'])} (once)"
    low, high = (significant(row[f"{prefix}ms_{end}"]) for end in ("low", "high"))
    return f"{significant(row[f'{prefix}ms'])} ({low}..{high})"


def footnotes(results):
    """Returns lines on what the results depend on: commands, machine, versions, dates."""
    lines = []
    for index, run in enumerate(results["runs"]):
        count = sum(row["run"] == index for row in results["rows"])
        details = ", ".join(f"{name} {value}" for name, value in run.items() if name != "command" and value)
        lines.append(f"- {count} rows: `{run.get('command', '')}`; {details}.\n")
    return "".join(lines)
