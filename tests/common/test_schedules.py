"""Learning rates at the steps around each boundary."""

import numpy as np

from common.compat import tf
from common.schedules import StepDecay

SCHEDULE = StepDecay(75_000, (30_000, 50_000, 65_000), 0.1)


def rates(schedule, steps, base=0.1):
    step = tf.placeholder(tf.int64, [])
    rate = schedule.rate(base, step)
    with tf.Session() as session:
        return [session.run(rate, {step: value}) for value in steps]


def test_the_rate_drops_at_each_boundary_itself():
    steps = [0, 29_999, 30_000, 49_999, 50_000, 64_999, 65_000, 74_999]
    np.testing.assert_allclose(rates(SCHEDULE, steps), [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-14)


def test_a_stretched_schedule_moves_its_boundaries_in_proportion():
    short = SCHEDULE.stretched(600)
    assert (short.steps, short.boundaries, short.factor) == (600, (240, 400, 520), 0.1)
    assert SCHEDULE.stretched(75_000) == SCHEDULE
    np.testing.assert_allclose(rates(short, [239, 240], base=2.0), [2.0, 0.2], rtol=1e-14)


def test_no_boundaries_is_a_constant_rate():
    np.testing.assert_allclose(rates(StepDecay(10, (), 0.1), [0, 9]), [0.1, 0.1])
