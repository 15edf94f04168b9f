"""The runs of a paper's table: their commands, and which of them are done."""

import dataclasses
import os
import shlex

from common.cli.settings import FILELESS, Common
from common.flags import FREE
from common.results import papers, runs

_OWN = ("data", "seed", "train_path", "resume", "task", "load", "train_dir", "flagfile")  # the table sets or excludes
_SHORT_STEPS = 400  # the fewest updates of a run on the small data sets
_VALIDATIONS = 8  # of a short run: its curves are to be lines


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a row.

    Attributes:
      row: the `papers.Row`.
      data: the data set.
      seed: of the run.
      path: of its folder, absolute.
      arguments: of train.py.
    """

    row: papers.Row
    data: str
    seed: int
    path: str
    arguments: tuple[str, ...]

    @property
    def name(self):
        return f"{self.row.name}/seed-{self.seed}"

    @property
    def folder(self):
        """Where the job's train.py is."""
        return str(papers.ROOT / self.row.folder)

    def __str__(self):
        """The command as one types it in the root of the clone."""
        return f"(cd {self.row.folder} && python train.py {shlex.join(self.arguments)})"

    def run(self):
        """Returns the `Run` in the job's folder, as far as there is one."""
        return runs.read(self.path)

    def is_done(self):
        """Returns whether the results are there. Raises ValueError if they are those of a run with other flags."""
        run = self.run()
        if not run.complete:
            return False
        wanted = {"max_steps": None, **papers.values(self.arguments)}
        found = [
            ("method", run.method, self.row.method),
            *papers.differing(wanted, run.flags, (*_OWN, *Common.names(FREE))),
        ]
        differing = [
            f"{name}: {there or 'none'} there, {here or 'none'} here" for name, there, here in found if there != here
        ]
        if differing:
            raise ValueError(
                f"{self.path} holds the results of a run with other flags ({'; '.join(differing)}): choose another "
                "--dir, or give the flags that it had"
            )
        return True


def jobs(table, data, count, folder, extra=(), only=None):
    """Returns the `Job`s of a table for one data set, all rows with the first seed first.

    Args:
      table: the `papers.Table`.
      data: one of its data sets.
      count: runs of each row: seeds 0, 1, ...
      folder: the folder of all tables.
      extra: flags that come last in each command, and so count in place of equal ones before.
      only: names of the rows wanted; None for all.

    Raises ValueError for a row that the table does not have, and for extra flags that the table sets itself.
    """
    names = [row.name for row in table.rows]
    for name in only or ():
        if name not in names:
            raise ValueError(f"--rows: {table.name} has no row {name!r}, but {', '.join(names)}")
    for flag in extra:
        if not flag.startswith("--") or flag == "--":
            raise ValueError(f"unexpected argument {flag!r}: what follows -- are flags, as in --max_steps=2")
        if (name := flag.lstrip("-").partition("=")[0]) in _OWN:
            raise ValueError(f"{flag} after --: the table sets --{name} itself")
    made = []
    for seed in range(count):
        for row in table.rows:
            if only is None or row.name in only:
                path = os.path.join(os.path.abspath(folder), f"{table.name}-{data}", row.name, f"seed-{seed}")
                place = (f"--seed={seed}", f"--train_path={path}", "--resume")
                flags = (f"--data={data}", *row.flags, *_often(data, extra), *extra, *place)
                made.append(Job(row, data, seed, path, flags))
    return made


def _often(data, extra):
    """The flags by which a short run reports and validates at least eight times."""
    steps = papers.values(extra).get("max_steps", str(_SHORT_STEPS) if data in FILELESS else "")
    if not steps.isdigit() or int(steps) >= _VALIDATIONS * 500:  # the fewest updates between validations by default
        return ()
    every = max(1, int(steps) // _VALIDATIONS)
    return (f"--report_freq={every}", f"--vali_freq={every}")
