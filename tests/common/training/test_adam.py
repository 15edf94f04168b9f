"""Adam and AdamW against NumPy, and what a count for each variable is for."""

import numpy as np
import pytest

from common.compat import tf
from common.training.adam import Adam

RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.999, 1e-8


def numpy_adam(value, gradients, weight_decay=0.0):
    m = v = np.zeros_like(value)
    for t, gradient in enumerate(gradients, 1):
        m = BETA1 * m + (1 - BETA1) * gradient
        v = BETA2 * v + (1 - BETA2) * gradient**2
        value = value - RATE * weight_decay * value
        value = value - RATE * (m / (1 - BETA1**t)) / (np.sqrt(v / (1 - BETA2**t)) + EPSILON)
        yield value


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_steps_against_numpy(weight_decay):
    random = np.random.RandomState(0)
    start, gradients = random.randn(3, 4), random.randn(20, 3, 4)
    variable, gradient = tf.get_variable("w", initializer=start), tf.placeholder(tf.float64, [3, 4])
    update = Adam(RATE, BETA1, BETA2, EPSILON, weight_decay).apply_gradients([(gradient, variable)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for fed, expected in zip(gradients, numpy_adam(start, gradients, weight_decay)):
            session.run(update, {gradient: fed})
            np.testing.assert_allclose(session.run(variable), expected, rtol=1e-9)
    assert {v.op.name for v in tf.global_variables()} == {"w", "w/Adam_m", "w/Adam_v", "w/Adam_t"}


def test_a_variable_whose_slots_are_cleared_begins_anew():
    gradient = tf.constant([1.0, -2.0], tf.float64)
    first, other = [tf.get_variable(name, initializer=np.zeros(2)) for name in ("first", "other")]
    optimizer = Adam(RATE)
    update = optimizer.apply_gradients([(gradient, first), (gradient, other)])
    slots = [optimizer.get_slot(first, name) for name in optimizer.get_slot_names()]
    clear = tf.group(*[slot.assign(tf.zeros_like(slot)) for slot in slots])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(30):
            session.run(update)
        before = session.run(first)
        session.run(clear)
        session.run(update)
        # The first step of Adam is the rate, whatever the gradient: no moment without its correction is divided.
        np.testing.assert_allclose(session.run(first) - before, [-RATE, RATE], rtol=1e-6)
        assert session.run([optimizer.get_slot(first, "t"), optimizer.get_slot(other, "t")]) == [1.0, 31.0]
