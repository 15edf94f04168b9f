"""One run of a table: its command, and whether it is done."""

import dataclasses
import shlex

from common.cli.settings import Common
from common.command import CommandLine
from common.flags import ANY
from common.results import rows, runs

OWN = ("data", "seed", "train_path", "resume", "task", "load", "train_dir", "flagfile", "fixed")  # a table's business


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

    def check(self):
        """Raises ValueError for flags that train.py does not take, as far as all are known."""
        if not self.lacks:
            CommandLine(rows.settings_of(self.row.folder), self.arguments).settings()

    def run(self):
        """Returns the `Run` in the job's folder, as far as there is one."""
        return runs.read(self.path)

    def is_done(self):
        """Returns whether the results are there: the run has ended, or has shown that it diverges.

        Raises ValueError if what is there is a run with other flags.
        """
        run = self.run()
        if self.lacks or not run.flags:
            return False
        there = {**rows.defaults(rows.settings_of(self.row.folder)), **run.flags, "method": run.method}
        wanted = {"max_steps": None, **rows.values(self.arguments), "method": self.row.method}
        if differing := rows.differing(wanted, there, (*OWN, *Common.names(ANY))):
            words = "; ".join(f"{name}: {old or 'none'} there, {new or 'none'} here" for name, old, new in differing)
            advice = "choose another --dir, or give the flags that it had"
            raise ValueError(f"{self.path} holds the results of a run with other flags ({words}): {advice}")
        return run.complete or run.diverged
