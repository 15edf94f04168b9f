"""Roles, names and initial values of variables."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role


def test_roles_select_variables_in_the_order_of_creation():
    weight = variables.create("weight", [2, 3], Role.WEIGHT, initializers.zeros)
    fixed = variables.create("fix", [2], Role.FIXED, initializers.zeros)
    data = variables.create("images", [2], Role.DATA, initializers.zeros, tf.uint8)
    assert variables.with_role(Role.FIXED, Role.WEIGHT) == [weight, fixed]
    assert variables.trainable() == [weight]
    assert tf.trainable_variables() == [weight]
    assert variables.role_of(data) is Role.DATA
    assert variables.saved() == [weight, fixed]


def test_a_second_pass_reuses_and_registers_once():
    with tf.variable_scope("layer"):
        first = variables.create("weight", [2], Role.WEIGHT, initializers.zeros)
    with tf.variable_scope("layer", reuse=True):
        second = variables.create("weight", [2], Role.WEIGHT, initializers.zeros)
    assert first is second
    assert len(variables.with_role(Role.WEIGHT)) == 1


def test_a_role_cannot_change():
    variables.create("weight", [2], Role.WEIGHT, initializers.zeros)
    with tf.variable_scope("", reuse=True), pytest.raises(ValueError, match="weight has the role WEIGHT"):
        variables.create("weight", [2], Role.BIAS, initializers.zeros)


def test_replicas_have_their_own_copies_with_equal_start_values():
    for replica in range(3):
        with variables.replica_scope(replica), tf.variable_scope("layer"):
            variables.create("weight", [5], Role.WEIGHT, initializers.normal(1.0))
            assert variables.current_replica() == replica
    copies = [variables.with_role(Role.WEIGHT, replica=replica)[0] for replica in range(3)]
    assert [copy.op.name for copy in copies] == ["layer/weight", "replica_1/layer/weight", "replica_2/layer/weight"]
    assert {variables.bare_name(copy.op.name) for copy in copies} == {"layer/weight"}
    assert variables.saved() == copies[:1]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run(copies)
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


def test_slots_belong_to_the_replica_of_their_variable():
    with variables.replica_scope(1):
        weight = variables.create("weight", [2], Role.WEIGHT, initializers.ones)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    optimizer.minimize(tf.reduce_sum(tf.square(weight)), var_list=[weight])
    assert optimizer.get_slot(weight, "momentum") in variables.saved(replica=1)
    assert variables.saved(replica=0) == []


def initial_values(seed, names):
    with tf.Graph().as_default():
        tf.set_random_seed(seed)
        made = [variables.create(name, [300, 40], Role.WEIGHT, initializers.he_normal, tf.float64) for name in names]
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            return session.run(made)


def test_start_values_follow_from_seed_and_name_alone():
    one, two = initial_values(3, ["a", "b"])
    again = initial_values(3, ["b", "a"])
    np.testing.assert_array_equal(one, again[1])
    np.testing.assert_array_equal(two, again[0])
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05
    assert not np.array_equal(one, initial_values(4, ["a"])[0])


def test_he_normal_has_variance_two_over_inputs():
    (value,) = initial_values(0, ["w"])
    assert abs(value.std() / np.sqrt(2 / 300) - 1) < 0.03
    assert abs(value.mean()) < 0.01


def test_lecun_normal_has_variance_one_over_inputs():
    value = variables.create("p", [400, 400], Role.GENERATOR, initializers.lecun_normal, tf.float64)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        lengths = (session.run(value) ** 2).sum(axis=0)
    assert abs(lengths.mean() - 1) < 0.02 and 0.03 < lengths.std() < 0.15


def test_unit_neurons_have_norm_one():
    kernel = variables.create("weight", [3, 3, 8, 16], Role.UNIT_KERNEL, initializers.unit_neurons, tf.float64)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        value = session.run(kernel)
    np.testing.assert_allclose(np.sqrt((value**2).sum(axis=(0, 1, 2))), np.ones(16), rtol=1e-12)


def test_keys_differ_by_seed_name_and_number():
    tf.set_random_seed(1)
    keys = [variables.key_of("a", 0), variables.key_of("b", 0), variables.key_of("a", 1)]
    tf.set_random_seed(2)
    keys.append(variables.key_of("a", 0))
    with tf.Session() as session:
        assert len({tuple(key) for key in session.run(keys)}) == 4


def test_global_step_is_made_once_for_each_replica():
    first = variables.global_step()
    with tf.variable_scope("layer"):
        assert variables.global_step() is first
    with variables.replica_scope(1):
        assert variables.global_step().op.name == "replica_1/global_step"
    assert first.op.name == "global_step"
