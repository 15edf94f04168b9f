"""The optimizer made of a pure step function, with a step that shows what it is given."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import linalg
from common.training import step_optimizer
from common.training.step_optimizer import COLUMNS, MATRICES, StepOptimizer, same_shape

KINDS = pytest.mark.parametrize("use_resource", [True, False], ids=["resource", "reference"])


def swap(value, gradient, first, second, rate, power, unused):
    """Passes the value and its slots round, so that a write that comes before a read is noticed."""
    assert unused is None
    return first + rate * gradient, 0.5 * second, value + power


def optimizer(rate=1.0):
    slots = {"first": ("Slot", same_shape), "second": ("Slot", same_shape)}
    settings = {"rate": rate, "unused": None}
    return StepOptimizer("Swap", swap, slots, settings, {"power": "rate"})


@KINDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_is_read_before_it_is_written(dtype, use_resource):
    steps = 30
    random = np.random.RandomState(0)
    starts = {"a": random.randn(50, 40), "b": random.randn(3), "c/d": random.randn(2, 2)}
    made = [
        tf.get_variable(name, initializer=start.astype(dtype), use_resource=use_resource)
        for name, start in starts.items()
    ]
    update = optimizer(0.5).apply_gradients([(tf.ones_like(variable), variable) for variable in made])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(update)
        final = {variable.op.name: session.run(variable) for variable in tf.global_variables()}
    for name, value in starts.items():
        first = second = np.zeros_like(value)
        for t in range(1, steps + 1):
            value, first, second = first + 0.5, 0.5 * second, value + 0.5**t
        for key, expected in {name: value, f"{name}/Slot": first, f"{name}/Slot_1": second}.items():
            assert final[key].dtype == dtype
            np.testing.assert_allclose(final[key], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(final["power"], 0.5 ** (steps + 1), rtol=1e-6)


def test_numbers_reach_a_float64_step_without_rounding():
    variable = tf.get_variable("variable", initializer=np.zeros(1))
    update = optimizer(0.1).apply_gradients([(tf.ones_like(variable), variable)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(update)
        assert session.run(variable)[0] == 0.1


@KINDS
def test_sparse_gradients_are_refused_in_one_line(use_resource):
    table = tf.get_variable("table", initializer=np.zeros((4, 2)), use_resource=use_resource)
    gradient = tf.gradients(tf.reduce_sum(tf.gather(table, [1, 1])), table)[0]
    with pytest.raises(ValueError, match="Swap was given a sparse gradient .* for table; .*convert_to_tensor") as error:
        optimizer().apply_gradients([(gradient, table)])
    assert "\n" not in str(error.value)
    optimizer().apply_gradients([(tf.convert_to_tensor(gradient), table)])


JOINED = {
    # What needs a whole neuron, which runs over all axes but the last; and what needs a whole matrix.
    COLUMNS: lambda x, g, s: (x - tf.reduce_mean(x * g, list(range(x.shape.rank - 1)), keepdims=True), s + g),
    MATRICES: lambda x, g, s: (tf.matmul(x, g), s + tf.matmul(g, x)),
}


@pytest.mark.parametrize("joins", JOINED)
def test_variables_that_are_joined_step_as_they_do_alone(monkeypatch, joins):
    """On a GPU: kernels of 6 and 4 numbers a neuron, square matrices of two sizes, which are one batch."""
    step = JOINED[joins]
    shapes = [(2, 3, 4), (6, 1), (4, 4), (2, 2, 5)] if joins == COLUMNS else [(3, 3), (4, 4), (3, 3)]
    random = np.random.default_rng(0)
    starts, fed = [[random.normal(size=shape) for shape in shapes] for _ in range(2)]
    found, concats = {}, {}
    for on_gpu in (False, True):
        monkeypatch.setattr(linalg, "on_gpu", lambda on_gpu=on_gpu: on_gpu)
        monkeypatch.setattr(step_optimizer, "is_small", lambda tensor: False)
        with tf.Graph().as_default() as graph:
            made = [tf.get_variable(f"v{i}", initializer=start) for i, start in enumerate(starts)]
            optimizer = StepOptimizer("Joined", step, {"slot": ("Slot", same_shape)}, {}, joins=joins)
            update = optimizer.apply_gradients(zip(map(tf.constant, fed), made))
            concats[on_gpu] = sum(op.type in ("ConcatV2", "Pack") for op in graph.get_operations())
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                for _ in range(3):
                    session.run(update)
                found[on_gpu] = session.run(tf.global_variables())
    assert concats[False] == 0 < concats[True]
    for alone, together in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-14)
