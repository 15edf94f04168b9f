"""Worker processes, in a program of their own: a process that runs TensorFlow should not be forked."""

import os
import pathlib
import subprocess
import sys
import textwrap
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import os
from benchmarks.processes import Failed, Worker, apart

kept = []

def keep(value):
    kept.append(value)
    return list(kept)

def refuse(value):
    raise ValueError(f"{value} is wrong")

def break_down():
    raise KeyError("first line\\nsecond line")

def attempt(*call):
    try:
        return call[0](*call[1:])
    except (Failed, ValueError) as error:
        return f"{type(error).__name__}: {error}"

with Worker() as one, Worker() as other:
    print(one(keep, 1), one(keep, 2), other(keep, 3), kept)
    print(attempt(one, refuse, 4))
    print(attempt(one, break_down).split(" (")[0])
    print(one(apart, keep, 5), one(keep, 6))
print(attempt(apart, os._exit, 7))
"""


def test_workers_keep_what_they_did_and_report_in_one_line():
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "[1] [1, 2] [3] []",
        "ValueError: 4 is wrong",
        "Failed: KeyError: 'first line\\nsecond line'",
        "[1, 2, 5] [1, 2, 6]",
        "Failed: _exit: the process ended with status 7: memory may not suffice",
    ]
    assert done.stderr == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's promise is Linux's")
def test_none_outlives_a_parent_that_is_killed():
    script = (
        "import os, signal; from benchmarks.processes import Worker; worker = Worker(); "
        "print(worker(os.getpid), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    number = int(done.stdout)
    end = time.monotonic() + 10
    while os.path.exists(f"/proc/{number}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{number}")
