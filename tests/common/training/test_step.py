"""One training step: who takes which variable, in which order things are written, what is reported."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.training.step import apply_groups, make_train_op


def make(name, value, role=Role.WEIGHT):
    return variables.create(name, [2], role, lambda shape, dtype, seed: tf.constant(value, dtype), tf.float64)


def test_one_step_updates_each_group_with_its_optimizer_and_counts_once():
    step = variables.global_step()
    first, second, third = make("first", [1.0, 2.0]), make("second", [3.0, 4.0]), make("third", [5.0, 6.0], Role.BIAS)
    loss = tf.reduce_sum(first * second) + tf.reduce_sum(tf.square(third))
    groups = [
        (tf.train.GradientDescentOptimizer(0.5), [first, third]),
        (tf.train.GradientDescentOptimizer(0.25), [second]),
        (tf.train.MomentumOptimizer(0.1, 0.9), []),
    ]
    average = make("average", [0.0, 0.0], Role.MOVING)
    variables.average_later(average, first + 0.0, rate=1.0)
    train_op, report, _ = make_train_op(loss, groups, step, metrics={"loss": loss})
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        reported, _ = session.run([report["loss"], train_op])
        values = session.run([first, second, third, average, step])
    assert reported == 3 + 8 + 25 + 36, "what is reported is from before the update"
    expected = [[1 - 1.5, 2 - 2.0], [3 - 0.25, 4 - 0.5], [5 - 5.0, 6 - 6.0], [1.0, 2.0], 1]
    for value, wanted in zip(values, expected):
        np.testing.assert_allclose(value, wanted)
    assert not [variable for variable in tf.global_variables() if "Momentum" in variable.op.name]


@pytest.mark.parametrize(
    "takers, words",
    [
        (lambda a, b: ([a], [b, a]), "taken by two optimizers: a"),
        (lambda a, b: ([a, a], [b]), "taken by two optimizers: a"),
        (lambda a, b: ([a], []), "taken by none: b"),
    ],
)
def test_each_variable_needs_exactly_one_optimizer(takers, words):
    a, b = make("a", [1.0, 1.0]), make("b", [1.0, 1.0])
    groups = [(tf.train.GradientDescentOptimizer(0.1), group) for group in takers(a, b)]
    with pytest.raises(ValueError, match=words):
        make_train_op(tf.reduce_sum(a * b), groups, variables.global_step())


def test_what_is_not_trainable_is_not_trained():
    a, fixed = make("a", [1.0, 1.0]), make("fixed", [1.0, 1.0], Role.FIXED)
    groups = [(tf.train.GradientDescentOptimizer(0.1), [a, fixed])]
    with pytest.raises(ValueError, match="not trainable: fixed"):
        make_train_op(tf.reduce_sum(a * fixed), groups, variables.global_step())


def test_a_variable_that_the_loss_does_not_depend_on_is_named():
    a, idle = make("a", [1.0, 1.0]), make("idle", [1.0, 1.0])
    groups = [(tf.train.GradientDescentOptimizer(0.1), [a, idle])]
    with pytest.raises(ValueError, match="idle has no gradient"):
        make_train_op(tf.reduce_sum(a), groups, variables.global_step())


@pytest.mark.parametrize("use_resource", [True, False], ids=["resource", "reference"])
def test_groups_swap_their_values_without_reading_what_is_already_new(use_resource):
    """Each gradient is the square of the other variable: a write before both are read would show in the result."""
    shape = [500, 500]
    left = tf.get_variable("left", initializer=np.full(shape, 0.1), use_resource=use_resource)
    right = tf.get_variable("right", initializer=np.full(shape, 0.5), use_resource=use_resource)
    step = tf.get_variable("step", initializer=np.float32(0), trainable=False, use_resource=use_resource)
    groups = [
        (tf.train.GradientDescentOptimizer(1.0), [(tf.square(right), left)]),
        (tf.train.GradientDescentOptimizer(1.0), [(tf.square(left), right)]),
    ]
    update = apply_groups(groups, step)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        expected = np.array([0.1, 0.5])
        for count in range(5):
            session.run(update)
            expected = expected - expected[::-1] ** 2
            assert [session.run(left)[0, 0], session.run(right)[-1, -1]] == pytest.approx(expected.tolist())
        assert session.run(step) == 5


def test_slots_of_a_replica_are_named_after_its_variables():
    """A checkpoint knows them by that name without the replica, so a replica under another name would not resume."""
    for replica in range(2):
        with variables.replica_scope(replica):
            step, weight = variables.global_step(), make("weight", [1.0, 2.0])
        optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
        apply_groups([(optimizer, [(tf.ones_like(weight), weight)])], step)
    names = [[variables.bare_name(variable.op.name) for variable in variables.saved(replica)] for replica in range(2)]
    assert names[0] == names[1] == ["global_step", "weight", "weight/Momentum"]
