"""Own images and holdouts in a program: what is validated on what, what stands where, and what refuses to go on."""

import dataclasses

import numpy as np
import pytest

from common.cli.program import run
from common.cli.start import train_modules
from common.data.datasets import DataError
from common.graph import initializers, variables
from common.graph.variables import Role
from common.training import head
from tests.runs import entries

MODULE = train_modules()["opt_cp"]
METHOD = MODULE.method()


def write(path, train=24, test=6, side=8, seed=0):
    generator = np.random.RandomState(seed)
    contents = {"x_train": generator.randint(0, 256, (train, side, side)), "y_train": np.arange(train) % 3}
    if test:
        contents |= {"x_test": generator.randint(0, 256, (test, side, side)), "y_test": np.arange(test) % 3}
    np.savez(path, **{name: a.astype(np.uint8) if name[0] == "x" else a for name, a in contents.items()})
    return str(path)


def settings(folder, **options):
    small = {"widths": (2, 2, 2, 2), "batch_size": 8, "max_steps": 4, "vali_freq": 2, "tensorboard": False}
    return MODULE.Settings(**{"train_path": str(folder / "run"), **small, **options})


def lines(folder):
    return entries(folder / "run" / "metrics.jsonl")


def test_a_run_on_a_holdout(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own.npz")
    made = settings(tmp_path, data="own.npz", holdout=5, warmup_steps=4)
    assert made.data == str(tmp_path / "own.npz") and METHOD.run_name(made) == "opt_cp_cnn6_own"
    assert run(METHOD, made) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "own.npz: 19 training, 5 holdout and 6 test images, 8 x 8 x 3, 3 classes" in log
    assert "training images: cropped to 8 x 8, mirrored" in log
    assert "holdout, images a class: " in log and "step 3, validation on the holdout: cross_entropy" in log
    assert log.count("step 3, test: cross_entropy") == 1 and "there is no test set" not in log
    validated = [(line["step"], line["split"]) for line in lines(tmp_path) if line["split"] != "train"]
    assert validated == [(1, "holdout"), (3, "holdout"), (3, "test")]
    assert "FULL HEIGHT" not in log and "err_5" not in log and "error_5" not in lines(tmp_path)[-1]  # of 3 classes
    capsys.readouterr()

    assert run(METHOD, dataclasses.replace(made, task="test", load=str(tmp_path / "run"), data_digest="another")) == 0
    tested = capsys.readouterr().out
    other = f"the images from {tmp_path}/own.npz are not those that the run was trained with"
    assert f"{other}\n" in tested and f"validation: {log.partition('step 3, test: ')[2].splitlines()[0]}" in tested

    for change in ({"holdout": 6}, {"mirror": False}, {"data": write(tmp_path / "other.npz")}):
        with pytest.raises(ValueError, match=f"cannot go on with other flags .*{next(iter(change))}: "):
            run(METHOD, dataclasses.replace(made, resume=True, max_steps=5, **change))
    write(tmp_path / "own.npz", seed=1)
    with pytest.raises(ValueError, match=f"cannot go on with other flags or images than its own .{other}.: give its"):
        run(METHOD, dataclasses.replace(made, resume=True, max_steps=5))


@pytest.mark.slow
def test_reports_name_the_split(tmp_path):
    from common.results import figures, groups, runs

    assert run(METHOD, settings(tmp_path, data=write(tmp_path / "own.npz"), holdout=5)) == 0
    found = runs.read(str(tmp_path / "run"))
    assert found.complete and found.validated == "holdout" and found.names[2] == "own, holdout 5"
    (group,) = groups.grouped([found])
    errors = {line["split"]: line["error"] for line in lines(tmp_path)}
    assert group.errors() == [(errors["test"], errors["test"])]
    points = figures.points([group], 1)
    assert group.split == "test" and {"holdout error", "holdout cross-entropy"} < {row["quantity"] for row in points}
    curve = {line["step"] + 1: line["error"] for line in lines(tmp_path) if line["split"] == "holdout"}
    shown = {row["updates"]: row["median"] for row in points if row["quantity"] == "holdout error"}
    assert shown == curve and sorted(curve) == [2, 4]


@pytest.mark.slow
def test_a_set_without_a_test_part_is_tested_on_its_holdout(tmp_path, capsys):
    path = write(tmp_path / "own.npz", test=0, side=12)
    made = settings(tmp_path, data=path, holdout=6, max_steps=2, warmup_steps=3, padding_size=3)
    assert METHOD.problem(made, dataset_of(made)).pipeline.padding == 3
    assert run(METHOD, made) == 0
    assert [line["split"] for line in lines(tmp_path) if line["split"] != "train"] == ["holdout"]
    out = capsys.readouterr().out
    assert "there is no test set: the metrics of the holdout are the last word\n" in out
    assert "THE LEARNING RATES STAY BELOW THEIR FULL HEIGHT: --warmup_steps=3 is more than the 2 updates" in out
    assert run(METHOD, dataclasses.replace(made, task="test", load=str(tmp_path / "run"))) == 0
    assert "validation on the holdout, for there is no test part: cross_entropy" in capsys.readouterr().out
    with pytest.raises(DataError, match="has no test and no validation part; --holdout=N"):
        run(METHOD, dataclasses.replace(made, holdout=None, train_path=str(tmp_path / "again")))


def dataset_of(made):
    from common.data import datasets

    return datasets.load(made.data, holdout=made.holdout)


def test_defaults_follow_the_images(tmp_path):
    made = MODULE.Settings(data=write(tmp_path / "own.npz", train=600, side=40), holdout=100)
    dataset = dataset_of(made)
    resolved = METHOD.resolve(made, dataset)
    assert (resolved.batch_size, resolved.max_steps) == (32, 100 * 500 // 32)
    pipeline = METHOD.problem(made, dataset).pipeline
    assert (pipeline.padding, pipeline.crop_size, pipeline.mirror) == (2, 40, True)
    assert METHOD.problem(dataclasses.replace(made, mirror=False), dataset).pipeline.mirror is False
    stochastic = train_modules()["sopt_gs"]
    resolved = stochastic.method().resolve(stochastic.Settings(data=made.data), dataset)
    assert (resolved.episodes, resolved.episode_steps) == (62, 25)
    flags = stochastic.Settings(data=made.data, episodes=100)  # the length that is given counts, and its drops
    resolved = stochastic.method().resolve(flags, dataset)
    schedule = stochastic.method().schedule(resolved)
    assert (schedule.steps, schedule.boundaries) == (2500, (1000, 1625, 2125))
    resolved = stochastic.method().resolve(dataclasses.replace(flags, episodes=None, rotation="none"), dataset)
    assert (resolved.max_steps, resolved.episodes, resolved.useless()) == (100 * 500 // 32, None, {})
    riemannian = train_modules()["grassmann"]
    flags = riemannian.Settings(data=made.data, model="resnet", optimizer="sgd")
    pipeline = riemannian.method().problem(flags, dataset).pipeline
    np.testing.assert_allclose(pipeline.offset, dataset.train_images.mean((0, 1, 2)))  # of what the holdout leaves
    assert (pipeline.padding, pipeline.crop_size, pipeline.mirror) == (2, 40, True)


def test_a_holdout_that_leaves_less_than_a_batch_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="^--batch_size=8: expected 1 .. 4, the number of training images$"):
        run(METHOD, settings(tmp_path, data=write(tmp_path / "own.npz"), holdout=20))


def test_variables_that_cannot_be_in_memory_are_one_line(tmp_path, monkeypatch):
    variables.create("layer/fix", [300, 4], Role.FIXED, initializers.zeros)
    variables.create("layer/rotation", [300, 300], Role.GENERATOR, initializers.zeros)
    needed = 4 * (300 * 4 + 300 * 300)
    head.check_memory(2, needed + 2 * 4 * 300 * 300)  # and two gradients of the generator
    named = r"the largest is layer/rotation \[300, 300\]: choose smaller images \(--image_size for pictures\)"
    with pytest.raises(ValueError, match=named):
        head.check_memory(2, needed + 2 * 4 * 300 * 300 - 1)
    monkeypatch.setattr(head.check_memory, "__defaults__", (724_800,))
    with pytest.raises(ValueError, match="and this machine has 0.000675; the largest is conv1_1/rotation"):
        run(METHOD, settings(tmp_path, data=write(tmp_path / "own.npz"), widths=(64, 64, 64, 64)))
    assert not (tmp_path / "run").exists()


def test_images_that_are_too_small_for_the_network_are_one_line_before_the_head(tmp_path, capsys):
    path, riemannian = write(tmp_path / "own.npz", side=28), train_modules()["grassmann"]
    flags = {"data": path, "model": "vgg11", "batch_size": 8, "train_path": str(tmp_path / "run")}
    for method, made in (
        (METHOD, MODULE.Settings(**flags)),
        (riemannian.method(), riemannian.Settings(**flags, optimizer="sgd")),
    ):
        with pytest.raises(ValueError, match="^VGG halves its images five times: .* not 28 x 28$"):
            run(method, made)
        assert "data set" not in capsys.readouterr().out
