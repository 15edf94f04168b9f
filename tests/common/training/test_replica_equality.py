"""1, 2 and 4 devices of one process end with the same variables, and a step that is wrong does not."""

import dataclasses
import functools
import re

import numpy as np
import pytest

from common.compat import tf
from common.graph.replicas import Replica
from tests.common.training.test_exact_resume import GRASSMANN, OPT, program_of
from tests.towers import assert_one, distance, trained

CLOSE = 1e-10  # relative to the largest number of a variable, float64. Seen: 2e-14 in ten steps.
WRONG = 1e-3  # what a wrong step differs by, at least


def small(name, **options):
    """The program and settings of a tiny run; the first layer has more filters (32) than inputs (27), all else fewer.

    S-OPT merges after 4 and 8 updates.
    """
    program, settings = program_of(name)
    widths = {"widths": (32, 8, 8, 8)} if name in OPT else {}
    return program, dataclasses.replace(settings, **widths, **options)


@functools.lru_cache(maxsize=2)
def by_one(name, steps):
    """What one device ends with, and reports."""
    return trained(*small(name), 1, steps=steps)


def check(name, counts, steps=10, **options):
    (alone,), report = by_one(name, steps)
    assert alone["global_step"] == steps
    for count in counts:
        copies, of_copies = trained(*small(name, **options), count, steps=steps)
        assert_one(copies)
        worst, where = distance(copies[0], alone)
        assert worst < CLOSE, f"{where} on {count} devices"
        for figure in report:
            assert of_copies[figure] == pytest.approx(report[figure], rel=CLOSE), figure


@pytest.mark.parametrize("name", ["opt_ogd", "adamg"])
def test_two_devices_train_as_one(name):
    """The method whose graph is the smallest, and one with dropout and with powers that all variables share."""
    check(name, [2], steps=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OPT, *GRASSMANN])
def test_two_and_four_devices_train_as_one(name):
    check(name, [2, 4])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OPT, *GRASSMANN])
def test_what_xla_compiles_trains_as_what_it_does_not(name):
    check(name, [1, 2], xla=True)


@pytest.mark.slow
def test_two_devices_train_a_vgg_as_one():
    program, settings = small("adamg", model="vgg11", crop_size=32)
    (alone,), _ = trained(program, settings, 1, steps=3)
    copies, _ = trained(program, settings, 2, steps=3)
    assert_one(copies)
    assert distance(copies[0], alone)[0] < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OPT, *GRASSMANN])
def test_two_and_four_devices_train_as_one_in_float32(name):
    """Weights and averages, to 1e-5 of the larger of 1 and a variable's largest number; at a hundredth of the rates.

    Rounding decides on which side of a ReLU's kink an activation lies, or which of four max-pooling takes. One such
    switch is a per cent of a small gradient here, with some 1e5 activations a step. So slots, which are sums of
    gradients, have no bound of rounding's size, and shifts, which start at 0, none relative to themselves. And three
    steps must do: after a switch in the fourth opt_gs's averages grew apart to 2e-3 in ten (in float64 to 2e-14).
    """
    rate = 1e-4 if name in ("opt_hr", "sopt_gs") else 5e-4
    slow = {"base_lr": rate} if name in OPT else {"learnRate": 1e-4, "learnRateG": 5e-4}
    slow |= {"rotation_lr": 2e-4} if name == "opt_ogd" else {}
    slow |= {"generator_start": "paper"} if name in ("opt_cp", "opt_gs", "opt_hr") else {}  # rotates less at a rate
    program, settings = small(name, **slow)

    def weights(copy):
        return {key: value for key, value in copy.items() if not re.search("Momentum|Sgdg|Adamg|power", key)}

    (start,), _ = trained(program, settings, 1, tf.float32, steps=0)
    (alone,), _ = trained(program, settings, 1, tf.float32, steps=3)
    moved = {key for key, value in weights(alone).items() if np.abs(value - start[key]).max() > 1e-3}
    assert len(moved) > 5, "a bound of 1e-5 tells something"
    for count in (2, 4):
        copies, _ = trained(program, settings, count, tf.float32, steps=3)
        assert_one(copies)
        worst, where = distance(weights(copies[0]), weights(alone), least_scale=1.0)
        assert worst < 1e-5, f"{where} on {count} devices"


def summed(monkeypatch):
    """The gradients' sum, where their mean belongs."""
    mean = Replica.mean_of_all
    monkeypatch.setattr(Replica, "mean_of_all", lambda self, tensors: [self.count * t for t in mean(self, tensors)])


def half_a_batch(monkeypatch):
    """Every replica takes the first part of the batch."""
    monkeypatch.setattr(Replica, "share", lambda self, batch_size: (0, batch_size // self.count))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opt_gs", "opt_ogd", "sgdg"])
def test_wrong_steps_are_told_from_right_ones(name, monkeypatch):
    program, settings = small(name)
    (alone,), _ = trained(program, settings, 1, steps=3)
    unsynced, _ = trained(program, dataclasses.replace(settings, sync_bn=False), 2, steps=3)
    assert_one(unsynced)  # statistics of their own, and yet one set of variables
    assert distance(unsynced[0], alone)[0] > WRONG
    for fault in (summed, half_a_batch):
        with monkeypatch.context() as patch:
            fault(patch)
            wrong, _ = trained(program, settings, 2, steps=3)
        assert distance(wrong[0], alone)[0] > WRONG, fault.__name__


@pytest.mark.slow
def test_sync_bn_changes_nothing_on_one_device():
    program, settings = small("opt_gs")
    values = [trained(program, dataclasses.replace(settings, sync_bn=sync), 1, steps=2)[0] for sync in (True, False)]
    assert distance(*values[0], *values[1])[0] == 0.0


@pytest.mark.slow
def test_checkpoints_go_on_with_any_number_of_devices(tmp_path):
    """Saved within an episode of S-OPT, which then ends on another number of devices."""
    program, settings = small("sopt_gs")
    (whole,), _ = trained(program, settings, 1)
    for saved_by, loaded_by in ((2, (1, 4)), (1, (2,))):
        path = str(tmp_path / f"by{saved_by}")
        copies, _ = trained(program, settings, saved_by, steps=6, save=path)
        assert set(tf.train.load_checkpoint(path).get_variable_to_shape_map()) == set(whole) == set(copies[0])
        for count in loaded_by:
            rest, _ = trained(program, settings, count, steps=4, load=path)
            assert_one(rest)
            worst, where = distance(rest[0], whole)
            assert worst < CLOSE, f"{where}: saved by {saved_by} devices, loaded by {count}"
