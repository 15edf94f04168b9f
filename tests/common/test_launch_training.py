"""The launcher with real training: workers that are killed, and runs that end as if nothing had happened."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import pytest

from tests import runs
from tests.common.distributed.workers import started

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 40
FLAGS = [
    "--data=synthetic", "--widths=4,4,4,4", "--batch_size=8", f"--max_steps={STEPS}", "--save_freq=5", "--base_lr=0.01",
    "--report_freq=1", f"--vali_freq={STEPS}", "--device=cpu",
]  # fmt: skip
LIMIT = 900.0


def test_two_workers_train(tmp_path):
    """The one test of the fast ones that starts processes which train."""
    run = tmp_path / "run"
    flags = [*FLAGS, "--rotation=none", "--max_steps=2", "--vali_freq=2", f"--train_path={run}"]
    command = [sys.executable, "-m", "common.launch", "--workers=2", "--", sys.executable, "opt_gs/train.py", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("[1]")][-1].endswith("reports and saves")
    assert "2 workers, 2 replicas: 127.0.0.1:" in (run / "log.txt").read_text()
    assert runs.contents(run)["global_step"] == 2


def launch(folder, victim=None, *flags, number=signal.SIGKILL):
    """Two workers of opt_gs; `victim` gets a signal once step 12 is reported. Returns (status, standard error)."""
    words = ["--workers=2", "--max_restarts=2", "--grace=5", "--", sys.executable, "opt_gs/train.py", *FLAGS, *flags]
    command = [sys.executable, "-m", "common.launch", *words, f"--train_path={folder}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = started(command, cwd=ROOT, text=True, **pipes)
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr))
    reader.start()
    try:
        hit = victim is None
        for line in process.stdout:
            if not hit and re.match(r"\[0\] step (1[2-9]|2\d),", line):
                os.kill(worker_of(process.pid, victim), number)
                hit = True
        status = process.wait(timeout=LIMIT)
    finally:
        process.kill()  # its workers end with it
        reader.join()
    assert hit
    return status, "".join(errors)


def worker_of(launcher, index):
    """The process number of a worker, by its environment."""
    for number in pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        environment = pathlib.Path(f"/proc/{number}/environ").read_bytes().decode()
        if f'"index": {index}}}' in environment:
            return int(number)
    raise AssertionError(f"worker {index} is not there")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    status, errors = launch(folder)
    assert status == 0 and "RESTART" not in errors, errors
    return runs.contents(folder)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0], ids=["worker", "leader"])
def test_a_run_whose_worker_is_killed_ends_as_if_nothing_had_happened(undisturbed, victim, tmp_path):
    status, errors = launch(tmp_path / "run", victim)
    assert status == 0, errors
    assert f"worker {victim} ended with SIGKILL" in errors
    assert "RESTART 1 OF 2" in errors and "RESTART 2" not in errors
    runs.assert_equal(runs.contents(tmp_path / "run"), undisturbed)  # two terms of a sum have one order


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0], ids=["worker", "leader"])
def test_so_does_one_whose_worker_is_stopped_for_longer_than_the_timeout(undisturbed, victim, tmp_path):
    """The other ends by the timeout; the one that is stopped cannot, and is killed."""
    status, errors = launch(tmp_path / "run", victim, "--collective_timeout=20", number=signal.SIGSTOP)
    assert status == 0, errors
    other = 1 - victim
    assert f"worker {other} ended with status 1" in errors
    assert "RESTART 1 OF 2" in errors and "RESTART 2" not in errors
    assert re.search(rf"\[{other}\] error: worker {victim} \(.*\) does not answer: it is stopped, or hangs", errors)
    runs.assert_equal(runs.contents(tmp_path / "run"), undisturbed)  # two terms of a sum have one order
