"""The runs of a paper's table: their commands, which of them are done, and how long the others will take."""

import dataclasses
import os
import shlex
import statistics

from common.results import papers, runs

_OWN = ("seed", "train_path", "resume", "task", "load", "train_dir", "flagfile")  # flags that a table sets, or excludes


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a row.

    Attributes:
      row: the `papers.Row`.
      data: the data set.
      seed: its seed.
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
        return f"{self.row.name}/{os.path.basename(self.path)}"

    @property
    def folder(self):
        """Where its train.py is."""
        return str(papers.ROOT / self.row.folder)

    def __str__(self):
        """The command as one types it in the root of the clone."""
        return f"(cd {self.row.folder} && python train.py {shlex.join(self.arguments)})"

    def run(self):
        """Returns the `Run` in its folder, as far as there is one."""
        return runs.read(self.path)


def jobs(table, data, count, folder, extra=(), only=None):
    """Returns the `Job`s of a table for one data set, all rows with the first seed first.

    Args:
      table: the `papers.Table`.
      data: one of its data sets.
      count: runs of each row: seeds 0, 1, ...
      folder: the folder of all tables.
      extra: flags that come last in each command, and so count in place of equal ones before.
      only: names of the rows wanted; None for all.

    Raises ValueError for a row that the table does not have, and for extra flags that are the table's own.
    """
    names = [row.name for row in table.rows]
    for name in only or ():
        if name not in names:
            raise ValueError(f"--rows: {table.name} has no row {name!r}, but {', '.join(names)}")
    for flag in extra:
        name = flag.lstrip("-").partition("=")[0]
        if not flag.startswith("--") or not name:
            raise ValueError(f"unexpected argument {flag!r}: what follows -- are flags, as in --max_steps=2")
        if name in (*_OWN, "data"):
            raise ValueError(f"{flag} after --: the table sets --{name} itself")
    made = []
    for seed in range(count):
        for row in table.rows:
            if only is None or row.name in only:
                path = os.path.join(os.path.abspath(folder), f"{table.name}-{data}", row.name, f"seed-{seed}")
                place = (f"--seed={seed}", f"--train_path={path}", "--resume")
                made.append(Job(row, data, seed, path, (f"--data={data}", *row.flags, *extra, *place)))
    return made


def is_done(job, free=()):
    """Returns whether the results of a job are there.

    Args:
      free: names of flags that may differ.

    Raises ValueError if there are results in its folder of a run with other flags.
    """
    run = job.run()
    if not run.complete:
        return False
    wanted = {"max_steps": None, **papers.values(job.arguments)}
    differing = [
        f"{name}: {run.flags.get(name, 'none')} there, {value or 'none'} here"
        for name, value in wanted.items()
        if name not in (*_OWN, *free) and not papers.same(value, run.flags.get(name))
    ]
    if differing or run.method != job.row.method:
        differing = differing or [f"method: {run.method} there, {job.row.method} here"]
        raise ValueError(
            f"{job.path} holds the results of a run with other flags ({'; '.join(differing)}): choose another --dir, or "
            "give the flags that it had"
        )
    return True


def seconds_left(missing, everything):
    """Returns (seconds, rows): how long the missing jobs will take, and of how many rows a speed is known.

    A row's speed is that of the reports of its runs, here and now; a row without any is taken to be like the mean of
    the others. Seconds are None if no speed is known. Validations and checkpoints come on top.
    """
    speeds, lengths = {}, {}
    for job in everything:
        run = job.run()
        if run.seconds and run.steps:
            speeds.setdefault(job.row.name, []).append(run.seconds / max(run.curve("train", "images_per_second")))
            lengths[job.row.name] = run.steps
    if not speeds:
        return None, 0
    of_row = {name: statistics.median(values) for name, values in speeds.items()}
    mean = statistics.mean(of_row[name] * lengths[name] for name in of_row)
    total = 0.0
    for job in missing:
        name = job.row.name
        total += of_row[name] * max(lengths[name] - job.run().done, 0) if name in of_row else mean
    return total, len(of_row)


def duration(seconds):
    """Returns a duration in words, roughly."""
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} seconds"
