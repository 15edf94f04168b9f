"""--num_gpus=K: K towers with one batch between them train as one device does."""

import numpy as np
import pytest

from common.compat import tf
from grassmann.program import Grassmann, Settings
from tests import towers as several

OF_PAPER = {
    "sgd": {"learnRate": 0.1, "gammaDecay": 5e-4, "betaDecay": 5e-4, "biasDecay": 5e-4},
    "sgdg": {"grassmann": True, "learnRate": 0.01, "learnRateG": 0.2, "omega": 0.1, "grad_clip": 0.1},
    "adamg": {"grassmann": True, "learnRate": 0.01, "learnRateG": 0.05, "omega": 0.1, "grad_clip": 0.1},
}


def trained(optimizer, towers, dtype, steps=3, model="resnet", crop_size=16):
    """Returns the variables of all towers after some steps, as a list of {bare name: value}, and the last report."""
    settings = Settings(
        data="synthetic", model=model, optimizer=optimizer, batch_size=8, keep_prob=0.7, weightDecay=5e-4,
        crop_size=crop_size, max_steps=10, **OF_PAPER[optimizer],
    )
    return several.trained(Grassmann(), settings, towers, dtype, steps)


def check_towers(optimizer, towers):
    (alone,), report = trained(optimizer, 1, tf.float64)
    copies, report_of_towers = trained(optimizer, towers, tf.float64)
    for copy in copies:
        assert set(copy) == set(alone)
        for name, value in alone.items():
            np.testing.assert_allclose(copy[name], value, rtol=1e-10, atol=1e-12, err_msg=name)
            np.testing.assert_array_equal(copy[name], copies[0][name], err_msg=name)
    np.testing.assert_allclose(report_of_towers["loss"], report["loss"], rtol=1e-10)
    assert report_of_towers["error"] == pytest.approx(report["error"])
    assert alone["global_step"] == 3


@pytest.mark.parametrize(
    "optimizer, towers",
    [("adamg", 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("sgd", 2), ("sgdg", 2), ("adamg", 4)))],
)
def test_towers_give_the_weights_of_one_device(optimizer, towers):
    """Slots, powers, moving averages and the step too; dropout is on, and BN is over the whole batch."""
    check_towers(optimizer, towers)


@pytest.mark.slow
def test_towers_in_float32():
    """One device takes the fused kernel of batch normalization, towers their own moments: equal up to rounding."""
    (alone,), _ = trained("sgdg", 1, tf.float32)
    (first, _), _ = trained("sgdg", 2, tf.float32)
    for name, value in alone.items():
        np.testing.assert_allclose(first[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OF_PAPER)
def test_towers_of_vgg(optimizer):
    (alone,), _ = trained(optimizer, 1, tf.float64, model="vgg11", crop_size=32)
    (first, second), _ = trained(optimizer, 2, tf.float64, model="vgg11", crop_size=32)
    for name, value in alone.items():
        np.testing.assert_allclose(first[name], value, rtol=1e-9, atol=1e-11, err_msg=name)
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch of 8 cannot be split evenly over 3 devices"):
        trained("sgd", 3, tf.float32)
