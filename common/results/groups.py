"""Runs that differ only in their seed are one group: which runs count, their errors and curves."""

import dataclasses
import re
import statistics

from common.flags import ANY, CALL, short
from common.results import papers, rows
from common.results.runs import Run, names


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one method, network and data set, one a seed.

    Attributes:
      names: (method, network, data set), in words.
      runs: the `Run`s; there may be none yet.
      paper: the paper's test error for the group, in percent, or None.
      label: what tables and legends call the group in place of `names`, or None.
      differing: the flags by which groups of the same names differ, in words.
      wanted: how many runs there are to be, if more.
      repeated: lines about runs that do not count because another one has their seed.
      rates: that were chosen for it, as text; None for a group whose rates are not chosen.
      kind: groups of one kind share panels of the figure; those of kind "" are in all of them, of kind None in none.
      legend: what the figure's legend calls the group and those like it of other kinds; None for the method.
    """

    names: tuple
    runs: tuple[Run, ...]
    paper: float | None = None
    label: str | None = None
    differing: tuple = ()
    wanted: int = 0
    repeated: tuple = ()
    rates: str | None = None
    kind: str | None = ""
    legend: str | None = None

    @property
    def title(self):
        """What the group is called where nothing else says its network and data."""
        return self.label or ", ".join([*self.names, *self.differing])

    @property
    def method(self):
        """What the group is called beside its network and data."""
        return self.label or ", ".join([self.names[0], *self.differing])

    @property
    def complete(self):
        """The runs that have ended."""
        return [run for run in self.runs if run.complete]

    @property
    def counted(self):
        """The runs whose final metrics count: those that have ended, or all as long as none has."""
        return self.complete or list(self.runs)

    def errors(self):
        """Returns (newest, lowest) error in percent, of the test set if it was evaluated, of each run that counts."""
        curves = [run.curve(run.tested, "error") for run in self.counted]
        return [(curve[max(curve)], min(curve.values())) for curve in curves if curve]

    @property
    def split(self):
        """The split that `errors` are of: "holdout" if the test set of a run was not evaluated, else "test"."""
        return "holdout" if "holdout" in [run.tested for run in self.counted] else "test"

    def curve(self, of_run):
        """Returns [(updates, median, lowest, highest, runs)] over the runs of {updates: value} = of_run(run).

        At each number of updates those runs count that have a value there.
        """
        points = {}
        for run in self.runs:
            for updates, value in of_run(run).items():
                points.setdefault(updates, []).append(value)
        return [
            (updates, statistics.median(values), min(values), max(values), len(values))
            for updates, values in sorted(points.items())
        ]

    def remarks(self):
        """Returns lines on what a reader of the table has to know of these runs."""
        lines = list(self.repeated)
        for run in self.runs:
            lines += run.remarks
            if run.diverged and not run.complete:
                lines.append(f"{run.path} diverged after {run.done:,} updates: it does not count")
            elif not run.complete:
                length = f"{run.steps:,}" if run.steps else "an unknown number of"
                lines.append(f"{run.path} is unfinished: {run.done:,} of {length} updates")
        return lines


def grouped(runs, labels=None):
    """Returns the `Group`s of runs, in the order in which they come up.

    Args:
      runs: list of `Run`.
      labels: what to call the groups; None for method, network and data set, and where those are the same, the flags
        that are not.

    Raises ValueError if there are fewer or more labels than groups.
    """
    members = {}
    for run in runs:
        members.setdefault(_key(run), []).append(run)
    groups = []
    for same in members.values():
        counted, repeated = _one_a_seed(same)
        paper = papers.published_error(same[0].method, same[0].flags)
        groups.append(Group(same[0].names, counted, paper, repeated=repeated))
    groups = [dataclasses.replace(group, differing=_differing(group, groups)) for group in groups]
    labels = labels or [None] * len(groups)
    if len(labels) != len(groups):
        titles = "; ".join(group.title for group in groups)
        raise ValueError(f"--labels has {len(labels)} names for {len(groups)} groups of runs ({titles}); name each")
    return [dataclasses.replace(group, label=label) for group, label in zip(groups, labels)]


def of_row(row, flags, runs, wanted, rates=None):
    """Returns the `Group` of a row of a table, whose commands have `flags`; `runs` may be fewer than are `wanted`."""
    flags = {**rows.defaults(rows.settings_of(row.method)), **flags}
    paper, kind = row.paper.get(flags["data"]), row.kind if row.longer == 1 else None
    own = names(row.method, flags)
    return Group(own, tuple(runs), paper, row.title, wanted=wanted, rates=rates, kind=kind, legend=row.label)


def _deciding(run):
    """Returns {name: text} of the method, the checkpoint, and the flags that decide what a run trains, but the seed.

    A flag that the program of an earlier version did not have counts as its default.
    """
    settings = rows.settings_of(run.method)
    ignored = {*settings.names(ANY, CALL), "seed"}
    flags = {**rows.defaults(settings), **run.flags} if run.flags else {}
    deciding = {name: value for name, value in flags.items() if name not in ignored}
    if "fixed" in run.flags:  # runs that begin at networks of their own seeds are of one group
        deciding["fixed"] = re.sub(rf"(?<!\d){run.flags.get('seed', 0)}(?!\d)", "SEED", run.flags["fixed"])
    return {**deciding, "method": run.method, "load": run.flags.get("load", "none")}


def _key(run):
    """What runs of one group share: of the checkpoint only whether there was one. Without flags they share nothing."""
    path = None if run.flags else run.path
    return frozenset({**_deciding(run), "load": "load" in run.flags, "path": path}.items())


def _one_a_seed(runs):
    """Returns (of each seed the newest complete run, else the newest; lines about repetitions)."""
    seeds = {}
    for run in runs:
        seeds.setdefault(run.flags.get("seed", run.path), []).append(run)
    counted = {seed: max(same, key=lambda run: (run.complete, run.written)) for seed, same in seeds.items()}
    lines = [
        f"seed {seed} was run {len(same)} times: {counted[seed].path} counts, the newest"
        + (" complete one" if counted[seed].complete else "; none is complete")
        for seed, same in seeds.items()
        if len(same) > 1
    ]
    return tuple(counted.values()), tuple(lines)


def _differing(group, groups):
    """Returns the flags in which groups of the same names differ, or the path if none; nothing for names of its own."""
    alike = [_deciding(other.runs[0]) for other in groups if other.names == group.names]
    own = _deciding(group.runs[0])
    differing = sorted(name for name in set().union(*alike) if len({flags.get(name) for flags in alike}) > 1)
    words = [f"{name} {short(own.get(name, 'none'))}" for name in differing] or [group.runs[0].path]
    return tuple(words) if len(alike) > 1 else ()
