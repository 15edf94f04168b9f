"""Runs that differ only in their seed are one group: its curves, and its row in a table."""

import dataclasses
import statistics

from common.flags import FREE, PLACE
from common.results import papers, rows
from common.results.runs import Run, names, relative
from common.results.tables import EMPTY, number, significant


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one method, network and data set, one a seed.

    Attributes:
      names: (method, network, data set), in words.
      runs: the `Run`s; there may be none yet.
      paper: the paper's test error for the group, in percent, or None.
      label: what tables and legends call the group in place of `names`, or None.
      wanted: how many runs there are to be.
      repeated: lines about runs that do not count because another one has their seed.
      rates: that were chosen for it, as text; None for a group whose rates are not chosen.
      kind: groups of one kind share the panels of the figure; those of kind "" are in all of them.
    """

    names: tuple
    runs: tuple[Run, ...]
    paper: float | None = None
    label: str | None = None
    wanted: int = 0
    repeated: tuple = ()
    rates: str | None = None
    kind: str = ""

    @property
    def title(self):
        """What legends call the group."""
        return self.label or ", ".join(self.names)

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
        curves = [run.curve("test", "error") or run.curve(run.validated, "error") for run in self.counted]
        return [(curve[max(curve)], min(curve.values())) for curve in curves if curve]

    @property
    def split(self):
        """The split that `errors` are of: "holdout" if the test set of a run was not evaluated, else "test"."""
        untested = any(run.validated == "holdout" and not run.curve("test", "error") for run in self.counted)
        return "holdout" if untested else "test"

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
        groups.append(Group(same[0].names, counted, paper, wanted=len(counted), repeated=repeated))
    labels = labels or [_label(group, groups) for group in groups]
    if len(labels) != len(groups):
        titles = "; ".join(group.title for group in groups)
        raise ValueError(f"--labels has {len(labels)} names for {len(groups)} groups of runs ({titles}); name each")
    return [dataclasses.replace(group, label=label) for group, label in zip(groups, labels)]


def of_row(row, data, runs, wanted, rates=None):
    """Returns the `Group` of a row of a table; `runs` may be fewer than are `wanted`."""
    flags = {**rows.defaults(rows.settings_of(row.method)), **rows.values(row.flags), "data": data}
    # Flags of the user's own may have made it another network.
    own = runs[0].names if runs else names(row.method, flags)
    return Group(own, tuple(runs), row.paper.get(data), row.title, wanted, rates=rates, kind=row.kind)


def _key(run):
    """What runs of one group share: (method, flags, whether it began at a checkpoint, path where flags are unknown).

    A flag that the program of an earlier version did not have counts as its default.
    """
    settings = rows.settings_of(run.method)
    ignored = {*settings.names(FREE, PLACE), "seed"}
    flags = {**rows.defaults(settings), **run.flags} if run.flags else {}
    pairs = tuple(sorted((name, value) for name, value in flags.items() if name not in ignored))
    return run.method, pairs, "load" in run.flags, run.path if not run.flags else None


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


def _label(group, groups):
    """Returns None, or for a group whose names others have too, those and the flags in which the groups differ."""
    same = [other for other in groups if other.names == group.names]
    if len(same) == 1:
        return None
    flags = []
    for run in (other.runs[0] for other in same):
        method, pairs, _, _ = _key(run)
        flags.append({**dict(pairs), "method": method, "load": run.flags.get("load", "none")})
    own = flags[same.index(group)]
    differing = sorted(name for name in set().union(*flags) if len({other.get(name) for other in flags}) > 1)
    words = [f"{name} {own.get(name, 'none')}" for name in differing] or [group.runs[0].path]
    return ", ".join([*group.names, *words])


# --- tables -----------------------------------------------------------------------------------------------------------


def values(group):
    """Returns the row of a group for a CSV file: {field: number or text}, None for what is not known."""
    method, network, data = group.names
    counted = group.counted
    lengths = {run.steps for run in counted}
    curves = [curve for curve in (run.energy(1) for run in counted) if curve]
    changes = [relative(curve) for curve in curves]
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
        "images_per_second": _median([run.images_per_second for run in counted]),
        "seconds": _median([run.seconds for run in counted]),
        "paper_error": group.paper,
        "rates": group.rates,
        "free_parameters": _median([run.freedom for run in counted]),
        **_spread("energy_1", [curve[max(curve)] for curve in curves]),
        **_spread("energy_1_change", [change[max(change)] for change in changes if change]),
    }


def _median(numbers):
    known = [value for value in numbers if value is not None]
    return statistics.median(known) if known else None


def _spread(name, errors):
    return {
        name: _median(errors),
        f"{name}_lowest": min(errors, default=None),
        f"{name}_highest": max(errors, default=None),
    }


def texts(groups):
    """Returns the rows of groups for a Markdown table; the paper's column is there if it has any number of these.

    Groups whose rates were chosen have energy and rates in place of the best error, which nobody could choose, and speed.
    """
    made = []
    for group in groups:
        row = values(group)
        finished = row["finished"] == row["runs"]
        ended = row["updates"] == row["updates_of_run"] or not row["updates_of_run"]
        cells = {
            "method": group.label or row["method"],
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
        made.append(cells)
    return made


def _error(row, name):
    """A median and, in brackets, the range."""
    if row[name] is None:
        return EMPTY
    low, high = (f"{row[f'{name}{end}']:.2f}" for end in ("_lowest", "_highest"))
    of = "" if row["split"] == "test" else f", {row['split']}"
    so_far = "" if row["finished"] else " so far"
    return f"{row[name]:.2f}" + (f" ({low}..{high})" if low != high else "") + of + so_far
