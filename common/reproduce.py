"""The papers' tables, made anew: python -m common.reproduce TABLE [flags] [-- FLAGS OF TRAIN.PY].

TABLE is one of the papers', riemannian-cifar, riemannian-svhn or opt-comparison, or shows their claims in hours,
opt-fashion, riemannian-fashion or finetune-fashion. The commands of all its runs are printed; those whose results are
missing are run, one after another. Stopped at any point, the same command goes on. After each run the table is written,
at the end the figure too.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys

from common import files, flags
from common.command import main
from common.distributed.processes import heeded
from common.results import papers, tables
from common.results.experiment import Experiment, folder_name


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the reproduction."""

    runs: int = flags.option(5, "runs of each row: seeds 0, 1, ...", minimum=1)
    data: str | None = flags.option(None, "data set; all of the table's if left out")
    rows: str | None = flags.option(None, "names of the rows wanted, with commas between them; all if left out")
    steps: int | None = flags.option(None, "tables on Fashion-MNIST: updates of a run; 2000 if left out", minimum=1)
    widths: str | None = flags.option(None, "their filters of the three stages and fc6; 32 everywhere if left out")
    long: bool = flags.option(False, "the first row and the best one also with 4 and 16 times the updates")
    dir: str = flags.path("./logs/reproduce", "folder of the runs, of all tables")
    out: str | None = flags.path(None, "folder for the table and figure; the table's own under --dir if left out")
    dry_run: bool = flags.option(False, "print the commands, and run none")


def run(words, settings, train=None):
    """Makes a table; returns the exit status.

    Args:
      words: the table's name, and flags of train.py that come last in every command.
      settings: the flags.
      train: `train(job) -> (exit status, signal that came or None)`, for tests; None for a process of its own.
    """
    table, extra = _table(words)
    experiments = [_experiment(table, data, settings, extra) for data in _data(table, settings.data)]
    done = [(job, job.is_done()) for experiment in experiments for job in experiment.jobs()]
    for job, there in done:
        _say(f"{job}{'  # done' if there else ''}")
    missing = [job for job, there in done if not there]
    _say(f"{len(missing)} of {len(done)} runs are missing")
    if settings.dry_run:
        return 0
    failed, number = [], 0
    for experiment in experiments:
        if table.write_sets:
            table.write_sets(experiment.data, experiment.sets)
        for job in experiment.jobs():
            if job.is_done():
                continue
            number += 1
            _say(f"run {number} of {len(missing)}: {job}")
            status, stopped = (None, None) if job.lacks else (train or _train)(job)
            if stopped:
                _say("interrupted; the same command goes on")
                return 128 + stopped
            if not job.is_done():
                why = job.lacks or f"status {status}"
                failed.append(f"FAILED: {job.name} ({why}); the same command tries it again")
                _say(f"FAILED: {job.name} ({why}); the others go on", sys.stderr)
            _write(experiment, job, settings)
        _deliver(experiment, settings)
    if extra:
        _say(f"every command had {' '.join(extra)} besides; the paper's numbers are those of its own commands")
    for line in failed:
        _say(line, sys.stderr)
    return 1 if failed else 0


def _experiment(table, data, settings, extra):
    folder = os.path.join(os.path.abspath(settings.dir), folder_name(table, data))
    only = tuple(settings.rows.split(",")) if settings.rows else None
    return Experiment(table, data, folder, settings.runs, extra, only, settings.steps, settings.widths, settings.long)


def _table(words):
    known = papers.tables()
    if not words:
        raise ValueError(f"which table? python -m common.reproduce TABLE, one of {', '.join(known)}")
    if words[0] not in known:
        raise ValueError(f"there is no table {words[0]!r}; expected one of {', '.join(known)}")
    return known[words[0]], tuple(words[1:])


def _data(table, name):
    if name is not None and name not in table.data:
        raise ValueError(f"--data={name}: {table.name} is a table of {', '.join(table.data)}")
    return table.default if name is None else (name,)


def _train(job):
    """Runs a job to its end; returns (exit status, number of the first signal that came meanwhile or None).

    The job is in a session of its own, so that Ctrl-C reaches it once, as a SIGTERM from here: it saves and ends.
    """
    came = []

    def pass_on(number, frame):
        came.append(number)
        process.terminate()

    process = subprocess.Popen([sys.executable, "train.py", *job.arguments], cwd=job.folder, start_new_session=True)
    before = {number: signal.signal(number, pass_on) for number in heeded()}
    try:
        return process.wait(), came[0] if came else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(experiment, job, settings):
    """Writes what is known after a run: its text files, if --out is another place, the table and all errors."""
    folder = _out(experiment, settings)
    kept = os.path.join(folder, experiment.name, job.name)
    for name in files.TEXTS if settings.out and not job.is_trial else ():
        if os.path.exists(source := os.path.join(job.path, name)):
            os.makedirs(kept, exist_ok=True)
            shutil.copyfile(source, os.path.join(kept, name))
    stem = os.path.join(folder, experiment.name)
    tables.write(experiment.groups(), 1, tables.files_of(stem), draw=False)
    if experiment.table.steps:
        files.replace(f"{stem}-rates.csv", tables.to_csv(experiment.choices()))


def _out(experiment, settings):
    return settings.out or experiment.folder


def _deliver(experiment, settings):
    """Prints and writes the table of a data set and, if it can be drawn, its figure."""
    found, folder = experiment.groups(), _out(experiment, settings)
    print(f"\n{experiment.name}\n\n{tables.markdown(tables.texts(found))}")
    for line in (line for group in found for line in group.remarks()):
        _say(line, sys.stderr)
    try:
        tables.write(found, 1, tables.files_of(os.path.join(folder, experiment.name)))
    except ValueError as error:  # the tables are written before the figure
        _say(f"no figure: {error}", sys.stderr)
    _say(f"written: {folder}")


def _say(line, file=None):
    print(line, file=file or sys.stdout, flush=True)


if __name__ == "__main__":
    main(Settings, run)
