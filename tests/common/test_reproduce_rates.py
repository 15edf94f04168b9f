"""Tables whose rates are chosen on a holdout, with a launcher that only writes what a run would leave."""

import csv
import functools
import re
import subprocess
import sys

import numpy as np
import pytest

from common.data.dataset import Dataset
from common.results import fewshot
from tests import fake_training
from tests.fake_training import ERRORS, Fake
from tests.fuzzing.driver import ROOT

NAME = "opt-fashion-digits"
made = functools.partial(fake_training.made, table="opt-fashion")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr("common.results.figures.save", lambda shape, path: open(path, "w").close())


def test_rates_are_chosen_on_the_holdout_and_the_first_seed_of_every_row_comes_first(tmp_path, capsys):
    fake = Fake()
    assert made(tmp_path, fake, out=str(tmp_path / "out")) == 0
    assert fake.ran == [
        *(f"baseline/rate-{rate}" for rate in ERRORS["baseline"]), "baseline/seed-0",
        *(f"opt_cp/rate-{rate}" for rate in ERRORS["opt_cp"]), "opt_cp/seed-0",
        "baseline/seed-1", "opt_cp/seed-1",
    ]  # fmt: skip
    out = capsys.readouterr().out
    trial, final = [re.search(rf"run {n} of 12: .*?train.py (.*) --seed", out)[1] for n in (1, 5)]
    assert trial == (
        "--data=digits --rotation=none --widths=32,32,32,32 --max_steps=667 --report_freq=667 --vali_freq=667 "
        "--save_freq=166 --max_to_keep=1 --holdout=287 --base_lr=0.005"
    )
    assert final == (
        "--data=digits --rotation=none --widths=32,32,32,32 --max_steps=2000 --report_freq=250 --vali_freq=250 "
        "--save_freq=500 --max_to_keep=1 --base_lr=0.01"
    )
    table = (tmp_path / "out" / f"{NAME}.md").read_text()
    cells = "CNN-6 32-32-32-32 | digits | 2 | 4 | 20.50 (20.00..21.00) | 0.8200 | 2.5 | 1,234"
    assert table in out and table.splitlines()[2:] == [
        f"| ordinary training | {cells} | 0.01 |",
        f"| opt_cp, preset | {cells} | 0.2 (edge) |",
    ]
    choices = list(csv.DictReader(open(tmp_path / "out" / f"{NAME}-rates.csv")))
    assert [(row["rates"], row["holdout_error"], row["chosen"]) for row in choices[:4]] == [
        ("0.005", "14.0", "False"), ("0.01", "11.0", "True"), ("0.02", "12.0", "False"), ("0.04", "inf", "False"),
    ]  # fmt: skip
    kept = tmp_path / "out" / NAME / "opt_cp" / "seed-1"
    assert {path.name for path in kept.iterdir()} == {"log.txt", "flags.txt", "metrics.jsonl", "start.json"}
    again = Fake()
    assert made(tmp_path, again, out=str(tmp_path / "later")) == 0 and again.ran == []
    written = [{path.relative_to(top) for path in top.rglob("*")} for top in (tmp_path / "out", tmp_path / "later")]
    assert written[0] == written[1]
    assert made(tmp_path, again, runs=3) == 0 and again.ran == ["baseline/seed-2", "opt_cp/seed-2"]


def test_a_row_of_which_a_choice_is_missing_is_not_run_and_the_others_are(tmp_path, capsys):
    fake = Fake(failing=["baseline/rate-0.02"])
    assert made(tmp_path, fake, runs=1) == 1
    assert "baseline/seed-0" not in fake.ran and fake.ran[-1] == "opt_cp/seed-0"
    err = capsys.readouterr().err
    assert "FAILED: baseline/rate-0.02 (status 3)" in err and "FAILED: baseline/seed-0 (no rate could be chosen" in err
    again = Fake()
    assert made(tmp_path, again, runs=1) == 0 and again.ran == ["baseline/rate-0.02", "baseline/seed-0"]


def test_a_row_that_diverges_at_every_rate_is_said(tmp_path, capsys):
    fake = Fake()
    assert made(tmp_path, fake, rows="upt", runs=1) == 1 and len(fake.ran) == 4
    assert "or because all diverged" in capsys.readouterr().err


def test_what_is_not_known_yet_is_not_in_a_dry_run_s_commands(tmp_path, capsys):
    assert made(tmp_path, Fake(), rows="opt_cp", runs=1, dry_run=True) == 0
    assert "--base_lr=BEST --seed=0" in capsys.readouterr().out


def test_longer_runs_are_of_the_first_row_and_of_the_best_on_the_holdout(tmp_path):
    fake = Fake()
    assert made(tmp_path, fake, long=True, steps=100) == 0
    assert fake.ran[-4:] == ["baseline-4x/seed-0", "opt_cp-4x/seed-0", "baseline-16x/seed-0", "opt_cp-16x/seed-0"]
    text = (tmp_path / "runs" / NAME / "opt_cp-16x" / "seed-0" / "flags.txt").read_text()
    assert "--max_steps=1600\n" in text and "--base_lr=0.2\n" in text and "--vali_freq=200\n" in text
    assert "| opt_cp, preset, 16 x updates |" in (tmp_path / "runs" / NAME / f"{NAME}.md").read_text()


def test_stochastic_runs_have_episodes_and_as_many_updates(tmp_path, capsys):
    made(tmp_path, Fake(), rows="sopt_gs", runs=1, dry_run=True)
    out = capsys.readouterr().out
    assert "--episodes=40 --episode_steps=17 --max_steps=667 " in out
    assert "--episodes=40 --episode_steps=50 --max_steps=2000 " in out


def test_fine_tuning_begins_at_the_pretrained_network_of_the_same_seed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fewshot, "write_of", lambda *_: pytest.fail("no set is written in a dry run"))
    made(tmp_path, Fake(), table="finetune-fashion", data=None, rows="orthogonal-50", dry_run=True)
    place = tmp_path / "runs" / "finetune-fashion"
    *_, first, second, count, best = capsys.readouterr().out.splitlines()
    assert best == "BEST is the rate with the lowest error on the holdout, of the runs before it"
    assert f"--data={place}/sets/second-half-50.npz" in second and "--max_steps=500" in second
    assert f"--fixed={place}/pretrained/seed-1" in second and "pretrained/seed-1" in first
    assert count == "12 of 12 runs are missing"


def dataset(count=8):
    """Images that name their class and number: pixel values 10 * class + number."""
    labels = np.tile(np.arange(4, dtype=np.int32), count)
    pixels = (10 * labels + np.arange(len(labels)) // 4).astype(np.uint8)
    images = np.tile(pixels[:, None, None, None], [1, 2, 2, 3])
    return Dataset("small", 4, images, labels, images[:4], labels[:4], False)


def test_sets_for_fine_tuning(tmp_path):
    fewshot.write(dataset(), tmp_path, counts=(1, 2), validated=3)
    sets = {path.stem: np.load(path) for path in tmp_path.iterdir()}
    found = {
        name: {key: arrays[key][:, 0, 0, 0].tolist() for key in arrays if key.startswith("x")}
        for name, arrays in sets.items()
    }
    assert found == {
        "first-half": {"x_train": [0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16, 7, 17], "x_test": [0, 10]},
        "first-half-rates": {"x_train": [0, 10, 1, 11, 2, 12, 3, 13, 4, 14], "x_val": [5, 15, 6, 16, 7, 17]},
        "second-half-1": {"x_train": [20, 30], "x_test": [20, 30]},
        "second-half-1-rates": {"x_train": [20, 30], "x_val": [25, 35, 26, 36, 27, 37]},
        "second-half-2": {"x_train": [20, 30, 21, 31], "x_test": [20, 30]},
        "second-half-2-rates": {"x_train": [20, 30, 21, 31], "x_val": [25, 35, 26, 36, 27, 37]},
    }
    assert sets["second-half-2"]["y_train"].tolist() == [0, 1, 0, 1] == sets["first-half"]["y_train"].tolist()[:4]
    with pytest.raises(ValueError, match="small has a class of 8 images, expected 9"):
        fewshot.write(dataset(), tmp_path, counts=(6,), validated=3)


@pytest.mark.slow
def test_a_tiny_table_is_really_run(tmp_path):
    command = [
        sys.executable, "-m", "common.reproduce", "opt-fashion", "--data=synthetic", "--runs=1", "--steps=16",
        "--widths=4,4,4,4", "--rows=sopt_gs", f"--dir={tmp_path}/runs", f"--out={tmp_path}/out",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out" / "opt-fashion-synthetic.md").read_text()
    assert "| sopt_gs, preset | CNN-6 4-4-4-4 | synthetic | 1 | 16 |" in table and table in done.stdout
    curves = csv.DictReader(open(tmp_path / "out" / "opt-fashion-synthetic-curves.csv"))
    assert len([row for row in curves if row["quantity"] == "test error"]) >= 8
    kept = tmp_path / "out" / "opt-fashion-synthetic" / "sopt_gs" / "seed-0"
    assert {path.name for path in kept.iterdir()} == {"log.txt", "flags.txt", "metrics.jsonl", "start.json"}
