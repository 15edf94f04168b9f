"""Batch norm's averages made anew, against NumPy: which batches, which means, what stays, when, and on what devices."""

import dataclasses
import json
import re
import signal

import numpy as np
import pytest

from common.cli import devices, program
from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.data.batches import Pipeline
from common.graph import variables
from common.nn import kernels, layers, losses
from common.nn.layers import BatchNormConstants
from common.runs import checkpoints
from common.training import problem
from common.training.problem import Problem
from common.training.statistics import Precise
from opt_gs.train import method
from tests import runs

METHOD = method()
BATCHES = 3


def network(images, classes, of_layers, mode):
    """Two batch normalizations, the second of an inner product, so that NumPy computes both by hand."""
    with tf.variable_scope("first/bn"):
        normal = tf.nn.relu(layers.batch_norm(images, mode))
    with tf.variable_scope("second"):
        product = layers.dense(tf.reshape(normal, [-1, 8 * 8 * 3]), classes, of_layers)
    with tf.variable_scope("second/bn"):
        return layers.dropout(layers.batch_norm(product, mode), mode)


def problem_of(**options):
    images = synthetic.load(64, 8)
    small = {name: getattr(images, name)[:, :8, :8] for name in ("train_images", "test_images")}
    return Problem(
        dataset=dataclasses.replace(images, **small),
        pipeline=Pipeline(127.5, 128.0, 2, "symmetric", 8, True),
        network=network,
        factory_of=kernels.by_place(kernels.plain()),
        batch_norm=BatchNormConstants(0.9, 1e-3, False),
        fit=losses.cross_entropy,
        penalty=lambda replica: 0.0,
        optimizers=lambda step, replica: [(tf.train.MomentumOptimizer(0.1, 0.9), variables.trainable(replica))],
        rates=lambda step: {"lr": step},
        vali_batch_size=8,
        **{"batch_size": 8, "keep_prob": 0.5, **options},
    )


def made(count=1, batches=BATCHES, spoil=None, **options):
    """Returns ({variable: value} of each replica before `make`, after it, each batch's inputs), after three updates."""
    chosen = devices.choose("cpu", count)
    with tf.Graph().as_default():
        training = problem.build(problem_of(**options), chosen.names)
        precise = Precise(training, batches)
        initialize = tf.global_variables_initializer()
        tf.get_default_graph().finalize()
        with chosen.session() as session:
            session.run(initialize)
            for store in training.stores:
                store.fill(session)
            for _ in range(3):
                session.run(training.train_op)
            saved = [{variables.bare_name(v.op.name): v for v in variables.saved(replica)} for replica in range(count)]
            if spoil:
                checkpoints.assign(session, {saved[0][name]: np.full(saved[0][name].shape, np.nan) for name in spoil})
            before = session.run(saved)
            inputs = [session.run(training.images, {training.step: 3 + index}) for index in range(batches)]
            answer = precise.make(session)
            return before, session.run(saved), inputs, answer


def test_they_are_the_plain_means_of_the_statistics_of_the_batches_that_follow():
    (before,), (after,), inputs, answer = made()
    assert answer is True and before["global_step"] == 3 and len(inputs) == BATCHES
    expected = {f"{layer}/bn/{name}": [] for layer in ("first", "second") for name in ("pop_mean", "pop_var")}

    def normalized(values, scope, axes):
        mean, variance = values.mean(axes), values.var(axes)  # the biased one
        expected[f"{scope}/pop_mean"].append(mean)
        expected[f"{scope}/pop_var"].append(variance)
        return (values - mean) / np.sqrt(variance + 1e-3) * before[f"{scope}/gamma"] + before[f"{scope}/beta"]

    for images in np.float64(inputs):
        normal = np.maximum(normalized(images, "first/bn", (0, 1, 2)), 0.0)
        kernel = np.float64(before["second/weight"])
        normalized(normal.reshape(len(images), -1) @ kernel + before["second/bias"], "second/bn", (0,))
    for name, values in expected.items():
        assert np.abs(values[0] - values[1]).max() > 1e-3  # the batches are different ones
        np.testing.assert_allclose(after[name], np.mean(values, axis=0), rtol=2e-5, atol=2e-6, err_msg=name)
    for name in set(before) - set(expected):  # weights, slots and the step
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_what_the_averages_were_before_does_not_matter():
    (_,), (after,), _, _ = made()
    _, (again,), _, _ = made(spoil=[name for name in after if "pop_" in name])
    runs.assert_equal(again, after)


@pytest.mark.parametrize("sync_bn", [pytest.param(True, marks=pytest.mark.slow), False])
def test_two_replicas_are_as_one_and_each_works_on_its_share_of_the_batches(sync_bn):
    (before,), (after,), inputs, _ = made()
    of_two, copies, _, _ = made(count=2, sync_bn=sync_bn)
    halves = np.float64(inputs).reshape([BATCHES, 2, 4, 8, 8, 3])
    names = [name for name in after if "pop_" in name]
    assert any(not np.array_equal(of_two[0][name], copies[0][name]) for name in names)
    for name in names:
        np.testing.assert_array_equal(copies[0][name], copies[1][name])
    np.testing.assert_allclose(copies[0]["first/bn/pop_mean"], halves.mean((0, 1, 2, 3, 4)), rtol=1e-5, atol=1e-6)
    variances = np.float64(inputs).var((1, 2, 3)) if sync_bn else halves.var((2, 3, 4)).reshape(-1, 3)
    np.testing.assert_allclose(copies[0]["first/bn/pop_var"], variances.mean(0), rtol=1e-5)


def test_a_statistic_that_is_not_finite_is_named_and_nothing_changes():
    message = "precise: second/bn/pop_mean of training batch 1 of 3 is not finite; --bn_stat"
    with pytest.raises(ValueError, match=message) as error:
        made(spoil=["second/weight"])
    assert "\n" not in str(error.value)


SMALL = METHOD.settings_class(
    data="synthetic", rotation="none", widths=(4, 4, 4, 4), batch_size=8, base_lr=0.01, max_steps=4, device="cpu",
    bn_statistics="precise", bn_batches=2, tensorboard=False, report_freq=1, vali_freq=99, save_freq=99,
)  # fmt: skip
VALIDATION = re.compile(r"validation: (cross_entropy.*) \(")


def train(path, **options):
    return program.execute(METHOD, dataclasses.replace(SMALL, train_path=str(path), **options))


def assert_equal(folder, other):
    runs.assert_equal(runs.contents(other), runs.contents(folder))
    (first,), (second,) = [
        [line["cross_entropy"] for line in runs.metrics(path) if line["split"] == "test"] for path in (folder, other)
    ]
    assert first == second


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert train(path, save_freq=2) == 0
    return path


def test_only_the_averages_differ_from_those_of_a_run_without_and_a_test_has_its_last_figures(whole, tmp_path, capsys):
    assert train(tmp_path / "moving", bn_statistics="moving") == 0
    capsys.readouterr()
    precise, moving = runs.contents(whole), runs.contents(tmp_path / "moving")
    differ = {name for name, value in precise.items() if not np.array_equal(moving[name], value)}
    assert differ and all("pop_" in name for name in differ)
    log = (whole / "log.txt").read_text()
    assert "batch norm's averages: decay 0, made anew from 2 training batches at the end\n" in log
    assert "step 3, batch norm's averages made anew from 2 training batches\nstep 3, validation" in log
    figures = []
    for options in ({"load": whole, "bn_statistics": "moving"}, {"load": tmp_path / "moving"}, {"load": whole}):
        options["load"] = str(options["load"])
        assert run(METHOD, dataclasses.replace(SMALL, task="test", **options)) == 0
        out = capsys.readouterr().out
        assert ("made anew from 2 training batches\n" in out) == ("bn_statistics" not in options)
        figures += VALIDATION.findall(out)
    assert figures == 3 * VALIDATION.findall(log)


@pytest.mark.slow
def test_an_export_has_them_if_asked_to(whole, tmp_path, capsys):
    train(tmp_path / "moving", bn_statistics="moving")
    export = {"task": "export", "load": str(tmp_path / "moving"), "export_format": "npz"}
    assert run(METHOD, dataclasses.replace(SMALL, export_dir=str(tmp_path / "exported"), **export)) == 0
    arrays, expected = np.load(tmp_path / "exported" / "model.npz"), runs.contents(whole)
    for scope in ("conv1_0/bn", "conv3_1/bn"):
        np.testing.assert_array_equal(arrays[f"{scope}/mean"], expected[f"{scope}/pop_mean"])
        np.testing.assert_array_equal(arrays[f"{scope}/variance"], expected[f"{scope}/pop_var"])
    model = json.loads((tmp_path / "exported" / "model.json").read_text())
    assert model["statistics"] == "made anew from 2 training batches"


@pytest.mark.parametrize("calls", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_run_stopped_before_or_after_they_are_made_ends_as_if_it_had_not_been(calls, whole, tmp_path, monkeypatch):
    """`stopping` is asked before each of two batches, then before the first batch of the validation."""
    make, path = Precise.make, tmp_path / "run"

    def interrupted(self, session, stopping):
        asked = []

        def stop():
            asked.append(1)
            if len(asked) == calls:
                signal.raise_signal(signal.SIGTERM)
            return stopping()

        done = make(self, session, stop)
        if calls > len(asked):
            signal.raise_signal(signal.SIGTERM)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Precise, "make", interrupted)
        assert train(path) == 128 + signal.SIGTERM
    log = (path / "log.txt").read_text()
    assert ("made anew from 2 training batches\n" in log) == (calls == 3) and "validation dropped" in log
    for _ in range(2):
        assert train(path, resume=True) == 0
        assert_equal(whole, path)


def test_a_run_whose_statistics_are_not_finite_is_saved_and_said_in_one_line(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise ValueError("--bn_statistics=precise: a is not finite; --bn_statistics=moving does without")

    monkeypatch.setattr(Precise, "make", fail)
    assert train(tmp_path / "run") == 1
    assert capsys.readouterr().err == (
        "error: --bn_statistics=precise: a is not finite; --bn_statistics=moving does without\n"
    )
    assert runs.contents(tmp_path / "run")["global_step"] == 4
    assert train(tmp_path / "run", resume=True, bn_statistics="moving") == 0
    assert "validation: cross_entropy" in capsys.readouterr().out
