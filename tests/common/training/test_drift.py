"""What drifts off the orthogonal group or off the unit sphere is told and brought back."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg

from common.cli import devices
from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.graph.variables import Role
from common.runs.checkpoints import assign
from common.training import drift, problem
from common.training.callbacks import Callback
from common.training.drift import Drift
from grassmann.program import Grassmann, Settings
from opt_ogd.train import method
from tests import runs

OGD = method()
ON_MANIFOLD = {"model": "resnet", "grassmann": True, "learnRate": 0.01, "learnRateG": 0.1, "batch_size": 4}
SMALL = {"crop_size": 8, "padding_size": 0, "data": "synthetic"}
TINY = OGD.settings_class(data="synthetic", widths=(4, 4, 4, 4), batch_size=8, max_steps=9)


def bits(session, every):
    return [value.tobytes() for value in session.run(every)]


def ogd_task():
    return OGD.problem(TINY, synthetic.load(32, 8))


class Log(list):
    """Takes the lines of a `RunFolder`."""

    say = list.append


@pytest.fixture(autouse=True)
def period(monkeypatch):
    """Periods of 4 steps."""
    monkeypatch.setattr(drift, "PERIOD", 4)


def watched(task, replicas=1, **options):
    """Returns the session, the drift and its log after one step."""
    chosen = devices.choose("cpu", replicas)
    training = problem.build(task, chosen.names)
    session, log = chosen.session(), Log()
    runs.begin(session, *training.stores)
    session.run(training.train_op)
    tf.get_default_graph().finalize()
    return session, Drift(log, session, training, **options), log


def test_a_rotation_past_the_bound_becomes_its_polar_factor():
    session, drift, log = watched(ogd_task())
    rotations, every = variables.with_role(Role.ROTATION), variables.saved()
    good, bad = rotations[0], rotations[2]
    drift.after_step(3, {})
    assert log == []
    value = session.run(bad) + 0.05 * np.random.RandomState(0).randn(36, 36)
    assign(session, {bad: value})
    before = bits(session, every)
    drift.after_step(5, {})
    assert log == [] and bits(session, every) == before
    drift.after_step(7, {})
    error = np.linalg.norm(value @ value.T - np.eye(36))
    assert log.pop().startswith(f"step 7, drift of {bad.op.name}: ||QQ^T - I|| = {error:.2e}, above 0.5; replaced")
    repaired = session.run(bad)
    np.testing.assert_allclose(repaired, scipy.linalg.polar(value.astype(np.float32).astype(float))[0], atol=1e-6)
    after = bits(session, every)
    assert [name for name, old, new in zip(every, before, after) if old != new] == [bad] and good is not bad
    drift.after_step(7, {})
    assert log == []


def test_below_the_bound_no_bit_changes():
    session, drift, log = watched(ogd_task(), bound=0.02)
    rotation = variables.with_role(Role.ROTATION)[1]
    assign(session, {rotation: session.run(rotation) + 0.0015 * np.eye(36)})  # 0.018 off
    before = bits(session, variables.saved())
    drift.after_step(3, {})
    assert log == [] and bits(session, variables.saved()) == before
    assign(session, {rotation: session.run(rotation) + 0.0015 * np.eye(36)})
    drift.after_step(3, {})
    assert "above 0.02" in log.pop() and bits(session, variables.saved()) != before


@pytest.mark.parametrize(
    "optimizer, kept", [("sgdg", True), pytest.param("adamg", True, marks=pytest.mark.slow), ("sgd", False)]
)
def test_unit_neurons_are_watched_where_an_optimizer_keeps_them(optimizer, kept):
    settings = Settings(**ON_MANIFOLD, **SMALL, optimizer=optimizer)
    session, drift, log = watched(Grassmann().problem(settings, synthetic.load(16, 4)))
    kernel = variables.with_role(Role.UNIT_KERNEL)[3]
    drift.after_step(3, {})
    assert log == []
    value = session.run(kernel) * np.linspace(0.99, 1.02, kernel.shape[-1])
    assign(session, {kernel: value})
    before = bits(session, variables.saved())
    drift.after_step(7, {})
    changed = [v for v, old, new in zip(variables.saved(), before, bits(session, variables.saved())) if old != new]
    assert len(log) == kept and changed == ([kernel] if kept else [])
    if kept:
        assert f"drift of {kernel.op.name}: largest deviation of a neuron's norm from 1 = 2.00e-02" in log[0]
        flat = value.reshape(-1, value.shape[-1]).astype(np.float32).astype(float)
        expected = flat / np.linalg.norm(flat, axis=0)
        np.testing.assert_allclose(session.run(kernel).reshape(expected.shape), expected, atol=1e-7)


def test_all_replicas_are_repaired_alike():
    session, drift, log = watched(ogd_task(), replicas=2)
    copies = [variables.with_role(Role.ROTATION, replica=replica)[0] for replica in range(2)]
    value = 1.5 * session.run(copies[0])
    assign(session, dict.fromkeys(copies, value))
    drift.after_step(3, {})
    assert len(log) == 1
    first, second = session.run(copies)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first @ first.T, np.eye(27), atol=1e-6)


class Disturb(Callback):
    def __init__(self, session, at):
        self._session, self._at = session, at
        self._variable = variables.with_role(Role.ROTATION)[0]

    def after_step(self, step, values):
        if step == self._at:
            assign(self._session, {self._variable: 1.1 * self._session.run(self._variable)})


def test_a_run_repairs_at_the_end_of_a_period(tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "PERIOD", 6)
    monkeypatch.setattr(OGD, "callbacks", lambda *of_run: [Disturb(of_run[1], at=3)], raising=False)
    assert run(OGD, dataclasses.replace(TINY, max_steps=7, vali_freq=6, train_path=str(tmp_path))) == 0
    assert "step 5, drift of conv1_0/rotation: " in (tmp_path / "log.txt").read_text()
    lines = runs.entries(tmp_path / "metrics.jsonl")
    errors = [line["orthogonality"]["conv1_0"] for line in lines if line["split"] == "test"]
    assert errors[0] > 0.5 > errors[1]  # the validation comes before the repair


@pytest.mark.slow
def test_a_run_under_its_bound_is_the_same_whatever_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "PERIOD", 2)
    for bound in (None, 40.0):
        path = str(tmp_path / str(bound))
        settings = dataclasses.replace(TINY, max_steps=4, vali_freq=2, train_path=path, drift_bound=bound)
        assert run(OGD, settings) == 0
    runs.assert_equal(runs.contents(tmp_path / "40.0"), runs.contents(tmp_path / "None"))
