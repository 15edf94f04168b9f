"""The command that makes the papers' tables anew, with a launcher that only writes what a run would leave."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest

from common import readme, reproduce
from common.results import jobs, launcher, output, papers
from tests import run_folders
from tests.fuzzing.driver import ROOT

OPT = papers.TABLES["opt-comparison"]


class Fake:
    """A launcher that writes run folders; `failing` rows leave none, and `stop_after` runs a signal comes."""

    def __init__(self, failing=(), stop_after=None):
        self.signal, self.ran = None, []
        self._failing, self._stop_after = failing, stop_after

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, job, look):
        self.ran.append(job.name)
        look()
        if job.row.name in self._failing:
            return 3
        flags = {"widths": None, **papers.values(job.arguments)}
        del flags["resume"]
        run_folders.write(pathlib.Path(job.path), job.row.method, **flags)
        look()
        if len(self.ran) == self._stop_after:
            self.signal = signal.SIGINT
        return 0


def made(tmp_path, fake, *words, **flags):
    flags = {"data": "digits", "rows": "baseline,opt_cp", "runs": 2, "dir": str(tmp_path / "runs"), **flags}
    return reproduce.run(["opt-comparison", *words], reproduce.Settings(**flags), fake)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures have their own tests; here a file with the figure's title stands for one."""
    monkeypatch.setattr(output.drawing, "save", lambda shape, path: open(path, "w").write(shape.get_suptitle()))


def test_the_commands_are_those_one_types(tmp_path, capsys):
    assert made(tmp_path, Fake(), dry_run=True) == 0
    place = tmp_path / "runs" / "opt-comparison-digits"
    lines = capsys.readouterr().out.splitlines()
    start = "python train.py --data=digits --widths=64,64,64,64"
    assert lines == [
        f"(cd opt_hr && {start} --rotation=none --seed=0 --train_path={place}/baseline/seed-0 --resume)",
        f"(cd opt_cp && {start} --seed=0 --train_path={place}/opt_cp/seed-0 --resume)",
        f"(cd opt_hr && {start} --rotation=none --seed=1 --train_path={place}/baseline/seed-1 --resume)",
        f"(cd opt_cp && {start} --seed=1 --train_path={place}/opt_cp/seed-1 --resume)",
        "4 of 4 runs are missing; how long they take will be said after the first report",
    ]
    assert not (tmp_path / "runs").exists()


def test_only_what_is_missing_is_run_and_the_table_is_written(tmp_path, capsys):
    place = tmp_path / "runs" / "opt-comparison-digits"
    run_folders.write(place / "opt_cp" / "seed-0")  # finished
    fake = Fake(stop_after=2)
    assert made(tmp_path, fake) == 128 + signal.SIGINT
    assert fake.ran == ["baseline/seed-0", "baseline/seed-1"] and not list(place.glob("*.md"))
    out = capsys.readouterr().out
    assert "3 of 4 runs are missing, about 1 seconds at the speed of the reports so far, if the other rows" in out
    assert "interrupted; the same command goes on" in out and out.count("# done") == 1
    again = Fake()
    assert made(tmp_path, again) == 0 and again.ran == ["opt_cp/seed-1"]
    table = (place / "opt-comparison-digits.md").read_text()
    assert table in capsys.readouterr().out
    assert "| ordinary training | CNN-6 64-64-64-64 | digits | 2 | 4 | 20.00 | 20.00 |" in table
    names = {path.name.removeprefix("opt-comparison-digits") for path in place.iterdir() if path.is_file()}
    assert names == {".md", ".csv", "-curves.csv", ".png", ".svg"}
    nothing = Fake()
    results = tmp_path / readme.RESULTS
    assert made(tmp_path, nothing, out=str(results)) == 0 and nothing.ran == []
    assert (results / "opt-comparison-digits.md").read_text() == table
    text = "a\n<!-- results of opt-comparison-digits -->\nold\n<!-- end -->\nb"
    filled = readme.places.filled(text, lambda name: readme.section(tmp_path, name))
    assert table in filled and "old" not in filled
    assert "![opt-comparison-digits](benchmarks/results/opt-comparison-digits.png)" in filled


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, capsys):
    fake = Fake(failing=("baseline",))
    assert made(tmp_path, fake, runs=1) == 1
    assert fake.ran == ["baseline/seed-0", "opt_cp/seed-0"]
    out, err = capsys.readouterr()
    assert "FAILED: baseline/seed-0 (status 3); the same command tries it again" in err
    assert "| ordinary training | CNN-6 64-64-64-64 | digits | 0 of 1 finished |" in out


def test_an_unfinished_run_goes_on(tmp_path, capsys):
    place = tmp_path / "runs" / "opt-comparison-digits" / "opt_cp" / "seed-0"
    run_folders.write(place, errors=[(2, 30.0)])
    assert made(tmp_path, Fake(), runs=1, rows="opt_cp", dry_run=True) == 0
    assert "1 of 1 runs are missing, about 0 seconds" in capsys.readouterr().out


def test_extra_flags_come_last_but_for_the_place(tmp_path, capsys):
    assert made(tmp_path, Fake(), "--max_steps=4", "--widths=4,4,4,4", rows="opt_cp", runs=1) == 0
    out = capsys.readouterr().out
    assert "--widths=64,64,64,64 --max_steps=4 --widths=4,4,4,4 --seed=0" in out
    assert "every command had --max_steps=4 --widths=4,4,4,4 besides" in out
    assert "| opt_cp | CNN-6 4-4-4-4 | digits | 1 | 4 |" in out
    with pytest.raises(ValueError, match=r"max_steps: 4 there, none here.*choose another --dir"):
        made(tmp_path, Fake(), "--widths=4,4,4,4", rows="opt_cp", runs=1)
    assert made(tmp_path, Fake(), "--max_steps=4", "--widths=4,4,4,4", "--num_gpus=2", rows="opt_cp", runs=1) == 0


def test_results_of_another_method_are_not_taken(tmp_path):
    run_folders.write(tmp_path / "runs" / "opt-comparison-digits" / "opt_cp" / "seed-0", "opt_gs")
    with pytest.raises(ValueError, match="method: opt_gs there, opt_cp here"):
        made(tmp_path, Fake(), rows="opt_cp", runs=1)


def test_a_table_of_two_data_sets_with_the_papers_figures(tmp_path, capsys):
    settings = reproduce.Settings(runs=1, rows="wrn-28-10-sgdg", dir=str(tmp_path))
    fake = Fake()
    assert reproduce.run(["riemannian-cifar"], settings, fake) == 0 and len(fake.ran) == 2
    tables = [(tmp_path / name / f"{name}.md").read_text() for name in ("riemannian-cifar-cifar10", "riemannian-cifar-cifar100")]
    assert "| SGD-G | WRN-28-10 | cifar10 | 1 |" in tables[0] and "| 3.85 (paper) |" in tables[0]
    assert "| 18.19 (paper) |" in tables[1]


def test_how_long_the_rest_takes(tmp_path):
    """Reports: 320 images/s, batches of 32, so 0.1 s an update. opt_cp has 4 updates, opt_gs is not known."""
    row = {row.name: row for row in OPT.rows}
    everything = jobs.jobs(OPT, "digits", 2, str(tmp_path), only=["opt_cp", "opt_gs"])
    assert jobs.seconds_left(everything, everything) == (None, 0)
    run_folders.write(pathlib.Path(everything[0].path))
    run_folders.write(pathlib.Path(everything[2].path), seed=1, errors=[(1, 9.0)])
    missing = everything[1:]
    assert [job.row for job in missing] == [row["opt_gs"], row["opt_cp"], row["opt_gs"]]
    assert jobs.seconds_left(missing, everything) == (pytest.approx(0.4 + 0.3 + 0.4), 1)
    assert [jobs.duration(seconds) for seconds in (5, 130, 8000, 200000)] == ["5 seconds", "2.2 minutes", "2.2 hours", "2.3 days"]


@pytest.mark.parametrize(
    "words, flags, message",
    [
        ([], {}, "which table"),
        (["opt"], {}, "there is no table 'opt'; expected one of riemannian-cifar, riemannian-svhn, opt-comparison"),
        (["opt-comparison"], {"data": "svhn"}, "--data=svhn: opt-comparison is a table of cifar100"),
        (["opt-comparison"], {"runs": 0}, "--runs=0: expected at least 1"),
        (["opt-comparison"], {"rows": "sgd"}, "--rows: opt-comparison has no row 'sgd', but baseline"),
        (["opt-comparison", "word"], {}, "unexpected argument 'word'"),
        (["opt-comparison", "--seed=1"], {}, "the table sets --seed itself"),
        (["opt-comparison", "--data=svhn"], {}, "the table sets --data itself"),
    ],
)
def test_bad_input_is_an_error(tmp_path, words, flags, message):
    with pytest.raises(ValueError, match=message):
        reproduce.run(words, reproduce.Settings(dir=str(tmp_path), **flags), Fake())


def test_the_readme_shows_the_results_that_are_here():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.places.filled(text, lambda name: readme.section(ROOT, name)) == text
    assert "<!-- results of opt-comparison-digits -->" in text


SCRIPT = """
import signal, sys, time
def stop(number, frame):
    open("stopped", "w").write(str(number))
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
open("started", "w").close()
time.sleep(60)
"""


def test_a_signal_reaches_the_job_once_and_ends_it_in_good_order(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    job = types.SimpleNamespace(arguments=(), folder=str(tmp_path))

    def look():
        if (tmp_path / "started").exists():
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with launcher.Launcher() as running:
        assert running.run(job, look) == 128 + signal.SIGTERM
        assert running.signal == signal.SIGINT
        assert running.run(job, look) == 128 + signal.SIGINT  # what comes after the signal is not begun
    assert (tmp_path / "stopped").read_text() == str(int(signal.SIGTERM))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_tiny_table_is_really_run_interrupted_and_gone_on_with(tmp_path):
    command = [
        sys.executable, "-m", "common.reproduce", "opt-comparison", "--data=synthetic", "--runs=1", "--rows=baseline,opt_cp",
        f"--dir={tmp_path}", "--", "--max_steps=400", "--widths=4,4,4,4", "--report_freq=1",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    metrics = tmp_path / "opt-comparison-synthetic" / "baseline" / "seed-0" / "metrics.jsonl"
    end = time.monotonic() + 300
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT and "interrupted; the same command goes on" in out
    assert list(metrics.parent.glob("model.ckpt-*.index"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "goes on from" in done.stdout and "to go, this one included" in done.stdout
    table = (tmp_path / "opt-comparison-synthetic" / "opt-comparison-synthetic.md").read_text()
    assert "| ordinary training | CNN-6 4-4-4-4 | synthetic | 1 | 400 |" in table and "| opt_cp | CNN-6 4-4-4-4 |" in table
    assert table in done.stdout
