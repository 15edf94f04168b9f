"""What is made of groups of runs: a table in Markdown and CSV, the curves as CSV, figures in PNG and SVG."""

import csv
import io
import os
import re

from common import files
from common.results import drawing, figures
from common.results import groups as grouping
from common.results.tables import EMPTY, Column, number, significant, table, text

TABLES = ("md", "csv")
_TEXTS = ("label", "method", "network", "data")


def _runs(row):
    if row["finished"] == row["runs"]:
        return str(row["runs"])
    return f"{row['finished']} of {row['runs']} finished"


def _updates(row):
    if row["updates"] == row["updates_of_run"]:
        return f"{row['updates']:,}"
    return f"{row['updates']:,} of {row['updates_of_run'] or '?':,}" if row["updates_of_run"] else f"{row['updates']:,}"


def _error(name):
    """Shows a median and, in brackets, the range."""

    def show(row):
        if row[name] is None:
            return EMPTY
        ends = [f"{row[f'{name}{end}']:.2f}" for end in ("_lowest", "_highest")]
        spread = f" ({ends[0]}..{ends[1]})" if ends[0] != ends[1] else ""
        return f"{row[name]:.2f}{spread}{'' if row['finished'] else ' so far'}"

    return show


def _duration(row):
    return EMPTY if row["seconds"] is None else significant(row["seconds"])


def _paper(row):
    return EMPTY if row["paper_error"] is None else f"{row['paper_error']:.2f} (paper)"


_METHOD = [Column("method", lambda row: row["label"] or row["method"]), Column("network", text("network"))]
_FIGURES = [
    Column("data", text("data")),
    Column("runs", _runs),
    Column("updates", _updates),
    Column("final test error, %", _error("final_error")),
    Column("best test error, %", _error("best_error")),
    Column("images/s", number("images_per_second", ",.4g")),
    Column("seconds", _duration),
]
_PAPER = Column("the paper's test error, %", _paper)


def markdown(rows):
    """Returns the table of rows in Markdown; the paper's column is there if it has any figure of these."""
    known = any(row["paper_error"] is not None for row in rows)
    return table(rows, [*_METHOD, *_FIGURES, *([_PAPER] if known else [])])


def to_csv(rows):
    """Returns rows of equal fields as CSV."""
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()


def from_csv(words):
    """Returns the rows of a table that `to_csv` wrote."""
    return [{name: _value(name, value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(words))]


def _value(name, value):
    if value == "":
        return None
    if name in _TEXTS:
        return value
    return int(value) if re.fullmatch(r"\d+", value) else float(value)


def remarks(groups):
    """Returns lines on what a reader of the table has to know of these runs."""
    lines = []
    for run in (run for group in groups for run in group.runs):
        lines += run.remarks
        if not run.complete:
            length = f"{run.steps:,}" if run.steps else "an unknown number of"
            lines.append(f"{run.path} is unfinished: {run.done:,} of {length} updates")
    return lines


def write_tables(groups, power, paths):
    """Writes the table into those of `paths` that end in .md or .csv, the curves beside the latter."""
    rows = [grouping.row(group) for group in groups]
    for path in paths:
        if path.endswith(".md"):
            files.replace(path, markdown(rows))
        elif path.endswith(".csv"):
            files.replace(path, to_csv(rows))
            points = figures.points(groups, power)
            files.replace(f"{path.removesuffix('.csv')}-figures.csv", to_csv(points))


def write_figures(groups, power, paths):
    """Draws the groups, a single one as its learning curves, into those of `paths` that end in .png or .svg."""
    paths = [path for path in paths if path.endswith(drawing.FORMATS)]
    if paths:
        alone = len(groups) == 1
        shape = figures.learning_curves(groups[0], power) if alone else figures.comparison(groups, power)
        for path in paths:
            drawing.save(shape, path)


def files_of(stem):
    """Returns the paths of all files of a report: the stem with each ending."""
    return [f"{stem}.{ending}" for ending in (*TABLES, *drawing.FORMATS)]


def make_folder(path):
    """Makes a folder for a report. Raises ValueError if that cannot be."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {path}: {error.strerror}; choose another --out") from None
