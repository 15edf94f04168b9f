"""Steps that are not finite: nothing of them is written, and what is told about them is right."""

import dataclasses

import numpy as np
import pytest

from common.cli import devices
from common.cli.program import execute, run
from common.compat import tf
from common.data import synthetic
from common.data.batches import Pipeline
from common.graph import initializers, variables
from common.graph.variables import Role
from common.riemannian.optimizers import AdamG, SgdG
from common.runs.checkpoints import assign
from common.training import nonfinite, problem
from common.training.callbacks import Callback
from common.training.step import make_train_op
from grassmann.program import Grassmann, Settings
from opt_gs.train import method
from opt_ogd.ogd import OrthogonalGradientDescent
from tests import runs

METHOD = method()
TINY = METHOD.settings_class(
    data="synthetic", rotation="none", widths=(4, 4, 4, 4), batch_size=8, base_lr=0.01, max_steps=6, report_freq=1,
    vali_freq=100, save_freq=2, max_to_keep=9,
)


def settings(path, **options):
    return dataclasses.replace(TINY, train_path=str(path), **options)


def bits(session):
    values = session.run({variable.op.name: variable for variable in tf.global_variables()})
    return {name: np.asarray(value).tobytes() for name, value in values.items()}


def small_step(count_dropped, xla=False):
    """A step of each optimizer of the project and a moving average; what is fed decides which quantity is bad."""
    step = variables.global_step()
    of_loss, of_gradient, of_average = (tf.placeholder_with_default(1.0, []) for _ in range(3))
    matrix = variables.create("layer/rotation", [4, 4], Role.ROTATION, initializers.identity)
    units = [variables.create(name, [5, 3], Role.UNIT_KERNEL, initializers.unit_neurons) for name in ("a", "b")]
    weight = variables.create("weight", [3], Role.WEIGHT, initializers.ones)
    average = variables.create("average", [2], Role.MOVING, initializers.zeros)
    variables.average_later(average, tf.ones([2]), rate=0.1 * of_average)
    loss = tf.reduce_sum(tf.square(weight)) + tf.reduce_sum(matrix[0] * np.arange(4.0)) + of_loss
    loss += tf.reduce_sum([tf.reduce_sum(tf.sin(unit)) for unit in units])
    # Zero, with a gradient of its own: bad while the loss is not.
    zero = tf.custom_gradient(lambda x: (0.0 * x, lambda upstream: upstream * (of_gradient - 1.0)))
    loss += zero(weight[1])
    groups = [
        (OrthogonalGradientDescent(0.02), [matrix]),
        (SgdG(0.1, 0.9, 0.1), units[:1]),
        (AdamG(0.1), units[1:]),
        (tf.train.MomentumOptimizer(0.1, 0.9), [weight]),
    ]
    options = {"metrics": {"loss": loss}, "count_dropped": count_dropped, "xla": xla}
    train_op, _, health = make_train_op(loss, groups, step, **options)
    fed = {"the loss": of_loss, "the gradient of weight": of_gradient, "the average average": of_average}
    return train_op, health, fed


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("count_dropped", "xla"), [(False, False), (True, False), (True, True)])
def test_no_bit_of_any_variable_changes(bad, count_dropped, xla):
    train_op, health, fed = small_step(count_dropped, xla)
    compiled = [op for op in tf.get_default_graph().get_operations() if op.type == "StatefulPartitionedCall"]
    assert len(compiled) == xla
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train_op)
        before = bits(session)
        slots = {"layer/rotation/Momentum", "a/SgdgOptimizer", "b/Adamg", "b/Adamg_1", "beta1_power", "average"}
        assert slots < set(before)
        for count, (name, placeholder) in enumerate(fed.items()):
            _, finite = session.run([train_op, health.finite], {placeholder: bad})
            assert [known for known, good in zip(health.names, finite) if not good] == [name]
            after = bits(session)
            steps = np.frombuffer(after.pop("global_step"), np.int64)
            assert steps == 2 + count if count_dropped else steps == 1
            assert after == {key: value for key, value in before.items() if key != "global_step"}
        session.run(train_op)
        changed = [name for name, value in bits(session).items() if value != before[name]]
        assert len(changed) == len(before)


def test_a_large_finite_gradient_is_no_fault():
    """Its sum of squares, and even its sum, overflow."""
    weight = variables.create("weight", [9], Role.WEIGHT, initializers.zeros)
    loss = tf.reduce_sum(weight * np.float32(3e38))
    groups = [(tf.train.GradientDescentOptimizer(1e-37), [weight])]
    train_op, _, health = make_train_op(loss, groups, variables.global_step())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([train_op, health.finite])[1].all()
        np.testing.assert_allclose(session.run(weight), -30.0, rtol=1e-5)


@pytest.mark.parametrize("policy", ["skip", pytest.param("stop", marks=pytest.mark.slow)])
def test_two_replicas_decide_alike_when_one_has_the_bad_image(policy):
    dataset = synthetic.load(16, 4)
    task = METHOD.problem(METHOD.resolve(dataclasses.replace(TINY, nan_policy=policy), dataset), dataset)
    chosen = devices.choose("cpu", 2)
    training = problem.build(task, chosen.names)
    fed = [op.inputs[0] for op in tf.get_default_graph().get_operations() if op.type == "EnsureShape"]
    fed = [tensor for tensor in fed if tensor.shape.rank == 4]
    assert len(fed) == 2
    with chosen.session() as session:
        runs.begin(session, *training.stores)
        session.run(training.train_op)
        before = bits(session)
        image = np.zeros(fed[1].shape.as_list(), np.float32)
        image[1, 2, 3, 0] = np.nan
        session.run(training.train_op, {fed[1]: image})
        after = bits(session)
        changed = {name for name in before if before[name] != after[name]}
        assert changed == (set() if policy == "stop" else {"global_step", "replica_1/global_step"})
        session.run(training.train_op)
        final = bits(session)
        for name in before:
            if variables.replica_of_name(name) == 0:
                assert final[name] == final[f"replica_1/{name}"]
        assert all(np.isfinite(value).all() for value in session.run(variables.saved()))


def test_the_images_of_a_step_are_those_that_are_gathered():
    dataset = synthetic.load(train=30, test=4)
    task = Grassmann().problem(
        Settings(data="synthetic", model="resnet", optimizer="sgd", batch_size=7, seed=5, crop_size=32), dataset
    )
    task = dataclasses.replace(task, pipeline=Pipeline())
    training = problem.build(task)
    with tf.Session() as session:
        runs.begin(session, *training.stores)
        for step in (0, 4, 11):  # 4: the batch in which the second epoch begins
            images = session.run(training.images, {training.step: step})
            np.testing.assert_array_equal(dataset.train_images[nonfinite._images(task, step)], images)


class Poison(Callback):
    """Feeds a bad kernel to some steps, or makes a variable bad just before them, which it stays."""

    def __init__(self, session, training, steps, spoil=None):
        self._session, self._steps, self._spoil = session, steps, spoil
        self._kernel = training.kernels[0]["score"].tensor

    def fetches(self, step):
        if step in self._steps and self._spoil:
            (variable,) = [variable for variable in tf.global_variables() if variable.op.name == self._spoil]
            assign(self._session, {variable: np.full(variable.shape, np.nan)})
        elif step in self._steps:
            run = self._session.run

            def once(fetches, feeds):
                self._session.run = run
                return run(fetches, {**feeds, self._kernel: np.full(self._kernel.shape, np.nan)})

            self._session.run = once
        return {}


def poisoned(monkeypatch, steps, **options):
    callbacks = lambda settings, *of_run: [Poison(*of_run, steps, **options)]  # noqa: E731
    monkeypatch.setattr(METHOD, "callbacks", callbacks, raising=False)


def entries(path):
    return runs.entries(path / "nonfinite.jsonl")


def test_stop_names_everything_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    poisoned(monkeypatch, {4})
    assert execute(METHOD, settings(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: step 4 is not finite: the loss, the gradient of conv1_0/weight, ")
    assert error.count("\n") == 1 and "Traceback" not in error
    told = "and 18 more; no variable was changed (lr = 0.0001)."
    for words in (told, f"{tmp_path}/model.ckpt-3", str(tmp_path / "nonfinite.jsonl")):
        assert words in error
    assert error in (tmp_path / "log.txt").read_text()
    assert {path.name for path in tmp_path.glob("*.index")} == {"model.ckpt-1.index", "model.ckpt-3.index"}
    (entry,) = entries(tmp_path)
    assert entry["step"] == 4 and len(entry["images"]) == 8 and entry["lr"] == pytest.approx(1e-4)
    assert entry["not_finite"][0] == "the loss" and "the gradient of score/filter" in entry["not_finite"]


def without(steps, total):
    """The variables after a run in which nothing but the count of the step happens at some of the steps."""
    with tf.Graph().as_default():
        dataset = synthetic.load()
        training = problem.build(METHOD.problem(METHOD.resolve(TINY, dataset), dataset))
        with devices.choose("cpu").session() as session:
            runs.begin(session, *training.stores)
            for step in range(total):
                if step in steps:
                    assign(session, {training.global_step: step + 1})
                else:
                    session.run(training.train_op)
            return session.run({variable.op.name: variable for variable in variables.saved()})


def test_skip_counts_goes_on_and_resumes_exactly(tmp_path, monkeypatch, capsys):
    poisoned(monkeypatch, {1, 4})
    whole = tmp_path / "whole"
    assert run(METHOD, settings(whole, nan_policy="skip")) == 0
    expected, skipped = without({1, 4}, 6), [0, 1, 1, 1, 2, 2]
    runs.assert_equal(runs.contents(whole), expected)
    assert [line["skipped"] for line in runs.metrics(whole) if line["split"] == "train"] == skipped
    out = capsys.readouterr().out
    assert "step 1 is not finite: the loss" in out and "dropped, 2 in all" in out
    assert "step 5, fit = " in out and "skipped = 2" in out
    assert [(entry["step"], entry["dropped"]) for entry in entries(whole)] == [(1, True), (4, True)]
    # Going on in the same folder from before the second one: it is counted once.
    again = settings(whole, nan_policy="skip", load=str(whole / "model.ckpt-3"))
    assert run(METHOD, again) == 0
    assert [entry["step"] for entry in entries(whole)] == [1, 4, 4]  # what is done again is written again
    assert "dropped, 2 in all" in capsys.readouterr().out
    assert [line["skipped"] for line in runs.metrics(whole) if line["split"] == "train"] == skipped
    runs.assert_equal(runs.contents(whole), expected)


@pytest.mark.parametrize(
    "text", ["some other text\n[3]\n{}\n", '{"step": "x", "dropped": true}\n', "\x00\n" + "[" * 10**5]
)
def test_a_file_of_that_name_with_another_text_is_left_alone(text, tmp_path):
    path = tmp_path / "nonfinite.jsonl"
    steps = '{"step": 1, "dropped": true}\n{"step": 2, "dropped": false}\n{"step": 3, "dropped": true}\n'
    path.write_text(f"{text}\n{steps}")
    assert nonfinite._dropped_before(str(path), 3) == 1
    assert nonfinite._dropped_before(str(tmp_path / "none"), 3) == 0


@pytest.mark.parametrize("policy, spoil", [("skip", "score/filter"), ("stop", "score/filter/Momentum")])
def test_a_state_that_is_not_finite_is_not_saved(policy, spoil, tmp_path, monkeypatch):
    """A bad weight makes the step before the checkpoint a dropped one; a bad slot leaves its gradients finite."""
    poisoned(monkeypatch, {3}, spoil=spoil)
    with pytest.raises(ValueError, match="after step 3 these are not finite: the variable score/filter") as error:
        run(METHOD, settings(tmp_path, nan_policy=policy))
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.glob("*.index")} == {"model.ckpt-1.index"}


def test_skipping_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(nonfinite, "MOST_IN_A_ROW", 3)
    poisoned(monkeypatch, {2, 3, 4})
    words = "step 4 is not finite.*as are the 2 before it; no variable was changed.*there is no checkpoint yet"
    with pytest.raises(ValueError, match=words):
        run(METHOD, settings(tmp_path, nan_policy="skip", save_freq=9))


def test_a_map_that_refuses_its_generator_is_told_with_the_step(tmp_path, monkeypatch):
    poisoned(monkeypatch, {2}, spoil="conv1_1/rotation")
    words = r"^step 2: gram_schmidt: the generator of conv1_1 is not finite, the variable conv1_1/rotation "
    with pytest.raises(ValueError, match=words) as error:
        run(METHOD, settings(tmp_path, rotation="method"))
    assert "\n" not in str(error.value) and f"{tmp_path}/model.ckpt-1" in str(error.value)
    (entry,) = entries(tmp_path)
    assert entry["step"] == 2 and len(set(entry["images"])) == 8
