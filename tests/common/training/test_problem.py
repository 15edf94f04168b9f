"""The training graph in low precision and compiled by XLA: what runs in which type, and that it trains the same."""

import dataclasses

import numpy as np
import pytest

from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.graph.variables import Role
from common.training import problem
from grassmann.program import Grassmann
from opt_gs.train import method
from tests import runs

METHOD = method()
TOLERANCE = {"bfloat16": 2e-2, "float16": 3e-3}
SWITCHED = 0.4  # behind ReLU and max-pool, where rounding turns some switches over
LOW = pytest.mark.parametrize("precision", TOLERANCE)
SMALL = METHOD.settings_class(data="synthetic", widths=(8, 8, 8, 8), batch_size=16, max_steps=4)
MAP_OPS = {"Cholesky", "MatrixTriangularSolve", "BatchMatMulV2"}


def build(**options):
    settings = dataclasses.replace(SMALL, **options)
    return problem.build(METHOD.problem(settings, synthetic.load(64, 8)))


def after_a_step(**options):
    """Returns the loss of the first step, and the changes of all trained variables by name."""
    with tf.Graph().as_default(), tf.Session() as session:
        training = build(**options)
        runs.begin(session, *training.stores)
        trained = variables.trainable()
        start = session.run(trained)
        fit, _ = session.run([training.metrics["fit"], training.train_op])
        end = session.run(trained)
    return fit, {variable.op.name: new - old for variable, old, new in zip(trained, start, end)}


@pytest.fixture(scope="module")
def first_step():
    return after_a_step()


@LOW
def test_a_step_in_low_precision_is_that_of_float32_to_its_accuracy(precision, first_step):
    fit, changes = after_a_step(precision=precision)
    np.testing.assert_allclose(fit, first_step[0], rtol=TOLERANCE[precision])
    for name, value in first_step[1].items():
        gap = np.linalg.norm(changes[name] - value) / np.linalg.norm(value)
        direct = name.startswith(("conv3_1/bn", "fc6", "score"))
        assert 0 < gap < (TOLERANCE[precision] if direct else SWITCHED), name


@LOW
def test_the_network_is_of_low_precision_and_nothing_else(precision):
    training = build(precision=precision)
    low = tf.as_dtype(precision)
    convolutions = [op for op in operations() if op.type.startswith("Conv2D")]
    assert len(convolutions) == 8 * 3, "forward, and backward for kernels and inputs"
    assert {op.get_attr("T") for op in convolutions} == {low}
    types_of = {op: {tensor.dtype for tensor in [*op.inputs, *op.outputs]} for op in operations()}
    everything = {op.type for op, types in types_of.items() if low in types}
    assert {"FusedBatchNormV3", "Relu", "MaxPool"} <= everything
    assert not everything & MAP_OPS
    assert not everything & {"SparseSoftmaxCrossEntropyWithLogits", "Softmax", "Log", "ResourceApplyMomentum"}
    assert low not in {variable.dtype.base_dtype for variable in tf.global_variables()}
    for kernel in training.kernels[0].values():
        assert low not in {tensor.dtype for op in ancestors(kernel.tensor.op) for tensor in op.outputs}


def ancestors(op):
    found, waiting = {op}, [op]
    while waiting:
        for parent in [tensor.op for tensor in waiting.pop().inputs]:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_residual_networks_on_the_manifold_too(precision):
    words = {"data": "synthetic", "model": "resnet", "optimizer": "adamg", "batch_size": 8, "keep_prob": 0.7}
    settings = Grassmann.settings_class(grassmann=True, precision=precision, **words)
    fits = []
    for change in ({}, {"precision": "float32"}):
        with tf.Graph().as_default(), tf.Session() as session:
            training = problem.build(
                Grassmann().problem(dataclasses.replace(settings, **change), synthetic.load(64, 8))
            )
            runs.begin(session, *training.stores)
            session.run(training.train_op)
            fits.append(session.run(training.fit))
            units = session.run(variables.with_role(Role.UNIT_KERNEL))
            assert {unit.dtype for unit in units} == {np.dtype("float32")}
            norms = [np.linalg.norm(unit.reshape(-1, unit.shape[-1]).astype(float), axis=0) for unit in units]
            np.testing.assert_allclose(np.concatenate(norms), 1.0, atol=1e-6)
    np.testing.assert_allclose(*fits, rtol=TOLERANCE[precision])


@pytest.mark.slow
def test_checkpoints_know_no_precision(tmp_path, capsys):
    """Trained in float16, tested and gone on with in float32."""
    options = dataclasses.replace(SMALL, widths=(4, 4, 4, 4), batch_size=8, max_steps=2)
    path = str(tmp_path / "run")
    run(METHOD, dataclasses.replace(options, precision="float16", train_path=path))
    trained = [line for line in capsys.readouterr().out.splitlines() if "validation:" in line][-1]
    run(METHOD, dataclasses.replace(options, task="test", load=path))
    tested = capsys.readouterr().out.splitlines()[-1]
    assert tested.startswith("validation: ")
    assert tested.split(" (")[0] in trained, "evaluation is of float32 in both"
    run(METHOD, dataclasses.replace(options, max_steps=3, train_path=path, load=path))
    out = capsys.readouterr().out
    assert "model.ckpt-2" in out and "start afresh" not in out


def clusters(**options):
    """Returns ({name: type} of the nodes that a training step runs one by one, how many groups XLA compiles)."""
    with tf.Graph().as_default(), tf.Session() as session:
        training = build(**options)
        runs.begin(session, *training.stores)
        seen, wanted = tf.RunMetadata(), tf.RunOptions(output_partition_graphs=True)
        session.run(training.train_op, options=wanted, run_metadata=seen)
        nodes = [node for graph in seen.partition_graphs for node in graph.node]
        types = {node.name: node.op.removeprefix("_MklNative") for node in nodes}
        return types, list(types.values()).count("_XlaRun")


def test_the_network_is_marked_for_xla_and_the_maps_are_not():
    build(xla=True)
    marked = {op: "_XlaCompile" in op.node_def.attr and op.get_attr("_XlaCompile") for op in operations()}
    network = {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "Relu", "ReluGrad", "MaxPool", "MaxPoolGrad"}
    assert network <= {op.type for op in marked}
    assert all(mark for op, mark in marked.items() if op.type in network)
    assert not any(mark for op, mark in marked.items() if op.type in MAP_OPS - {"BatchMatMulV2"})


def operations():
    return tf.get_default_graph().get_operations()


@pytest.mark.slow
def test_xla_compiles_the_network_and_leaves_the_maps():
    ordinary, none = clusters()
    left, compiled = clusters(xla=True)
    assert none == 0 and compiled > 0
    network = {"Conv2DBackpropInput", "Conv2DBackpropFilter", "MaxPoolGrad"}
    assert network <= set(ordinary.values()) and not network & set(left.values())
    factors = {name for name, kind in ordinary.items() if kind in MAP_OPS - {"BatchMatMulV2"}}
    assert factors and factors <= set(left)


def test_xla_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(tf.test, "is_built_with_xla", lambda: False)
    with pytest.raises(ValueError, match="--xla: this TensorFlow was built without XLA"):
        build(xla=True)
