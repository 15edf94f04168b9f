"""The runs of a table: their commands, which of them are done, and the rates that were chosen for each row."""

import dataclasses
import math
import os
import shlex

from common.cli.settings import FILELESS, Common
from common.flags import FREE
from common.results import fewshot, groups, rows, runs

_OWN = ("data", "seed", "train_path", "resume", "task", "load", "train_dir", "flagfile", "fixed")  # the table's business
_SHORT_STEPS = 400  # the fewest updates of a run on the small data sets
_VALIDATIONS = 8  # of a short run: its curves are to be lines
_TRIAL = 1 / 3  # of a run's length, where rates are chosen
_EPISODES = 40  # of programs whose schedule follows episodes
_LONGER = (4, 16)  # times as many updates, with --long
_UNKNOWN = "BEST"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a row.

    Attributes:
      row: the `rows.Row`.
      name: of its folder within the table's.
      path: of its folder, absolute.
      arguments: of train.py.
      is_trial: whether it is one of those by which rates are chosen.
      lacks: why it cannot be run yet; "" if it can.
    """

    row: rows.Row
    name: str
    path: str
    arguments: tuple[str, ...]
    is_trial: bool = False
    lacks: str = ""

    @property
    def folder(self):
        """Where the job's train.py is."""
        return str(rows.ROOT / self.row.folder)

    def __str__(self):
        """The command as one types it in the root of the clone."""
        return f"(cd {self.row.folder} && python train.py {shlex.join(self.arguments)})"

    def run(self):
        """Returns the `Run` in the job's folder, as far as there is one."""
        return runs.read(self.path)

    def is_done(self):
        """Returns whether the results are there: the run has ended, or has shown that it diverges.

        Raises ValueError if they are those of a run with other flags.
        """
        run = self.run()
        if self.lacks or not (run.complete or run.diverged):
            return False
        wanted = {"max_steps": None, **rows.values(self.arguments)}
        ignored = (*_OWN, *Common.names(FREE))
        found = [("method", run.method, self.row.method), *rows.differing(wanted, run.flags, ignored)]
        differing = [f"{name}: {there or 'none'} there, {here or 'none'} here" for name, there, here in found if there != here]
        if differing:
            raise ValueError(
                f"{self.path} holds the results of a run with other flags ({'; '.join(differing)}): choose another "
                "--dir, or give the flags that it had"
            )
        return True


@dataclasses.dataclass(frozen=True)
class Plan:
    """All runs of a table for one data set.

    Attributes:
      table: the `rows.Table`.
      data: one of its data sets.
      folder: of the table and data set, absolute.
      seeds: runs of each row: seeds 0, 1, ...
      extra: flags that come last in each command, and so count in place of equal ones before.
      only: names of the rows wanted; None for all.
      steps: updates of a run; None for the table's.
      widths: of programs that have them; None for the table's.
      long: whether two rows are run with more updates.
    """

    table: rows.Table
    data: str
    folder: str
    seeds: int
    extra: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    steps: int | None = None
    widths: str | None = None
    long: bool = False

    def __post_init__(self):
        """Raises ValueError for rows that the table does not have, and flags that it sets itself."""
        names = [row.name for row in self.table.rows]
        for name in self.only or ():
            if name not in names:
                raise ValueError(f"--rows: {self.table.name} has no row {name!r}, but {', '.join(names)}")
        own = (*_OWN, "max_steps", "holdout", "widths") if self.table.steps else _OWN
        for flag in self.extra:
            if not flag.startswith("--") or flag == "--":
                raise ValueError(f"unexpected argument {flag!r}: what follows -- are flags, as in --device=gpu")
            if (name := flag.lstrip("-").partition("=")[0]) in own:
                raise ValueError(f"{flag} after --: the table sets --{name} itself")
        if self.table.steps is None and self.steps:
            raise ValueError(f"--steps={self.steps}: the runs of {self.table.name} are the paper's; leave it out")
        if self.table.widths is None and (self.widths or self.long):
            raise ValueError(f"--widths and --long are not for {self.table.name}; leave them out")

    @property
    def name(self):
        """Of the folder, and of the table's files."""
        return place(self.table, self.data)

    @property
    def sets(self):
        """The folder of the table's own sets."""
        return os.path.join(self.folder, "sets")

    @property
    def rows(self):
        """The rows wanted, and those at whose runs they begin."""
        wanted = [row for row in self.table.rows if self.only is None or row.name in self.only]
        begun = {row.begins_at for row in wanted}
        return [row for row in self.table.rows if row in wanted or row.name in begun]

    def longer(self):
        """Returns what --long adds, as far as it is known: the first row and the best of the kinds, with more updates.

        The best one is that whose rates had the lowest error on the holdout: the test set decides nothing.
        """
        if not self.long:
            return []
        errors = [(min([error for _, error in self.choice(row) if error is not None], default=math.inf), row) for row in self.rows]
        best = min((pair for pair in errors if pair[1].kind), key=lambda pair: pair[0], default=(math.inf, None))
        chosen = [self.rows[0]] + ([best[1]] if best[0] < math.inf else [])
        return [dataclasses.replace(row, longer=times) for times in _LONGER for row in chosen]

    def jobs(self):
        """Yields the `Job`s: seed 0 of every row, with the choice of its rates before it, then seed 1 of every row ...

        What a job needs to know of jobs before it is read when it is yielded.
        """
        for seed in range(self.seeds):
            for row in self.rows:
                yield from [] if seed else self.trials(row)
                yield self.final(row, seed)
        yield from (self.final(row, 0) for row in self.longer())

    def final(self, row, seed):
        """Returns the run of a row with one seed, at the rates chosen for it."""
        rates, lacks = self.chosen(row), ""
        if rates is None:
            rates = tuple(f"{flag.partition('=')[0]}={_UNKNOWN}" for flag in row.rates[0])
            lacks = "no rate could be chosen, for want of runs or because all diverged"
        return self._made(row, f"{row.place}/seed-{seed}", seed, row.longer, (), rates, lacks)

    def trials(self, row):
        """Returns the runs that decide about a row's rates: seed 0, a third of the length, validated on a holdout."""
        held = () if row.data else (f"--holdout={self.table.holdout.get(self.data)}",)
        names = [f"{row.name}/rate-{text(rates)}" for rates in row.rates]
        return [self._made(row, name, 0, _TRIAL, held, rates) for name, rates in zip(names, row.rates)]

    def choice(self, row):
        """Returns [(rates, error in percent on the holdout at the end)]: None if unknown, infinite if it diverged."""
        return [(rates, _error(job.run())) for rates, job in zip(row.rates, self.trials(row))]

    def chosen(self, row):
        """Returns the rates of a row with the lowest error on the holdout; None as long as they are not known."""
        errors = self.choice(row)
        if not row.rates:
            return ()
        if None in [error for _, error in errors]:
            return None
        rates, error = min(errors, key=lambda pair: pair[1])
        return rates if error < math.inf else None

    def groups(self):
        """Returns the `Group` of each row, with the runs that there are."""
        found = []
        for row in [*self.rows, *self.longer()]:
            seeds = range(self.seeds if row.longer == 1 else 1)
            own = [run for run in (self.final(row, seed).run() for seed in seeds) if run.done]
            found.append(groups.of_row(row, self.data, own, len(seeds), self._rates(row)))
        return found

    def _rates(self, row):
        """The chosen rates in words: they say so if they are the first or last candidates."""
        rates = self.chosen(row)
        if not rates:
            return None
        return text(rates) + (" (edge)" if rates in (row.rates[0], row.rates[-1]) else "")

    def choices(self):
        """Returns a line for each candidate: {row, rates, holdout_error, chosen}; no error if it is not known yet."""
        return [
            {"row": row.name, "rates": text(rates), "holdout_error": error, "chosen": rates == self.chosen(row)}
            for row in self.rows
            for rates, error in self.choice(row)
        ]

    def _made(self, row, name, seed, share, held, rates, lacks=""):
        is_trial = share == _TRIAL
        data = self.data
        if row.data:
            data = os.path.join(self.sets, f"{row.data}{fewshot.RATES if is_trial else ''}.npz")
        begun = (f"--fixed={os.path.join(self.folder, row.begins_at, f'seed-{seed}')}",) if row.begins_at else ()
        path = os.path.join(self.folder, name)
        place = (f"--seed={seed}", f"--train_path={path}", "--resume")
        flags = (f"--data={data}", *row.flags, *begun, *self._length(row, share), *held, *rates, *self.extra, *place)
        return Job(row, name, path, flags, is_trial, lacks)

    def _length(self, row, share):
        """The flags of a run's length, and by which a short one reports and validates at least eight times."""
        steps = self.steps or self.table.steps
        if steps is None:
            given = rows.values(self.extra).get("max_steps", str(_SHORT_STEPS) if self.data in FILELESS else "")
            return _often(int(given) if given.isdigit() else 0)
        steps = max(1, round(steps * row.share * share))
        names = rows.settings_of(row.folder).names()
        widths = self.widths or self.table.widths
        flags = (f"--widths={widths}",) if widths and "widths" in names else ()
        if row.method == row.folder and "episodes" in names:
            flags += (f"--episodes={_EPISODES}", f"--episode_steps={-(-steps // _EPISODES)}")
        often = _often(steps, 1 if share == _TRIAL else _VALIDATIONS)  # a validation costs as much as thirty updates
        return (*flags, f"--max_steps={steps}", *often, f"--save_freq={max(1, steps // 4)}", "--max_to_keep=1")


def place(table, data):
    """Returns the name of a table's folder and files for a data set; with steps of its own it is made for one."""
    return table.name if table.steps and data in table.default else f"{table.name}-{data}"


def _often(steps, times=_VALIDATIONS):
    if not steps or steps >= _VALIDATIONS * 500:  # the fewest updates between validations by default
        return ()
    every = max(1, steps // times)
    return (f"--report_freq={every}", f"--vali_freq={every}")


def _error(run):
    curve = run.curve("holdout", "error")
    return curve[max(curve)] if run.complete and curve else math.inf if run.diverged else None


def text(rates):
    """Returns rates as tables and folders call them: "0.01-0.2"."""
    return "-".join(flag.partition("=")[2] for flag in rates)
