"""Two runs of one seed, and one that was stopped, are compared variable by variable."""

import numpy as np
import pytest

from benchmarks import bits


class Counting:
    """A training whose variables count updates; `noise`, added to one, grows by the job's number with each training."""

    noise = 0

    def __init__(self, job):
        self.kept = {"weight": np.zeros(3), "step": np.zeros([])}
        Counting.noise += job

    def step(self):
        self.kept = {"weight": self.kept["weight"] + 1 + self.noise, "step": self.kept["step"] + 1}

    def assign(self, values):
        self.kept = values

    def values(self):
        return self.kept

    def check(self):
        pass

    close = check


@pytest.mark.parametrize("noise, different", [(0, 0), (1, 1)])
def test_variables_that_differ_are_counted(monkeypatch, noise, different):
    monkeypatch.setattr(bits.programs, "Training", Counting)
    devices = type("Devices", (), {"be_deterministic": lambda self: None})()
    monkeypatch.setattr(bits.devices, "choose", lambda device: devices)
    monkeypatch.setattr(Counting, "noise", 0)

    class Job(int):
        device = "cpu"

    found = bits.of_job(Job(noise), 5)
    assert found == {"variables": 2, "again": different, "resumed": different}
