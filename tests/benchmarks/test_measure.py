"""What is made of measured times, on a clock that the test turns; memory in a fresh process."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import measure
from common.compat import tf

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    assert measure.sample(clock.taking(0.5, 100.0), clock) == 0.5


def test_short_calls_share_a_turn_of_which_the_first_does_not_count():
    clock = Clock()
    assert measure.sample(clock.taking(0.009, 0.001, 0.002, 0.003), clock) == pytest.approx(0.002)


def test_competitors_take_samples():
    order = []
    clock = Clock()
    samples = {name: lambda name=name: order.append(name) or 1.0 for name in "abc"}
    assert measure.round_robin(samples, 2, clock=clock) == {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}
    assert "".join(order) == "abcabc"


def test_a_slow_competitor_has_fewer_samples_but_three():
    clock = Clock()
    slow, fast = clock.taking(10.0), clock.taking(0.1)
    times = measure.round_robin({"slow": lambda: slow() or 10.0, "fast": lambda: fast() or 0.1}, 8, 2.0, clock=clock)
    assert (len(times["slow"]), len(times["fast"])) == (3, 8)


def test_summary_is_median_and_quartiles():
    values = np.array([5.0, 1.0, 2.0, 4.0, 3.0])
    expected = {"x_ms": 3000.0, "x_ms_low": 2000.0, "x_ms_high": 4000.0, "x_samples": 5}
    assert measure.summary(values, "x_") == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_of_a_process_is_its_peak():
    program = (
        "import numpy, benchmarks.measure as m; before = m.process_memory(); "
        "numpy.ones(8 << 20).sum(); print(m.process_memory() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 50.0 < float(done.stdout) < 80.0  # 8 Mi numbers of 8 bytes, given back before the second look


def test_tensor_memory_is_that_of_what_is_alive_at_once():
    mib = 1 << 17  # numbers of 8 bytes
    variable = tf.get_variable("v", [4 * mib], tf.float64)
    seed = [0, tf.cast(variable[0], tf.int32)]
    large = tf.random.stateless_uniform([8 * mib], seed, dtype=tf.float64)
    first = tf.reduce_sum(tf.cumsum(large))  # `large` and its sums at once
    with tf.control_dependencies([first]):
        second = tf.reduce_sum(tf.random.stateless_uniform([10 * mib], seed, dtype=tf.float64))
    assert measure.variable_memory(tf.get_default_graph()) == 4.0
    with tf.Session() as session:
        session.run(variable.initializer)
        record = measure.traced(session, [first, second])
    assert measure.tensor_memory(record) == pytest.approx(8 + 8, abs=0.1)


def test_the_machine_is_described():
    assert {"processor", "cores", "tensorflow", "date", "commit"} <= set(measure.machine())
