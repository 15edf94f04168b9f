"""All runs of a table: their order, their lengths, and the rates that are chosen for each row."""

import dataclasses
import math
import os

from common.cli.settings import FILELESS
from common.results import fewshot, groups
from common.results.job import OWN, Job
from common.results.rows import Table, settings_of, values

_SHORT_STEPS = 400  # the fewest updates of a run on the small data sets
_VALIDATIONS = 8  # of a short run: its curves are to be lines
_TRIAL = 1 / 3  # of a run's length, where rates are chosen
_EPISODES = 40  # of programs whose schedule follows episodes
_LONGER = (4, 16)  # times as many updates, with --long
UNKNOWN = "BEST"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All runs of a table for one data set.

    Attributes:
      table: the `Table`.
      data: one of its data sets.
      settings: the flags of common.reproduce.
      extra: flags that come last in each command, and so count in place of equal ones before.
    """

    table: Table
    data: str
    settings: object
    extra: tuple[str, ...] = ()

    def __post_init__(self):
        """Raises ValueError for rows that the table does not have, and flags that it sets itself."""
        given, names = self.settings, [row.name for row in self.table.rows]
        for name in self._only:
            if name not in names:
                raise ValueError(f"--rows: {self.table.name} has no row {name!r}, but {', '.join(names)}")
        own = (*OWN, "max_steps", "holdout", "widths") if self.table.steps else OWN
        for flag in self.extra:
            if not flag.startswith("--") or flag == "--":
                raise ValueError(f"unexpected argument {flag!r}: what follows -- are flags, as in --device=gpu")
            if (name := flag.lstrip("-").partition("=")[0]) in own:
                raise ValueError(f"{flag} after --: the table sets --{name} itself")
        if given.steps and self.table.steps is None:
            raise ValueError(f"--steps={given.steps}: the runs of {self.table.name} are the paper's; leave it out")
        if given.widths and not self.table.widths:
            raise ValueError(f"--widths={given.widths}: the widths of {self.table.name} are its own; leave it out")
        if given.long and not self.table.holdout:
            raise ValueError(f"--long: {self.table.name} has no longer runs; leave it out")

    @property
    def name(self):
        """Of the folder, and of the table's files; with steps of its own a table is made for one data set."""
        alone = self.table.steps and self.data in self.table.default
        return self.table.name if alone else f"{self.table.name}-{self.data}"

    @property
    def folder(self):
        """The folder of the runs, absolute."""
        return os.path.join(os.path.abspath(self.settings.dir), self.name)

    @property
    def stem(self):
        """The path of the table's files, without their endings."""
        return os.path.join(self.settings.out or self.folder, self.name)

    @property
    def sets(self):
        """The folder of the table's own sets."""
        return os.path.join(self.folder, "sets")

    @property
    def _only(self):
        """The names of the rows wanted."""
        return self.settings.rows.split(",") if self.settings.rows else [row.name for row in self.table.rows]

    @property
    def rows(self):
        """The rows wanted, and those at whose runs they begin."""
        begun = [row.begins_at for row in self.table.rows if row.name in self._only]
        return [row for row in self.table.rows if row.name in (*self._only, *begun)]

    def longer(self):
        """Returns what --long adds, as far as it is known: the first row and the best of the kinds, with more updates.

        The best one is that whose rates had the lowest error on the holdout: the test set decides nothing.
        """
        if not self.settings.long:
            return []
        known = [row for row in self.rows if row.kind and self.chosen(row)]
        best = sorted(known, key=lambda row: min(self.choice(row).values()))[:1]
        return [dataclasses.replace(row, longer=times) for times in _LONGER for row in (self.rows[0], *best)]

    def jobs(self):
        """Yields the `Job`s: seed 0 of every row, with the choice of its rates before it, then seed 1 of every row ...

        What a job needs to know of jobs before it is read when it is yielded.
        """
        for seed in range(self.settings.runs):
            for row in self.rows:
                yield from [] if seed else self.trials(row)
                yield self.final(row, seed)
        yield from (self.final(row, 0) for row in self.longer())

    def final(self, row, seed):
        """Returns the run of a row with one seed, at the rates chosen for it."""
        rates, lacks = self.chosen(row), ""
        if rates is None:
            rates = tuple(f"{flag.partition('=')[0]}={UNKNOWN}" for flag in row.rates[0])
            lacks = "no rate could be chosen, for want of runs or because all diverged"
        return self._made(row, f"{row.subfolder}/seed-{seed}", seed, rates, lacks=lacks)

    def trials(self, row):
        """Returns the runs that decide about a row's rates: seed 0, a third of the length, validated on a holdout."""
        return [self._made(row, f"{row.name}/rate-{_text(rates)}", 0, rates, trial=True) for rates in row.rates]

    def choice(self, row):
        """Returns {rates: error in percent on the holdout at the end}: None if unknown, infinite if it diverged."""
        return {rates: _error(job.run()) for rates, job in zip(row.rates, self.trials(row))}

    def chosen(self, row):
        """Returns the rates of a row with the lowest error on the holdout; None as long as they are not known."""
        errors = self.choice(row)
        if None in errors.values():
            return None
        best = min(errors, key=errors.get, default=())
        return best if errors.get(best) != math.inf else None

    def groups(self):
        """Returns the `Group` of each row, with the runs that there are."""
        found = []
        for row in [*self.rows, *self.longer()]:
            jobs = [self.final(row, seed) for seed in range(self.settings.runs if row.longer == 1 else 1)]
            own = [run for run in (job.run() for job in jobs) if run.done]
            found.append(groups.of_row(row, values(jobs[0].arguments), own, len(jobs), self._rates(row)))
        return found

    def _rates(self, row):
        """The chosen rates in words: they say so if they are the first or last candidates."""
        rates = self.chosen(row)
        if not rates:
            return None
        return _text(rates) + (" (edge)" if rates in (row.rates[0], row.rates[-1]) else "")

    def choices(self):
        """Returns a line for each candidate: {row, rates, holdout_error, chosen}; no error if it is not known yet."""
        lines = []
        for row in self.rows:
            chosen = self.chosen(row)  # reads the runs, so once a row
            lines += [
                {"row": row.name, "rates": _text(rates), "holdout_error": error, "chosen": rates == chosen}
                for rates, error in self.choice(row).items()
            ]
        return lines

    def _made(self, row, name, seed, rates, trial=False, lacks=""):
        path = os.path.join(self.folder, name)
        own_set = os.path.join(self.sets, f"{row.data}{fewshot.RATES if trial else ''}.npz")  # has a validation part
        data = own_set if row.data else self.data
        held = (f"--holdout={self.table.holdout[self.data]}",) if trial and not row.data else ()
        begun = (f"--fixed={os.path.join(self.folder, row.begins_at, f'seed-{seed}')}",) if row.begins_at else ()
        own = (*row.flags, *begun, *self._length(row, trial), *held, *rates)
        last = (*self.extra, f"--seed={seed}", f"--train_path={path}", "--resume")
        return Job(row, name, path, (f"--data={data}", *own, *last), trial, lacks)

    def _length(self, row, trial):
        """The flags of a run's length and widths, and by which a short one reports and validates eight times."""
        steps = self.settings.steps or self.table.steps
        if steps is None:
            given = values(self.extra).get("max_steps", str(_SHORT_STEPS) if self.data in FILELESS else "")
            return _often(int(given) if given.isdigit() else 0, _VALIDATIONS)
        steps = max(1, round(steps * row.share * (_TRIAL if trial else row.longer)))
        names = settings_of(row.folder).names()
        widths = self.settings.widths or self.table.widths
        flags = (f"--widths={widths}",) if widths and "widths" in names else ()
        if row.method == row.folder and "episodes" in names:
            flags += (f"--episodes={_EPISODES}", f"--episode_steps={-(-steps // _EPISODES)}")
        often = _often(steps, 1 if trial else _VALIDATIONS)  # a validation costs as much as 26 updates
        return (*flags, f"--max_steps={steps}", *often, f"--save_freq={max(1, steps // 4)}", "--max_to_keep=1")


def _often(steps, times):
    if not steps or steps >= _VALIDATIONS * 500:  # the fewest updates between validations by default
        return ()
    every = max(1, steps // times)
    return (f"--report_freq={every}", f"--vali_freq={every}")


def _error(run):
    curve = run.curve("holdout", "error")
    return curve[max(curve)] if run.complete and curve else math.inf if run.diverged else None


def _text(rates):
    """Returns rates as tables and folders call them: "0.01-0.2"."""
    return "-".join(flag.partition("=")[2] for flag in rates)
