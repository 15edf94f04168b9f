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
from common.results import fewshot, figures, papers, tables
from common.results.experiment import UNKNOWN, Experiment


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
    experiments = [Experiment(table, data, settings, extra) for data in _data(table, settings.data)]
    jobs = [job for experiment in experiments for job in experiment.jobs()]
    for job in jobs:
        job.check()
    done = [(job, job.is_done()) for job in jobs]
    for job, there in done:
        _say(f"{job}{'  # done' if there else ''}")
    missing = [job for job, there in done if not there]
    _say(f"{len(missing)} of {len(done)} runs are missing")
    if any(job.lacks for job in missing):
        longer = "; the best row with more updates is known then" if settings.long else ""
        _say(f"{UNKNOWN} is the rate with the lowest error on the holdout, of the runs before it{longer}")
    if settings.dry_run:
        return 0
    failed, number = [], 0
    for experiment in experiments:
        if any(row.data for row in experiment.rows):
            fewshot.write_of(experiment.data, experiment.sets)
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
                failed.append(f"FAILED: {job.name} ({why})")
                _say(f"{failed[-1]}; the others go on", sys.stderr)
            _keep(experiment, job)
            _write(experiment)
        _deliver(experiment)
    if extra:
        _say(f"every command had {' '.join(extra)} besides; the paper's numbers are those of its own commands")
    for line in failed:
        _say(f"{line}; the same command tries it again", sys.stderr)
    return 1 if failed else 0


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


def _write(experiment):
    """Writes what is known so far: the table and the errors of all rates."""
    tables.write(experiment.groups(), 1, [experiment.stem + ending for ending in tables.FORMATS])
    if experiment.table.steps:
        files.replace(f"{experiment.stem}-rates.csv", tables.to_csv(experiment.choices()))


def _keep(experiment, job):
    """Copies the text files of a run into --out, if there is one; rates are chosen by runs that are not kept."""
    if experiment.settings.out and os.path.isdir(job.path) and not job.is_trial:
        kept = os.path.join(experiment.stem, job.name)
        shutil.copytree(job.path, kept, ignore=_others, copy_function=shutil.copyfile, dirs_exist_ok=True)


def _others(folder, names):
    return set(names).difference(files.TEXTS)


def _deliver(experiment):
    """Keeps the texts of all runs; prints and writes the table of a data set and, if it can be drawn, its figure."""
    for job in experiment.jobs():  # some were done before --out was given
        _keep(experiment, job)
    _write(experiment)
    found = experiment.groups()
    print(f"\n{experiment.name}\n\n{tables.markdown(tables.texts(found))}")
    for group in found:
        for line in group.remarks():
            _say(line, sys.stderr)
    try:
        tables.write(found, 1, [experiment.stem + ending for ending in figures.FORMATS])
    except ValueError as error:
        _say(f"no figure: {error}", sys.stderr)
    _say(f"written: {os.path.dirname(experiment.stem)}")


def _say(line, file=None):
    print(line, file=file, flush=True)


if __name__ == "__main__":
    main(Settings, run)
