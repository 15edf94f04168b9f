"""A long run of a small network through the real loop: memory, file handles and threads stay flat."""

import os
import statistics
import sys

import pytest

from common.cli.program import run
from common.training.callbacks import Callback
from opt_gs.train import method

STEPS, SAMPLES = 2000, 20
# Growth over the second half of the run that still counts as flat. What an allocator keeps wanders by a few MiB.
TOLERANCES = {"memory_mib": 8.0, "handles": 0.5, "threads": 0.5}


class Watch(Callback):
    """Looks at its own process now and then: (step, what it holds)."""

    samples = ()

    def after_step(self, step, values):
        if (step + 1) % (STEPS // SAMPLES) == 0:
            self.samples = (*self.samples, (step + 1, process()))


def process():
    """Resident memory in MiB, open file handles and threads of this process, as Linux counts them."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    handles, threads = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
    return {"memory_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20, "handles": handles, "threads": threads}


def growth(samples, name):
    """By how much a line through the samples of the second half rises, by least squares."""
    half = [(step, values[name]) for step, values in samples if 2 * step >= samples[-1][0]]
    return statistics.linear_regression(*zip(*half)).slope * (half[-1][0] - half[0][0])


def test_growth_is_the_rise_of_the_line_over_the_second_half():
    samples = [(step, {"x": min(step, 100) + (step - 100) / 50}) for step in range(10, 201, 10)]
    assert growth(samples, "x") == pytest.approx(2.0)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a process is looked at through /proc")
def test_a_long_run_stays_flat(tmp_path, monkeypatch):
    watch, program = Watch(), method()
    own = program.callbacks
    monkeypatch.setattr(program, "callbacks", lambda *arguments: [*own(*arguments), watch])
    settings = program.settings_class(
        data="synthetic", device="cpu", widths=(4, 4, 4, 4), batch_size=8, max_steps=STEPS, base_lr=0.01,
        vali_batch_size=256, report_freq=STEPS // 400, vali_freq=STEPS // 40, save_freq=STEPS // 40,
        train_path=str(tmp_path / "run"),
    )  # fmt: skip
    assert run(program, settings) == 0
    assert len(watch.samples) == SAMPLES
    grown = {name: growth(watch.samples, name) for name in TOLERANCES}
    assert all(grown[name] <= TOLERANCES[name] for name in TOLERANCES), grown
