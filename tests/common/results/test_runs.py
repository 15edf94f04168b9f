"""Reading run folders."""

import json
import pathlib

import pytest

from common.results import runs
from tests import run_folders


def test_a_run_is_read(tmp_path):
    run = runs.read(run_folders.write(tmp_path / "run", "opt_hr", errors=[(2, 40.0), (4, 20.0)], steps=4))
    assert (run.method, run.names) == ("opt_hr", ("opt_hr", "CNN-6 64-64-64-64", "digits"))
    assert (run.steps, run.done, run.complete, run.remarks) == (4, 4, True, ())
    assert run.curve("test", "error") == {2: 40.0, 4: 20.0}
    assert run.curve("train", "fit") == {1: 1.0, 2: 0.5, 3: 1 / 3, 4: 0.25}
    assert run.energy(1) == pytest.approx({0: 0.8, 2: 0.81, 4: 0.82}) and run.energy(2) == {}
    assert run.seconds == pytest.approx(4 * 32 / 320) and run.images_per_second == pytest.approx(320)


@pytest.mark.parametrize(
    "method, flags, title",
    [
        ("opt_hr-none", {"model": "cnn6"}, ("ordinary training", "CNN-6", "?")),
        ("opt_cp-free", {"model": "cnn9", "data": "svhn"}, ("UPT", "CNN-9", "svhn")),
        ("grassmann", {"model": "vgg13", "optimizer": "sgd"}, ("SGD", "VGG-13", "?")),
        (
            "grassmann",
            {"model": "resnet", "depth": "28", "widen_factor": "10", "optimizer": "sgdg", "grassmann": "True"},
            ("SGD-G", "WRN-28-10", "?"),
        ),
        ("grassmann", {"model": "vgg19", "optimizer": "adamg", "grassmann": "True"}, ("Adam-G", "VGG-19", "?")),
        ("grassmann", {"model": "vgg19", "optimizer": "adamg", "grassmann": "False"}, ("SGD", "VGG-19", "?")),
        (
            "grassmann",
            {"model": "vgg19", "optimizer": "sgd", "grassmann": "True"},
            ("SGD, unit start", "VGG-19", "?"),
        ),
    ],
)
def test_names_of_a_run(method, flags, title):
    assert runs.names(method, flags) == title


def test_an_unfinished_run_is_seen(tmp_path):
    run = runs.read(run_folders.write(tmp_path / "run", errors=[(2, 40.0)], steps=4))
    assert (run.done, run.steps, run.complete) == (2, 4, False)
    new = runs.read(run_folders.write(tmp_path / "new", errors=[], steps=0))
    assert (new.done, new.complete, new.seconds, new.images_per_second) == (0, False, None, None)
    (tmp_path / "run" / "log.txt").unlink()
    assert runs.read(tmp_path / "run").steps is None
    (tmp_path / "run" / "log.txt").write_text("network CNN-6, 4 updates\nnetwork CNN-6, 2 updates\n")
    assert runs.read(tmp_path / "run").complete  # the last time the run was gone on with counts


def test_time_of_a_run_that_went_on(tmp_path):
    """Each report tells the speed of the updates since the one before: 2 at 64 images/s, 2 at 16, of 32 images each."""
    path = run_folders.write(tmp_path / "run", errors=[])
    lines = [
        {"step": 1, "split": "train", "images_per_second": 64.0},
        {"step": 3, "split": "train", "images_per_second": 16.0},
    ]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert runs.read(path).seconds == pytest.approx(1.0 + 4.0)
    assert runs.read(path).images_per_second == pytest.approx(16)  # the first report holds the start


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "null",
        '{"step": "1", "split": "test"}',
        '{"step": 1}',
        '{"step": -3, "split": "test"}',
        "\0",
        "[" * 9999,
    ],
)
def test_a_damaged_line_is_skipped_with_a_remark(tmp_path, line):
    path = run_folders.write(tmp_path / "run")
    whole = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join([*whole[:2], line, *whole[2:]]) + "\n")
    run = runs.read(path)
    assert run.remarks == (f"{path}/metrics.jsonl: line 3 is damaged and was skipped",)
    assert run.complete and len(run.metrics) == 7  # the start, four reports, two validations


def test_metrics_that_are_not_numbers_are_left_out(tmp_path):
    path = run_folders.write(tmp_path / "run", errors=[])
    lines = [
        '{"step": 0, "split": "test", "error": null, "loss": NaN}',
        '{"step": 1, "split": "test", "error": "x", "loss": 1}',
    ]
    (path / "metrics.jsonl").write_text("\n".join(lines))
    (path / "start.json").write_text("{")
    run = runs.read(path)
    assert run.curve("test", "error") == {} and run.curve("test", "loss") == {2: 1}
    assert run.energy(1) == {} and run.seconds is None


def test_runs_are_found_below_a_folder_once_and_in_the_order_of_their_numbers(tmp_path):
    for seed in (10, 9, 1):
        run_folders.write(tmp_path / "a" / f"seed-{seed}")
    (tmp_path / "a" / "seed-1" / "inner").mkdir()
    (tmp_path / "a" / "seed-1" / "inner" / "metrics.jsonl").touch()
    found = runs.find([str(tmp_path / "a" / "seed-9"), str(tmp_path)])
    assert [run.path[-7:].lstrip("/") for run in found] == ["seed-9", "seed-1", "seed-10"]
    assert len(found) == 3


def test_a_folder_without_flags_says_so(tmp_path):
    path = run_folders.write(tmp_path / "run")
    (path / "flags.txt").unlink()
    run = runs.read(path)
    assert run.method == "?" and "does not name the method" in run.remarks[0]


def test_metrics_of_the_first_version_are_read():
    """Its lines of the test set hold the cross-entropy three times, as loss, fit and cross_entropy."""
    reference = pathlib.Path(__file__).resolve().parents[4] / "shared" / "reference" / "version1"
    if not reference.is_dir():
        pytest.skip("no runs of the first version here")
    run = runs.read(str(reference / "opt_gs"))
    assert (run.names, run.complete, run.done) == (("opt_gs", "CNN-6 8-8-8-8", "synthetic"), True, 30)
    assert run.curve("test", "error") == {30: 75.390625}
    assert run.curve("train", "fit") == {30: 2.503180503845215}
    assert run.curve("test", "cross_entropy", "fit") == {30: 2.1829218404600397}
    assert set(run.energy(1)) == {0, 30}


def test_the_first_metric_of_several_that_is_there_counts(tmp_path):
    path = run_folders.write(tmp_path / "run", errors=[])
    lines = ['{"step": 0, "split": "test", "loss": 3}', '{"step": 1, "split": "test", "loss": 3, "fit": 2}']
    (path / "metrics.jsonl").write_text("\n".join(lines))
    assert runs.read(path).curve("test", "cross_entropy", "fit", "loss") == {1: 3, 2: 2}
