"""The papers' tables, made anew: python -m common.reproduce TABLE [flags] [-- FLAGS OF TRAIN.PY].

TABLE is riemannian-cifar, riemannian-svhn or opt-comparison. The commands of all its runs are printed; those whose
results are missing are run, one after another. Stopped at any point, the same command goes on. It ends with the table,
the paper's figures beside ours.
"""

import dataclasses
import os
import sys

from common import flags
from common.cli import run_flags
from common.command import main
from common.results import groups, jobs, output, papers
from common.results.launcher import Launcher


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the reproduction."""

    runs: int = flags.option(5, "runs of each row: seeds 0, 1, ...", minimum=1)
    data: str | None = flags.option(None, "data set; all of the table's if left out")
    rows: str | None = flags.option(None, "names of the rows wanted, with commas between them; all if left out")
    dir: str = flags.option("./logs/reproduce", "folder of the runs, of all tables")
    out: str | None = flags.option(None, "folder for the tables and figures; the table's own under --dir if left out")
    dry_run: bool = flags.option(False, "print the commands, and run none")


def run(words, settings, launcher=Launcher):
    """Makes a table; returns the exit status.

    Args:
      words: the table's name, and flags of train.py that come last in every command.
      settings: the flags.
      launcher: what runs the jobs, see `Launcher`.
    """
    table, extra = _table(words)
    sets = _data(table, settings.data)
    only = settings.rows.split(",") if settings.rows else None
    everything = {data: jobs.jobs(table, data, settings.runs, settings.dir, extra, only) for data in sets}
    flat = [job for of_data in everything.values() for job in of_data]
    done = [jobs.is_done(job, run_flags.FREE) for job in flat]
    for job, there in zip(flat, done):
        print(f"{job}{'  # done' if there else ''}")
    missing = [job for job, there in zip(flat, done) if not there]
    _say(f"{len(missing)} of {len(flat)} runs are missing{_estimate(missing, flat)}")
    if settings.dry_run:
        return 0
    with launcher() as running:
        failed = _run_all(missing, flat, running)
        stopped = running.signal
    if stopped:
        _say("interrupted; the same command goes on")
        return 128 + stopped
    for data, of_data in everything.items():
        _deliver(table, data, of_data, settings)
    if extra:
        _say(f"every command had {' '.join(extra)} besides; figures of the paper are those of its own commands")
    for name, status in failed.items():
        _say(f"FAILED: {name} (status {status}); the same command tries it again", sys.stderr)
    return 1 if failed else 0


def _table(words):
    names = ", ".join(papers.TABLES)
    if not words:
        raise ValueError(f"which table? python -m common.reproduce TABLE, one of {names}")
    if words[0] not in papers.TABLES:
        raise ValueError(f"there is no table {words[0]!r}; expected one of {names}")
    return papers.TABLES[words[0]], tuple(words[1:])


def _data(table, name):
    if name is None:
        return table.default
    if name not in table.data:
        raise ValueError(f"--data={name}: {table.name} is a table of {', '.join(table.data)}")
    return (name,)


def _run_all(missing, everything, running):
    """Runs jobs one after another; returns {name: exit status} of those that failed."""
    failed = {}
    for number, job in enumerate(missing):
        left = missing[number:]
        _say(f"run {number + 1} of {len(missing)}: {job}")
        status = running.run(job, _Look(job, left, everything))
        if running.signal:
            break
        if status or not job.run().complete:
            failed[job.name] = status
            _say(f"FAILED: {job.name} ended with status {status}; the others go on", sys.stderr)
    return failed


class _Look:
    """Tells once, when the first figures of a run are there, how long all will take."""

    def __init__(self, job, left, everything):
        self._job, self._left, self._everything = job, left, everything
        self._before, self._told = job.run().done, False

    def __call__(self):
        if not self._told and self._job.run().done > self._before:
            self._told = True
            _say(f"to go, this one included: {len(self._left)}{_estimate(self._left, self._everything)}")


def _estimate(missing, everything):
    seconds, rows = jobs.seconds_left(missing, everything)
    if not missing:
        return ""
    if seconds is None:
        return "; how long they take will be said after the first report"
    all_rows = len({job.row.name for job in everything})
    known = "" if rows == all_rows else f", if the other rows are like the {rows} of {all_rows} whose speed is known"
    return f", about {jobs.duration(seconds)} at the speed of the reports so far{known}"


def _deliver(table, data, of_data, settings):
    """Prints and writes the table of a data set, and its figure if Matplotlib is there and there is any to draw."""
    found = []
    for row in {job.row.name: job.row for job in of_data}.values():
        own = [run for run in (job.run() for job in of_data if job.row is row) if run.done]
        found.append(groups.of_row(row, data, own, settings.runs))
    name = f"{table.name}-{data}"
    folder = settings.out or os.path.join(settings.dir, name)
    output.make_folder(folder)
    paths = output.files_of(os.path.join(folder, name))
    print(f"\n{name}\n\n{output.markdown([groups.row(group) for group in found])}")
    for line in output.remarks(found):
        _say(line, sys.stderr)
    output.write_tables(found, 1, paths)
    try:
        output.write_figures(found, 1, paths)
    except ValueError as error:
        _say(f"no figure: {error}", sys.stderr)
    _say(f"written: {folder}")


def _say(line, file=None):
    print(line, file=file or sys.stdout, flush=True)


if __name__ == "__main__":
    main(Settings, run)
