"""Runs that differ only in their seed are one group: its curves, and its row in a table."""

import dataclasses
import statistics

from common.cli import run_flags
from common.results import papers
from common.results.runs import Run, describe

# What may differ within a group. A run that began at another's checkpoint is another run, whichever it was.
_FREE = {*run_flags.FREE, *run_flags.PLACE, "seed"}


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one method, network and data set.

    Attributes:
      what: (method, network, data set), in words.
      runs: the `Run`s; there may be none yet.
      paper: the paper's test error for it, in percent, or None.
      label: what tables and legends call it in place of `what`, or None.
      wanted: how many runs there are to be.
    """

    what: tuple
    runs: tuple[Run, ...]
    paper: float | None = None
    label: str | None = None
    wanted: int = 0

    @property
    def title(self):
        """What legends call it."""
        return self.label or ", ".join(self.what)

    @property
    def complete(self):
        """Its runs that have ended."""
        return [run for run in self.runs if run.complete]

    @property
    def counted(self):
        """The runs whose final figures count: the ended ones, or all as long as none has ended."""
        return self.complete or list(self.runs)

    def final_errors(self):
        """Returns the newest test error, in percent, of each run that counts and has one."""
        curves = [run.curve("test", "error") for run in self.counted]
        return [curve[max(curve)] for curve in curves if curve]

    def best_errors(self):
        """Returns the smallest test error, in percent, of each run that counts and has one."""
        curves = [run.curve("test", "error") for run in self.counted]
        return [min(curve.values()) for curve in curves if curve]

    def curve(self, of_run):
        """Returns [(updates, median, lowest, highest, runs)] over the runs of {updates: value} = of_run(run).

        At each number of updates those runs count that have a value there.
        """
        curves = [of_run(run) for run in self.runs]
        points = sorted(set().union(*curves))
        values = [[curve[updates] for curve in curves if updates in curve] for updates in points]
        return [
            (updates, statistics.median(of_point), min(of_point), max(of_point), len(of_point))
            for updates, of_point in zip(points, values)
        ]


def relative(curve):
    """Returns how far {updates: value} is from its first value, in percent of that; {} for fewer than two."""
    if len(curve) < 2:
        return {}
    start = curve[min(curve)]
    return {updates: 100.0 * (value / start - 1.0) for updates, value in curve.items()} if start else {}


def grouped(runs, labels=None):
    """Returns the `Group`s of runs, in the order in which they come up.

    Args:
      runs: list of `Run`.
      labels: what to call the groups; None for method, network and data set, and where those are the same, the flags
        that are not.

    Raises ValueError if there are fewer or more labels than groups.
    """
    keys = [_key(run) for run in runs]
    members = {key: [run for run, own in zip(runs, keys) if own == key] for key in keys}
    groups = [
        Group(own[0].what, tuple(own), papers.figure(own[0].method, own[0].flags), wanted=len(own))
        for own in members.values()
    ]
    if labels is None:
        return _told_apart(groups)
    if len(labels) != len(groups):
        names = "; ".join(group.title for group in groups)
        raise ValueError(f"--labels has {len(labels)} names for {len(groups)} groups of runs ({names}); name each")
    return [dataclasses.replace(group, label=label) for group, label in zip(groups, labels)]


def of_row(row, data, runs, wanted):
    """Returns the `Group` of a row of a paper's table; `runs` may be fewer than are `wanted`."""
    flags = {"model": papers.OPT_MODEL, **papers.values(row.flags), "data": data}
    what = runs[0].what if runs else describe(row.method, flags)  # extra flags may have made it another network
    return Group(what, tuple(runs), row.paper.get(data), wanted=wanted)


def _key(run):
    later = run_flags.LATER | run_flags.LATER_OF.get(run.method, {}) if run.flags else {}
    flags = tuple(sorted((name, value) for name, value in {**later, **run.flags}.items() if name not in _FREE))
    # Without flags nothing is known about a run, so it stands alone.
    return run.method, flags, "load" in run.flags, run.path if not run.flags else None


def _told_apart(groups):
    """Returns groups of equal titles with labels that name the flags in which they differ."""
    told = []
    for group in groups:
        same = [other for other in groups if other.what == group.what]
        if len(same) == 1:
            told.append(group)
            continue
        firsts = [other.runs[0] for other in same]
        flags = [
            {**dict(_key(first)[1]), "method": first.method, "load": first.flags.get("load", "none")} for first in firsts
        ]
        names = sorted({name for own in flags for name in own if len({str(other.get(name)) for other in flags}) > 1})
        own = flags[same.index(group)]
        words = [f"{name} {own.get(name, 'none')}" for name in names] or [group.runs[0].path]
        told.append(dataclasses.replace(group, label=", ".join([*group.what, *words])))
    return told


def row(group):
    """Returns the row of a table: plain numbers and texts, rounded, None for what is not known."""
    method, network, data = group.what
    final, best = group.final_errors(), group.best_errors()
    speeds = [run.images_per_second for run in group.counted if run.images_per_second]
    seconds = [run.seconds for run in group.counted if run.seconds]
    steps = {run.steps for run in group.counted}
    return {
        "label": group.label,
        "method": method,
        "network": network,
        "data": data,
        "runs": max(len(group.runs), group.wanted),
        "finished": len(group.complete),
        "updates": max((run.done for run in group.counted), default=0),
        "updates_of_run": steps.pop() if len(steps) == 1 else None,
        **_spread("final_error", final),
        **_spread("best_error", best),
        "images_per_second": _rounded(statistics.median(speeds)) if speeds else None,
        "seconds": _rounded(statistics.median(seconds)) if seconds else None,
        "paper_error": group.paper,
    }


def _spread(name, values):
    figures = (statistics.median(values), min(values), max(values)) if values else (None, None, None)
    return {f"{name}{end}": _rounded(value) for end, value in zip(("", "_lowest", "_highest"), figures)}


def _rounded(value):
    """Six digits, so that a table made of the CSV file is the table made of the runs."""
    return None if value is None else float(f"{value:.6g}")
