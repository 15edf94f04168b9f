"""HybridOptimizer: two optimizers, one backward pass, one count of the step."""

import numpy as np
import pytest

from common.compat import tf
from grassmann.optimizers import AdamG, HybridOptimizer, SgdG
from tests.common.riemannian.test_optimizers import KINDS, SHAPES, gradient_at, kernels, start
from tests.oracles import riemannian_steps

POWERS = ("beta1_power", "beta2_power")


@KINDS
def test_checkpoint_brings_everything_back(use_resource, tmp_path):
    optimizer = HybridOptimizer(tf.train.MomentumOptimizer(0.1, 0.9), AdamG(0.05))
    matrix, conv, cube = kernels("float32", use_resource)
    step = tf.get_variable("global_step", initializer=0.0, trainable=False, use_resource=use_resource)
    draws = [tf.random.stateless_normal(kernel.shape, [0, tf.cast(step, tf.int32)]) for kernel in (matrix, conv, cube)]
    loss = tf.add_n([tf.reduce_sum(draw * kernel) for draw, kernel in zip(draws, (matrix, conv, cube))])
    train_op = optimizer.minimize(loss, [matrix], [conv, cube], step)
    saver = tf.train.Saver()

    def run(session, count):
        for _ in range(count):
            session.run(train_op)
        return session.run({variable.op.name: variable for variable in tf.global_variables()})

    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        run(session, 3)
        saver.save(session, str(tmp_path / "model.ckpt"))
        expected = run(session, 3)
    with tf.Session() as session:
        saver.restore(session, str(tmp_path / "model.ckpt"))
        actual = run(session, 3)
    assert expected["global_step"] == 6.0
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value)


@KINDS
def test_hybrid_optimizer_trains_each_list_with_its_optimizer_and_counts_once(use_resource):
    matrix, conv, cube = kernels("float64", use_resource)
    step = tf.get_variable("step", initializer=np.int64(0), trainable=False, use_resource=use_resource)
    optimizer = HybridOptimizer(tf.train.MomentumOptimizer(0.1, 0.9), SgdG(0.2, 0.9))
    targets = [tf.constant(gradient_at(name, 1)) for name in SHAPES]
    loss = tf.add_n([tf.reduce_sum(target * kernel) for target, kernel in zip(targets, (matrix, conv, cube))])
    train_op = optimizer.minimize(loss, [matrix], [conv, cube], step)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(2):
            session.run(train_op)
        assert session.run(step) == 2
        expected = start("matrix") - 0.1 * (1 + 1.9) * gradient_at("matrix", 1)
        np.testing.assert_allclose(session.run(matrix), expected, rtol=1e-6)  # its rates are float32
        y, tau = start("cube"), np.zeros(SHAPES["cube"])
        for _ in range(2):
            y, tau = riemannian_steps.sgd_g(y, gradient_at("cube", 1), tau, 0.2, 0.9)
        np.testing.assert_allclose(session.run(cube), y, rtol=0, atol=1e-6)
    assert optimizer.get_slot(matrix, "momentum").op.name == "matrix/Momentum"
    for key in ("momentum", "tau"):
        assert optimizer.get_slot(cube, key).op.name == "cube/SgdgOptimizer"
    assert optimizer.get_slot(cube, "v") is None and optimizer.get_slot_names() == ["momentum"]
    assert len(optimizer.variables()) == 3


@pytest.mark.parametrize("euclidean, manifold", [(["matrix"], []), ([], ["matrix", "cube"])])
def test_hybrid_optimizer_takes_an_empty_list(euclidean, manifold):
    by_name = dict(zip(SHAPES, kernels()))
    chosen = [[by_name[name] for name in names] for names in (euclidean, manifold)]
    loss = tf.add_n([tf.reduce_sum(by_name[name]) for name in euclidean + manifold])
    optimizer = HybridOptimizer(tf.train.MomentumOptimizer(0.1, 0.9), AdamG(0.1))
    train_op = optimizer.minimize(loss, *chosen, tf.train.get_or_create_global_step())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train_op)
        assert session.run(tf.train.get_global_step()) == 1
    assert len(optimizer.variables()) == (1 if euclidean else 6)


@KINDS
def test_one_list_of_gradients_is_that_of_any_optimizer(use_resource):
    """Every argument of `tf.train.Optimizer.compute_gradients` means what it means there."""
    optimizer = HybridOptimizer(tf.train.GradientDescentOptimizer(0.1), SgdG(0.1, 0.9), use_locking=True, name="Both")
    assert isinstance(optimizer, tf.train.Optimizer) and optimizer.get_name() == "Both"
    matrix, conv, cube = kernels("float64", use_resource)
    tf.add_to_collection("grassmann", cube)
    loss = tf.reshape(tf.reduce_sum(matrix**2) + tf.reduce_sum(cube**3), [1])
    calls = [
        lambda taker: taker.compute_gradients(loss),
        lambda taker: taker.compute_gradients(loss, [cube, matrix], taker.GATE_NONE),
        lambda taker: taker.compute_gradients(loss, cube, grad_loss=tf.constant([2.0], tf.float64)),
        lambda taker: taker.compute_gradients(
            loss, var_list=(conv, cube), gate_gradients=taker.GATE_GRAPH, colocate_gradients_with_ops=True,
            aggregation_method=tf.AggregationMethod.ADD_N,
        ),
    ]  # fmt: skip
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for call in calls:
            pairs, expected = call(optimizer), call(tf.train.GradientDescentOptimizer(0.1))
            assert [id(variable) for _, variable in pairs] == [id(variable) for _, variable in expected]
            assert all((variable in tf.get_collection("grassmann")) == (variable is cube) for _, variable in pairs)
            for (actual, variable), (gradient, _) in zip(pairs, expected):
                assert (actual is None) == (gradient is None) == (variable is conv)
                if actual is not None:
                    np.testing.assert_array_equal(*session.run([actual, gradient]))


@KINDS
def test_two_lists_of_gradients_by_position_and_by_name(use_resource):
    optimizer = HybridOptimizer(tf.train.GradientDescentOptimizer(0.1), SgdG(0.1, 0.9))
    matrix, conv, cube = kernels("float64", use_resource)
    loss = tf.add_n([tf.reduce_sum(kernel) for kernel in (matrix, cube)])
    by_position = optimizer.compute_gradients(loss, [matrix], iter([conv, cube]))
    by_name = optimizer.compute_gradients(loss, variables_a=[matrix], variables_b=[conv, cube])
    for pairs_a, pairs_b in (by_position, by_name):
        assert [variable for _, variable in pairs_a] == [matrix]
        assert [variable for _, variable in pairs_b] == [conv, cube] and pairs_b[0][0] is None


@KINDS
def test_a_variable_without_a_gradient_is_left_alone(use_resource):
    matrix, conv, cube = kernels("float64", use_resource)
    loss = tf.reduce_sum(matrix) + tf.reduce_sum(cube)
    optimizer = HybridOptimizer(tf.train.MomentumOptimizer(0.1, 0.9), AdamG(0.1))
    pairs_b = optimizer.compute_gradients(loss, [conv, cube])
    train_op = optimizer.apply_gradients([(None, matrix)], pairs_b)
    assert {slot.op.name for slot in optimizer.variables()} == {"cube/Adamg", "cube/Adamg_1", *POWERS}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train_op)
        for kernel, name in ((matrix, "matrix"), (conv, "conv/kernel")):
            np.testing.assert_array_equal(session.run(kernel), start(name))
        assert np.abs(session.run(cube) - start("cube")).max() > 0.01


def hybrid(pairs_a, pairs_b):
    return HybridOptimizer(tf.train.GradientDescentOptimizer(0.1), SgdG(0.1, 0.9)).apply_gradients(pairs_a, pairs_b)


def sparse_gradient(kernel):
    return tf.IndexedSlices(tf.ones([1, 4], tf.float64), [0], dense_shape=kernel.shape.as_list())


@pytest.mark.parametrize(
    "fault, words",
    [
        (lambda kernel, gradient: hybrid([], []), "no variables"),
        (lambda kernel, gradient: hybrid([(gradient, kernel)], [(gradient, kernel)]), "matrix .* more than once"),
        (lambda kernel, gradient: hybrid([], [(gradient, kernel)] * 2), "matrix .* more than once"),
        (lambda kernel, gradient: hybrid([], [(None, kernel)]), "loss depends on none of matrix"),
        (lambda kernel, gradient: hybrid([], [(sparse_gradient(kernel), kernel)]), "sparse .* for matrix"),
    ],
)
@KINDS
def test_mistakes_are_named_in_one_line(fault, words, use_resource):
    kernel = kernels("float64", use_resource)[0]
    with pytest.raises(ValueError, match=words) as error:
        fault(kernel, tf.ones_like(kernel))
    assert "\n" not in str(error.value)
