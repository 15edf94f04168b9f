"""The polynomials of Löwdin's algorithm for GPUs: that they are the best ones, and where their steps lead."""

import numpy as np
import pytest

from opt_ls import lowdin_polynomial


def _value(step, points):
    first, third, fifth = step
    return points * (first + points**2 * (third + points**2 * fifth))


@pytest.mark.parametrize("low, high", [(1e-7, 1.0), (1e-3, 1.0), (0.3, 1.7), (0.99, 1.01)])
def test_the_error_is_the_same_at_four_points_with_alternating_signs(low, high):
    """That makes the polynomial the best one, by Chebyshev's theorem."""
    step, least = lowdin_polynomial.best(low, high)
    points = np.concatenate([np.linspace(low, high, 400_001), np.geomspace(low, high, 100_001)])
    points.sort()
    error = 1 - _value(step, points)
    assert np.abs(error).max() == pytest.approx(least, rel=1e-6)
    extremes = error[np.abs(error) > least * (1 - 1e-6)]
    assert np.count_nonzero(np.diff(np.sign(extremes))) == 3


def test_all_singular_values_come_to_1_in_fourteen_steps():
    values = np.geomspace(1e-7, 1, 100_001)
    for number, step in enumerate(lowdin_polynomial.coefficients(1e-7, 14)):
        if number == 13:
            assert np.abs(values - 1).max() < 7e-7, "the gradient leaves the last step out"
        values = _value(step, values)
    assert np.abs(values - 1).max() < 1e-14
