"""Event files hold what metrics.jsonl holds, and histograms and a picture, whatever happens to the disk."""

import dataclasses
import os
import pathlib
import shutil

import numpy as np
import pytest

from common.cli.program import run
from common.compat import tf
from common.data import batches, synthetic
from common.graph import initializers, variables
from common.graph.variables import Role
from common.runs.events import Events, histogram
from common.runs.folder import RunFolder
from common.training import problem, summaries
from opt_cp.train import method
from tests.full_disk import full_disk
from tests.runs import assert_equal, begin, contents, entries

METHOD = method()
SPLITS = ("train", "test")
SMALL = METHOD.settings_class(
    data="synthetic", widths=(4, 4, 4, 4), batch_size=8, base_lr=0.01, max_steps=6, device="cpu",
    report_freq=1, vali_freq=3, save_freq=2, max_to_keep=5,
)  # fmt: skip


def events_of(folder, split):
    """All events of a split in the order in which TensorBoard reads them."""
    for path in sorted((pathlib.Path(folder) / "events" / split).iterdir()):
        events = tf.train.summary_iterator(str(path))
        try:
            assert next(events).file_version == "brain.Event:2"
            yield from events
        except tf.errors.DataLossError:
            pass  # a torn event at the end of a file: TensorBoard goes on with the next file


def kept(folder, split):
    """What remains of them after every START, which makes TensorBoard forget its step and later ones."""
    shown = []
    for event in events_of(folder, split):
        if event.session_log.status == tf.SessionLog.START:
            shown = [earlier for earlier in shown if earlier.step < event.step]
        else:
            shown.append(event)
    return shown


def values_of(events, kind):
    """[(step, tag, value)] of one kind of values: "simple_value", "histo" or "image"."""
    values = [(event.step, value) for event in events for value in event.summary.value]
    return [(step, value.tag, getattr(value, kind)) for step, value in values if value.HasField(kind)]


def scalars_of(events):
    return values_of(events, "simple_value")


def expected_scalars(folder, split):
    for figures in entries(pathlib.Path(folder, "metrics.jsonl")):
        step = figures.pop("step")
        if figures.pop("split") == split:
            for name, value in figures.items():
                for layer, number in value.items() if isinstance(value, dict) else [(None, value)]:
                    yield step, f"{name}/{layer}" if layer else name, float(np.float32(number))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of six updates."""
    path = tmp_path_factory.mktemp("run")
    assert run(METHOD, dataclasses.replace(SMALL, train_path=str(path))) == 0
    return path


@pytest.fixture(scope="module")
def start_of_step_2(folder):
    """Training batch of step 0, and by name the gradients of step 2, computed apart from the run."""
    with tf.Graph().as_default(), tf.Session() as session:
        task = METHOD.problem(SMALL, synthetic.load())
        training = problem.build(task)
        generators = variables.with_role(Role.GENERATOR)
        gradients = tf.gradients(training.loss, generators)
        images, _ = batches.training_batch(training.stores[0], 0, 8, SMALL.seed, task.pipeline)
        begin(session, training.stores[0])
        tf.train.Saver(variables.saved()).restore(session, str(folder / "model.ckpt-1"))
        names = [generator.op.name for generator in generators]
        return session.run(images), dict(zip(names, session.run(gradients)))


@pytest.mark.parametrize("split", SPLITS)
def test_scalars_are_the_figures_of_metrics_jsonl(folder, split):
    scalars = scalars_of(events_of(folder, split))
    assert scalars == list(expected_scalars(folder, split))
    tags = {tag for _, tag, _ in scalars}
    wanted = {
        "train": {"fit", "total_loss", "error", "lr", "images_per_second"},
        "test": {"cross_entropy", "error", "error_5", "energy_0/conv1_0", "energy_2/fc6", "orthogonality/fc6"},
    }
    assert tags >= wanted[split]
    assert {step for step, _, _ in scalars} == ({2, 5} if split == "test" else set(range(6)))


def test_gradients_of_generators_at_validations(folder, start_of_step_2):
    histograms = {(step, tag): histo for step, tag, histo in values_of(events_of(folder, "train"), "histo")}
    _, gradients = start_of_step_2
    assert set(histograms) == {(step, f"gradients/{name}") for step in (2, 5) for name in gradients}
    assert "conv1_0/rotation" in gradients and len(gradients) == 7
    for name, gradient in gradients.items():
        histo, gradient = histograms[2, f"gradients/{name}"], gradient.astype(np.float64)
        assert histo.num == gradient.size == sum(histo.bucket)
        np.testing.assert_allclose([histo.min, histo.max], [gradient.min(), gradient.max()], rtol=1e-3, atol=1e-7)
        scale = np.abs(gradient).sum()
        np.testing.assert_allclose(histo.sum / scale, gradient.sum() / scale, atol=1e-4)
        np.testing.assert_allclose(histo.sum_squares, (gradient**2).sum(), rtol=1e-3)


def test_the_sample_is_the_batch_of_step_0(folder, start_of_step_2):
    ((step, tag, image),) = values_of(events_of(folder, "train"), "image")
    with tf.Session() as session:
        picture = session.run(tf.image.decode_png(image.encoded_image_string))
    assert (step, tag) == (0, "training_images")
    assert picture.shape == (image.height, image.width, image.colorspace) == (200, 200, 3)
    images, _ = start_of_step_2
    for number, image in enumerate(images):  # eight of them, three in a row, two pixels apart, twice as large
        top, left = 2 + 66 * (number // 3), 2 + 66 * (number % 3)
        cell = picture[top : top + 64, left : left + 64]
        np.testing.assert_array_equal(cell, np.rint(image * 128 + 127.5).repeat(2, axis=0).repeat(2, axis=1))


def test_an_ordinary_update_fetches_nothing_for_it():
    gradients, sample = tf.zeros([3, 3]), tf.zeros([8, 4, 4, 3])
    variables.create("rotation", [3, 3], Role.GENERATOR, initializers.identity)
    variables.create("gamma", [3], Role.GAMMA, initializers.ones)
    watch = summaries.Gradients(None, {"rotation": gradients, "gamma": None}, 3, 7)
    assert [watch.fetches(step) for step in (0, 1, 3, 4, 6)] == [{}] * 5
    assert watch.fetches(2) == watch.fetches(7) == {"gradients/rotation": gradients}
    shown = summaries.Sample(None, sample, batches.Pipeline())
    assert shown.fetches(0) is sample and shown.fetches(1) == shown.fetches(500) == {}


@pytest.mark.slow
def test_without_it_the_same_is_trained_and_nothing_written(folder, tmp_path):
    assert run(METHOD, dataclasses.replace(SMALL, train_path=str(tmp_path), tensorboard=False)) == 0
    assert not (tmp_path / "events").exists()
    assert_equal(contents(tmp_path), contents(folder))


@pytest.mark.slow
def test_a_run_that_goes_on_shows_no_step_twice(folder, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(folder, path)
    for checkpoint in path.glob("model.ckpt-5*"):
        checkpoint.unlink()
    assert run(METHOD, dataclasses.replace(SMALL, train_path=str(path), resume=True)) == 0
    for split in SPLITS:
        doubled = [(step, tag) for step, tag, _ in scalars_of(events_of(path, split))]
        assert len(doubled) > len(set(doubled))
        assert scalars_of(kept(path, split)) == list(expected_scalars(path, split))
    assert [step for step, _, _ in values_of(kept(path, "train"), "image")] == [0]
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown = reader.EventAccumulator(str(path / "events" / "train"), size_guidance={"histograms": 0}).Reload()
    assert [event.step for event in shown.Scalars("total_loss")] == list(range(6))
    assert [event.step for event in shown.Histograms("gradients/fc6/rotation")] == [2, 5]


def test_files_of_a_folder_that_goes_on_show_no_step_twice(tmp_path):
    for first, last, value in ((0, 6, 1.0), (3, 5, 2.0), (5, 7, 3.0)):
        folder = RunFolder(str(tmp_path), first, tensorboard=True)
        for step in range(first, last):
            folder.measure(step, "train", loss=value, energy_1={"conv": value})
    steps = [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 3.0), (6, 3.0)]
    assert [(event.step, event.summary.value[0].simple_value) for event in kept(tmp_path, "train")] == steps
    assert scalars_of(kept(tmp_path, "train")) == list(expected_scalars(tmp_path, "train"))


def test_histogram():
    values = np.random.RandomState(0).standard_t(3, [40, 50])
    histo = histogram(np.append(values, [np.nan, np.inf, -np.inf]))
    assert histo.num == 2000 and histo.min == values.min() and histo.max == values.max() == histo.bucket_limit[-1]
    np.testing.assert_allclose(histo.sum, values.sum(), rtol=1e-12)
    np.testing.assert_allclose(histo.sum_squares, np.square(values).sum(), rtol=1e-12)
    below = [(values < limit).sum() for limit in histo.bucket_limit[:-1]]
    np.testing.assert_array_equal(np.cumsum(histo.bucket)[:-1], below)
    same = histogram(np.full([5], 0.25))
    assert (same.num, same.min, same.max, sum(same.bucket)) == (5, 0.25, 0.25, 5)
    assert histogram(np.array([np.nan])).num == 0


def test_a_disk_that_is_full_for_a_while_is_said_once_and_events_go_on_in_a_new_file(tmp_path, capfd):
    """It cuts an event in two."""
    events = Events(str(tmp_path))
    for step in range(3):
        events.scalars(step, "train", {"loss": float(step)})
    (file,) = (tmp_path / "events" / "train").iterdir()
    with full_disk(file.stat().st_size + 20):
        events.scalars(3, "train", {"loss": 3.0})
    with full_disk(20):  # no room for a new file either
        events.scalars(4, "train", {"loss": 4.0})
    err = capfd.readouterr().err
    assert err == f"cannot write {tmp_path}/events: File too large; training goes on\n"
    events.scalars(5, "train", {"loss": 5.0})
    assert scalars_of(kept(tmp_path, "train")) == [(step, "loss", float(step)) for step in (0, 1, 2, 5)]
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown = reader.EventAccumulator(str(tmp_path / "events" / "train")).Reload()
    assert [event.step for event in shown.Scalars("loss")] == [0, 1, 2, 5]


def test_a_folder_that_is_gone_for_a_while_is_said_once(tmp_path, capfd):
    path = tmp_path / "run"
    path.mkdir()
    folder = RunFolder(str(path), tensorboard=True)
    folder.measure(0, "train", loss=0.0)
    shutil.rmtree(path)
    folder.measure(1, "train", loss=1.0)
    assert not path.exists()  # who makes it anew takes the lock, too
    path.mkdir()
    folder.measure(2, "train", loss=2.0)
    assert scalars_of(kept(path, "train")) == [(2, "loss", 2.0)]
    assert capfd.readouterr().err.count("run/events: the run's folder is gone; training goes on") == 1
    assert os.listdir(path / "events") == ["train"]


def test_a_file_in_the_place_of_the_folder_is_said_once(tmp_path, capfd):
    (tmp_path / "events").write_text("x")
    events = Events(str(tmp_path))
    for step in range(3):
        events.scalars(step, "train", {"loss": 1.0})
    err = capfd.readouterr().err
    assert err.startswith(f"cannot write {tmp_path}/events: ") and err.count("\n") == 1
