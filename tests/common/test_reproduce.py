"""The command that makes the papers' tables anew, with a launcher that only writes what a run would leave."""

import csv
import signal
import subprocess
import sys
import time
import types

import pytest

from common import reproduce
from common.results import figures, rows
from tests import run_folders
from tests.fake_training import Fake, made
from tests.fuzzing.driver import ROOT


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures have their own tests; here a file with the figure's title stands for one."""
    monkeypatch.setattr(figures, "save", lambda shape, path: open(path, "w").write(shape.get_suptitle()))


def test_the_commands_are_those_one_types(tmp_path, capsys):
    assert made(tmp_path, Fake(), dry_run=True) == 0
    place = tmp_path / "runs" / "opt-comparison-digits"
    lines = capsys.readouterr().out.splitlines()
    start, often = "python train.py --data=digits --widths=64,64,64,64", "--report_freq=50 --vali_freq=50"
    assert lines == [
        f"(cd opt_cp && {start} --rotation=none {often} --seed=0 --train_path={place}/baseline/seed-0 --resume)",
        f"(cd opt_cp && {start} {often} --seed=0 --train_path={place}/opt_cp/seed-0 --resume)",
        f"(cd opt_cp && {start} --rotation=none {often} --seed=1 --train_path={place}/baseline/seed-1 --resume)",
        f"(cd opt_cp && {start} {often} --seed=1 --train_path={place}/opt_cp/seed-1 --resume)",
        "4 of 4 runs are missing",
    ]
    assert not (tmp_path / "runs").exists()


def test_only_what_is_missing_is_run_and_the_table_is_written(tmp_path, capsys):
    place = tmp_path / "runs" / "opt-comparison-digits"
    run_folders.write(place / "opt_cp" / "seed-0")  # finished
    fake = Fake(stop_after=2)
    assert made(tmp_path, fake) == 128 + signal.SIGINT
    assert fake.ran == ["baseline/seed-0", "baseline/seed-1"]
    so_far = (place / "opt-comparison-digits.md").read_text()
    assert "| ordinary training | CNN-6 64-64-64-64 | digits | 1 of 2 finished |" in so_far
    out = capsys.readouterr().out
    assert "3 of 4 runs are missing\nrun 1 of 3: (cd opt_cp && " in out
    assert "interrupted; the same command goes on" in out and out.count("# done") == 1
    again = Fake()
    assert made(tmp_path, again) == 0 and again.ran == ["opt_cp/seed-1"]
    table = (place / "opt-comparison-digits.md").read_text()
    assert table in capsys.readouterr().out
    assert "| ordinary training | CNN-6 64-64-64-64 | digits | 2 | 4 | 20.50 (20.00..21.00) |" in table
    names = {path.name.removeprefix("opt-comparison-digits") for path in place.iterdir() if path.is_file()}
    assert names == {".md", ".csv", "-curves.csv", ".png", ".svg"}
    nothing = Fake()
    assert made(tmp_path, nothing, out=str(tmp_path / "out")) == 0 and nothing.ran == []
    assert (tmp_path / "out" / "opt-comparison-digits.md").read_text() == table


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, capsys):
    fake = Fake(failing=("baseline/seed-0",))
    assert made(tmp_path, fake, runs=1) == 1
    assert fake.ran == ["baseline/seed-0", "opt_cp/seed-0"]
    out, err = capsys.readouterr()
    assert "FAILED: baseline/seed-0 (status 3); the same command tries it again" in err
    assert "| ordinary training | CNN-6 64-64-64-64 | digits | 0 of 1 finished |" in out


def test_flags_that_a_program_does_not_take_are_refused_before_the_first_run(tmp_path):
    fake = Fake()
    for flag, wanted in (("--max_step=4", "Unknown command line flag 'max_step'"), ("--widths=4,4", "expected four")):
        with pytest.raises(ValueError, match=wanted):
            made(tmp_path, fake, flag)
    assert fake.ran == [] and list(tmp_path.iterdir()) == []


def test_extra_flags_come_last_but_for_the_place(tmp_path, capsys):
    assert made(tmp_path, Fake(), "--max_steps=4", "--widths=4,4,4,4", rows="opt_cp", runs=1) == 0
    out = capsys.readouterr().out
    assert "--widths=64,64,64,64 --report_freq=1 --vali_freq=1 --max_steps=4 --widths=4,4,4,4 --seed=0" in out
    assert "every command had --max_steps=4 --widths=4,4,4,4 besides" in out
    assert "| opt_cp | CNN-6 4-4-4-4 | digits | 1 | 4 |" in out
    with pytest.raises(ValueError, match=r"max_steps: 4 there, none here.*choose another --dir"):
        made(tmp_path, Fake(), "--widths=4,4,4,4", rows="opt_cp", runs=1)
    assert made(tmp_path, Fake(), "--max_steps=4", "--widths=4,4,4,4", "--num_gpus=2", rows="opt_cp", runs=1) == 0


def test_an_unfinished_run_with_other_flags_is_not_gone_on_with(tmp_path):
    place = tmp_path / "runs" / "opt-comparison-digits" / "opt_cp" / "seed-0"
    run_folders.write(place, errors=[(2, 40.0)], widths="8,8,8,8")
    with pytest.raises(ValueError, match="widths: 8,8,8,8 there, 64,64,64,64 here"):
        made(tmp_path, Fake(), rows="opt_cp", runs=1)


def test_results_of_another_method_are_not_taken(tmp_path):
    run_folders.write(tmp_path / "runs" / "opt-comparison-digits" / "opt_cp" / "seed-0", "opt_gs")
    with pytest.raises(ValueError, match="method: opt_gs there, opt_cp here"):
        made(tmp_path, Fake(), rows="opt_cp", runs=1)


def test_a_table_of_two_data_sets_with_the_papers_figures(tmp_path, capsys):
    fake = Fake()
    assert made(tmp_path, fake, table="riemannian-cifar", data=None, rows="wrn-28-10-sgdg", runs=1) == 0
    names = ("riemannian-cifar-cifar10", "riemannian-cifar-cifar100")
    tables = [(tmp_path / "runs" / name / f"{name}.md").read_text() for name in names]
    assert "| SGD-G | WRN-28-10 | cifar10 | 1 |" in tables[0] and "| 3.85 (paper) |" in tables[0]
    assert "| 18.19 (paper) |" in tables[1]


@pytest.mark.parametrize(
    "data, words, frequency",
    [
        ("digits", [], "50"),
        ("digits", ["--max_steps=16"], "2"),
        ("cifar100", ["--max_steps=3"], "1"),
        ("cifar100", [], None),
    ],
)
def test_a_short_run_validates_at_least_eight_times(tmp_path, capsys, data, words, frequency):
    assert made(tmp_path, Fake(), *words, data=data, rows="opt_cp", runs=1, dry_run=True) == 0
    flags = rows.values(capsys.readouterr().out.split(") ")[0].split()[5:])
    assert (flags.get("vali_freq"), flags.get("report_freq")) == (frequency, frequency)


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
        (["opt-fashion", "--max_steps=3"], {}, "the table sets --max_steps itself"),
        (["opt-comparison"], {"steps": 5}, "the runs of opt-comparison are the paper's"),
        (["riemannian-fashion"], {"widths": "8"}, "the widths of riemannian-fashion are its own"),
        (["opt-comparison"], {"long": True}, "opt-comparison has no longer runs"),
    ],
)
def test_bad_input_is_an_error(tmp_path, words, flags, message):
    with pytest.raises(ValueError, match=message):
        reproduce.run(words, reproduce.Settings(dir=str(tmp_path), **flags), Fake())


SCRIPT = """
import os, signal, sys, time
def stop(number, frame):
    open("stopped", "a").write(str(int(number)))
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""


def test_a_signal_reaches_the_job_once_and_ends_it_in_good_order(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    before = signal.getsignal(signal.SIGINT)
    assert reproduce._train(types.SimpleNamespace(arguments=(), folder=str(tmp_path))) == (
        128 + signal.SIGTERM,
        signal.SIGINT,
    )
    assert (tmp_path / "stopped").read_text() == str(int(signal.SIGTERM))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_tiny_table_is_really_run_interrupted_and_gone_on_with(tmp_path):
    command = [
        sys.executable, "-m", "common.reproduce", "opt-comparison", "--data=synthetic", "--runs=1",
        "--rows=baseline,opt_cp",
        f"--dir={tmp_path}", "--", "--max_steps=400", "--widths=4,4,4,4", "--report_freq=1",
    ]  # fmt: skip
    place = tmp_path / "opt-comparison-synthetic"
    metrics = place / "baseline" / "seed-0" / "metrics.jsonl"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 300
            while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < end:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGINT and "interrupted; the same command goes on" in out
    assert list(metrics.parent.glob("model.ckpt-*.index"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "goes on from" in done.stdout
    table = (place / "opt-comparison-synthetic.md").read_text()
    assert (
        "| ordinary training | CNN-6 4-4-4-4 | synthetic | 1 | 400 |" in table and "| opt_cp | CNN-6 4-4-4-4 |" in table
    )
    assert table in done.stdout
    with open(place / "opt-comparison-synthetic-curves.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "test error"]
    assert len({row["updates"] for row in rows}) >= 8
