"""What is made of measured times, on a clock that the test turns; memory in a fresh process."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import measure


class Clock:
    """A clock that calls take their time from."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def taking(self, *seconds):
        """A call of which the first takes the first time, and so on; the last time stays."""
        left = list(seconds)

        def call():
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_a_long_call_is_a_turn_of_its_own():
    clock = Clock()
    assert measure.turn(clock.taking(0.5, 100.0), clock) == 0.5


def test_short_calls_share_a_turn_of_which_the_first_does_not_count():
    clock = Clock()
    assert measure.turn(clock.taking(0.009, 0.001, 0.002, 0.003), clock) == pytest.approx(0.002)


def test_competitors_take_turns():
    order = []
    clock = Clock()
    turns = {name: lambda name=name: order.append(name) or 1.0 for name in "abc"}
    assert measure.round_robin(turns, 2, clock=clock) == {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}
    assert "".join(order) == "abcabc"


def test_a_slow_competitor_has_fewer_turns_but_three():
    clock = Clock()
    slow, fast = clock.taking(10.0), clock.taking(0.1)
    times = measure.round_robin({"slow": lambda: slow() or 10.0, "fast": lambda: fast() or 0.1}, 8, 2.0, clock=clock)
    assert (len(times["slow"]), len(times["fast"])) == (3, 8)


def test_summary_is_median_and_quartiles():
    values = np.array([5.0, 1.0, 2.0, 4.0, 3.0])
    expected = {"x_ms": 3000.0, "x_ms_low": 2000.0, "x_ms_high": 4000.0, "x_turns": 5}
    assert measure.summary(values, "x_") == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_peak_memory_counts_what_a_call_gives_back():
    program = (
        "import numpy, benchmarks.measure as m; m.give_freed_memory_back(); numpy.ones(1 << 20); "
        "print(m.peak_memory(lambda: numpy.ones(4 << 20).sum()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 31.0 < float(done.stdout) < 36.0  # 4 Mi numbers of 8 bytes


def test_the_machine_is_described():
    assert {"processor", "cores", "tensorflow", "date", "commit"} <= set(measure.machine())
