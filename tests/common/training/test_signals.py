"""The first signal ends a program in good order, the second at once."""

import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from common.distributed.processes import SIGNALS
from common.training.signals import Interrupted, Interruption

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exception_unless_it_is_deferred(number):
    handlers = lambda: [signal.getsignal(number) for number in SIGNALS]  # noqa: E731
    previous = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored
    try:
        before = handlers()
        with Interruption() as interruption:
            assert not interruption.stopping()
            with pytest.raises(Interrupted, match=number.name) as caught:
                signal.raise_signal(number)
            assert caught.value.signal == number and interruption.stopping()
            assert signal.getsignal(number) is signal.SIG_DFL
        with Interruption() as interruption:
            with interruption.deferred():
                signal.raise_signal(number)
            assert interruption.signal == number
        assert handlers() == before
    finally:
        signal.signal(number, previous)


def test_what_nohup_ignores_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert not interruption.stopping()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


PROGRAM = """
    import sys, time
    from common.training.signals import Interruption

    with Interruption() as interruption, interruption.deferred():
        print("ready", flush=True)
        while True:
            time.sleep(1)
"""


@pytest.fixture
def process():
    words = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("first, second", [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"), ("SIGUSR1", "SIGINT")])
def test_a_second_signal_has_its_default_action(first, second, process):
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[first])
    assert process.stderr.readline() == "\n"
    assert process.stderr.readline().startswith("stopping after this step, with a checkpoint")
    process.send_signal(signal.Signals[second])
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.Signals[second] and err == ""
