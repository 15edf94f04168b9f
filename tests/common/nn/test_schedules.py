"""Learning rates at the steps around each boundary."""

import numpy as np
import pytest

from common.compat import tf
from common.nn.schedules import Constant, Cosine, StepDecay

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


def test_the_updates_after_the_last_drop_are_those_within_the_run():
    assert [SCHEDULE.stretched(steps).after_last_drop() for steps in (75_000, 2000, 500, 1)] == [10_000, 267, 67, 1]
    assert StepDecay(60, (40, 65, 85), 0.1).after_last_drop() == 20
    assert StepDecay(30, (40, 65, 85), 0.1).after_last_drop() == 30


def test_a_larger_batch_scales_every_rate_in_proportion_and_a_smaller_one_too():
    for batch, whole in ((512, 0.4), (128, 0.1), (64, 0.05)):
        schedule = SCHEDULE.for_batch("linear", batch, 128, 0)
        np.testing.assert_allclose(rates(schedule, [0, 29_999, 30_000]), [whole, whole, whole / 10], rtol=1e-14)
    np.testing.assert_allclose(rates(SCHEDULE.for_batch("none", 512, 128, 0), [0, 30_000]), [0.1, 0.01], rtol=1e-14)


# Rates in hundredths, by hand. Drops at 8 and 12 of 16 updates, batch 256 of a recipe for 64, warm-up of 4 updates.
WARM = {
    "none": [2.5, 5, 7.5, 10, 10, 10, 10, 10, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1],  # from 0, by a quarter of 10 each
    "linear": [17.5, 25, 32.5, 40, 40, 40, 40, 40, 4, 4, 4, 4, 0.4, 0.4, 0.4, 0.4],  # from 10 to 40, by 7.5 each
}


@pytest.mark.parametrize("lr_scale", WARM)
def test_the_warm_up_rises_by_equal_amounts_to_the_whole_rate(lr_scale):
    schedule = StepDecay(16, (8, 12), 0.1).for_batch(lr_scale, 256, 64, 4)
    np.testing.assert_allclose(rates(schedule, range(16)), np.array(WARM[lr_scale]) / 100, rtol=1e-13)
    beginning_later = rates(schedule, [2, 3, 4])  # as a resumed run does: nothing is counted but the step
    np.testing.assert_allclose(beginning_later, np.array(WARM[lr_scale][2:5]) / 100, rtol=1e-13)


def test_a_stretched_schedule_warms_up_for_as_many_updates():
    for schedule in (
        StepDecay(8, (4, 6), 0.1).stretched(16).for_batch("linear", 256, 64, 4),
        StepDecay(8, (4, 6), 0.1).for_batch("linear", 256, 64, 4).stretched(16),
    ):
        np.testing.assert_allclose(rates(schedule, range(16)), np.array(WARM["linear"]) / 100, rtol=1e-13)


def test_a_smaller_batch_warms_up_from_zero_and_a_drop_within_it_counts():
    schedule = StepDecay(6, (2,), 0.5).for_batch("linear", 16, 64, 4)
    expected = [0.025 * share * drop for share, drop in ((0.25, 1), (0.5, 1), (0.75, 0.5), (1, 0.5), (1, 0.5))]
    np.testing.assert_allclose(rates(schedule, range(5)), expected, rtol=1e-13)


def test_left_out_they_add_nothing_to_the_graph():
    with tf.Graph().as_default() as graph:
        SCHEDULE.for_batch("none", 512, 128, 0).rate(0.1, tf.placeholder(tf.int64, []))
        assert [node.type for node in graph.get_operations()] == [
            "Placeholder", "Const", "Const", "GreaterEqual", "Cast", "Const", "Sum", "Const", "Pow", "Mul",
        ]  # fmt: skip


def test_no_boundaries_is_a_constant_rate():
    np.testing.assert_allclose(rates(StepDecay(10, (), 0.1), [0, 9]), [0.1, 0.1])


def test_a_cosine_falls_from_the_whole_rate_to_zero_and_stays_there():
    steps = np.array([0, 1, 50, 99, 100, 1000])
    expected = 0.1 * (1 + np.cos(np.pi * np.minimum(steps / 100, 1))) / 2
    np.testing.assert_allclose(rates(Cosine(100), steps), expected, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(expected[[0, 2, 4, 5]], [0.1, 0.05, 0, 0], atol=1e-17)


def test_cosine_and_constant_warm_up_and_scale_as_all_do():
    share = (1 + np.cos(np.pi * np.arange(6) / 6)) / 2
    rise = np.array([17.5, 25, 32.5, 40, 40, 40]) / 100  # as above
    for schedule, expected in ((Cosine(6), share * rise), (Constant(6), rise)):
        np.testing.assert_allclose(rates(schedule.for_batch("linear", 256, 64, 4), range(6)), expected, rtol=1e-13)
