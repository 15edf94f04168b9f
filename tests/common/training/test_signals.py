"""The first signal ends a program in good order, the second at once."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from common.training.signals import SIGNALS, Interrupted, Interruption

ROOT = pathlib.Path(__file__).resolve().parents[3]


def send(number):
    os.kill(os.getpid(), number)
    for _ in range(1000):  # a signal that a process sends itself is there at once, but Python looks between bytecodes
        time.sleep(0)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exception_unless_it_is_deferred(number):
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption() as interruption:
        assert not interruption.stopping()
        with pytest.raises(Interrupted, match=number.name) as caught:
            send(number)
        assert caught.value.signal == number and interruption.stopping()
    with Interruption() as interruption:
        with interruption.deferred():
            send(number)
        assert interruption.signal == number
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


PROGRAM = """
    import ctypes
    from common.training.signals import Interruption

    with Interruption() as interruption, interruption.deferred():
        print("ready", flush=True)
        while ctypes.CDLL(None).sleep(60):  # what is left of it, after a signal
            pass
"""


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_ends_the_process_within_an_operation(numbers):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(numbers[0])
    assert process.stderr.readline() == "\n"
    assert process.stderr.readline().startswith("stopping after this step, with a checkpoint")
    process.send_signal(numbers[1])
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + numbers[1] and err == "\nstopped at once\n"
