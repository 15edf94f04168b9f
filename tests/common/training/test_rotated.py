"""How far an update has rotated each layer, against NumPy, for methods with and without a map."""

import numpy as np
import pytest

from common.compat import tf
from common.graph.variables import Role, with_role
from common.training import rotated
from common.training.callbacks import Clock, Report
from tests.common.cli.test_recipe import Session
from tests.oracles import orthonormal

ORACLES = {"opt_hr": orthonormal.householder, "opt_ogd": lambda x: x, "sopt_gs": orthonormal.gram_schmidt}


class Folder:
    """Takes what a `RunFolder` is told."""

    def __init__(self):
        self.lines, self.metrics = [], []

    def say(self, line):
        self.lines.append(line)

    def measure(self, **figures):
        self.metrics.append(figures)


def report_of(run, frequency):
    folder = Folder()
    arguments = run.session, run.kernels, run.training.metrics, frequency, 99, Clock(16)
    tf.get_default_graph().finalize()  # a report adds no operation
    return folder, Report(folder, *arguments)


def kernels_of(run, folder):
    """{layer: Q W0} from the variables, in float64."""
    found = {}
    values = {v.op.name: run.session.run(v) for v in with_role(Role.FIXED, Role.GENERATOR, Role.ROTATION, Role.SUBSET)}
    for name in [name for name in values if name.endswith("/rotation")]:
        scope = name.removesuffix("/rotation")
        kernel, rotation = values[f"{scope}/fix"].astype(float), ORACLES[folder](values[name])
        rows = values.get(f"{scope}/subset", slice(None))
        kernel[rows] = rotation @ kernel[rows]
        found[scope] = kernel
    return found


@pytest.mark.parametrize("folder", ["opt_hr", "opt_ogd", pytest.param("sopt_gs", marks=pytest.mark.slow)])
def test_changes_against_numpy(folder):
    run = Session(folder)  # an episode of sopt_gs ends with the third step
    told, report = report_of(run, 3)
    for step in range(3):
        before = kernels_of(run, folder)
        _, values = run.session.run([run.training.train_op, report.fetches(step)])
        after = kernels_of(run, folder)
        for callback in run.callbacks:
            callback.after_step(step, {})
        report.after_step(step, values)
    assert [line["step"] for line in told.metrics] == [0, 2]
    found = told.metrics[-1]["rotated"]
    assert set(found) == set(before) == {"conv1_0", "conv1_1", "conv2_0", "conv2_1", "conv3_0", "conv3_1", "fc6"}
    for scope, value in found.items():
        expected = np.linalg.norm(after[scope] - before[scope]) / np.linalg.norm(before[scope])
        assert 1e-6 < expected < 1
        np.testing.assert_allclose(value, expected, rtol=1e-2)
    assert "change of Q W0 = " in told.lines[-1] and f"({max(found, key=found.get)})" in told.lines[-1]


def test_a_step_without_a_report_runs_the_same_operations():
    run = Session("opt_gs")
    _, report = report_of(run, 5)

    def operations(fetches):
        ran, options = tf.RunMetadata(), tf.RunOptions(output_partition_graphs=True)
        run.session.run(fetches, options=options, run_metadata=ran)
        return sum(len(graph.node) for graph in ran.partition_graphs)

    alone = operations([run.training.train_op, {}])
    assert operations([run.training.train_op, report.fetches(3)]) == alone > 100
    assert operations([run.training.train_op, report.fetches(4)]) > alone


def test_words():
    found = {"first": 1.26e-3, "second": 2e-5, "third": 4e-4}
    assert list(rotated.words(found)) == ["change of Q W0 = 2.0e-05 (second) to 1.3e-03 (first)"]
    assert list(rotated.words({})) == [] and rotated.changes({}, {}) == {}
