"""Tables of groups of runs, and all files of a report: the table in Markdown and CSV, the curves as CSV, the figure."""

import csv
import io
import math
import os
import statistics

from common import files
from common.results import figures
from common.results.runs import relative

FORMATS = (".md", ".csv")
EMPTY = "-"


def write(groups, power, paths):
    """Writes what is known of groups into files, each by its ending; the curves beside a .csv.

    Args:
      groups: list of `Group`.
      power: the s of the hyperspherical energy.
      paths: of the files, which end in one of `FORMATS` or of `figures.FORMATS`. Their folders are made.

    Raises ValueError if a folder cannot be made, or, when the tables are written, nothing can be drawn.
    """
    for folder in {os.path.dirname(path) or "." for path in paths}:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from None
    for path in paths:
        if path.endswith(".md"):
            files.replace(path, markdown(texts(groups)))
        elif path.endswith(".csv"):
            files.replace(path, to_csv(list(map(values, groups))))
            files.replace(f"{path.removesuffix('.csv')}-curves.csv", to_csv(figures.points(groups, power)))
    plots = [path for path in paths if path.endswith(figures.FORMATS)]
    figure = figures.draw(groups, power) if plots else None
    for path in plots:
        figures.save(figure, path)


def values(group):
    """Returns the row of a group for a CSV file: {field: number or text}, None for what is not known."""
    method, network, data = group.names
    counted = group.counted
    lengths = {run.steps for run in counted}
    energies = [run.energy(1) for run in counted]
    return {
        "label": group.label,
        "method": method,
        "network": network,
        "data": data,
        "runs": max(len(group.runs), group.wanted),
        "finished": len(group.complete),
        "updates": max((run.done for run in counted), default=0),
        "updates_of_run": lengths.pop() if len(lengths) == 1 else None,
        "split": group.split,
        **_spread("final_error", [newest for newest, _ in group.errors()]),
        **_spread("best_error", [lowest for _, lowest in group.errors()]),
        "images_per_second": _median(run.images_per_second for run in counted),
        "seconds": _median(run.seconds for run in counted),
        "paper_error": group.paper,
        "rates": group.rates,
        "free_parameters": _median(run.freedom for run in counted),
        **_spread("energy_1", [_last(curve) for curve in energies]),
        **_spread("energy_1_change", [_last(relative(curve)) for curve in energies]),
    }


def _last(curve):
    return curve[max(curve)] if curve else None


def _median(numbers):
    known = [value for value in numbers if value is not None]
    return statistics.median(known) if known else None


def _spread(name, numbers):
    known = [value for value in numbers if value is not None]
    ends = {f"{name}_lowest": min(known, default=None), f"{name}_highest": max(known, default=None)}
    return {name: _median(known), **ends}


def texts(groups):
    """Returns the rows of groups for a Markdown table; the paper's column is there if it has any number of these.

    Where rates were chosen, energy, free parameters and rates stand in place of the best error and the speed: nobody
    could have chosen the best validation without the test set, and such runs share their cores with others.
    """
    return [_texts(group, groups) for group in groups]


def _texts(group, groups):
    row = values(group)
    finished = row["finished"] == row["runs"]
    ended = row["updates"] == row["updates_of_run"] or not row["updates_of_run"]
    cells = {
        "method": group.method,
        "network": row["network"],
        "data": row["data"],
        "runs": f"{row['runs']}" if finished else f"{row['finished']} of {row['runs']} finished",
        "updates": f"{row['updates']:,}" + ("" if ended else f" of {row['updates_of_run']:,}"),
        "final test error, %": _error(row, "final_error"),
    }
    if any(other.rates for other in groups):
        cells |= {
            "energy (s = 1)": number(row["energy_1"], ".4f"),
            "its change, %": number(row["energy_1_change"], ".2g"),
            "free parameters": number(row["free_parameters"], ",.0f"),
            "rates": group.rates or EMPTY,
        }
    else:
        cells |= {
            "best test error, %": _error(row, "best_error"),
            "images/s": number(row["images_per_second"], ",.4g"),
            "seconds": significant(row["seconds"]),
        }
    if any(other.paper is not None for other in groups):
        cells["the paper's test error, %"] = EMPTY if group.paper is None else f"{group.paper:.2f} (paper)"
    return cells


def _error(row, name):
    """A median and, in brackets, the range."""
    if row[name] is None:
        return EMPTY
    low, high = (f"{row[f'{name}{end}']:.2f}" for end in ("_lowest", "_highest"))
    of = "" if row["split"] == "test" else f", {row['split']}"
    so_far = "" if row["finished"] else " so far"
    return f"{row[name]:.2f}" + (f" ({low}..{high})" if low != high else "") + of + so_far


def number(value, form=",.3g"):
    """Returns a number in the given format; `EMPTY` for None."""
    return EMPTY if value is None else format(value, form)


def significant(value):
    """Returns a number with three digits, and no fewer than it has before the point; `EMPTY` for None."""
    if value is None or value == 0 or not math.isfinite(value):
        return number(value, "g")
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def markdown(rows):
    """Returns a Markdown table of rows {title: text} that have the same titles: the first column left, others right."""
    titles = list(rows[0])
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *(row.values() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(rows):
    """Returns rows {field: value} that have the same fields as CSV; None is an empty cell."""
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()
