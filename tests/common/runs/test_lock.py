"""One process at a time trains in a folder."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from common import locks
from common.runs.lock import NAME, RunLock, holder

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOLDER = """
import sys, time
from common.runs.lock import RunLock
with RunLock(sys.argv[1], print):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_goes(tmp_path):
    process = hold(tmp_path / "run")
    try:
        with pytest.raises(ValueError, match=rf"is being trained in by process {process.pid} on \S+ since ") as error:
            RunLock(str(tmp_path / "run"), print).__enter__()
        assert "\n" not in str(error.value)
        assert f"process {process.pid} on " in holder(str(tmp_path / "run"))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holder(str(tmp_path / "run")) is None
    with RunLock(str(tmp_path / "run"), print):
        assert holder(str(tmp_path / "run")).startswith(f"process {os.getpid()} on ")


def test_an_unused_folder_that_was_made_for_it_goes_away(tmp_path):
    with RunLock(str(tmp_path / "logs" / "run"), print):
        assert (tmp_path / "logs" / "run" / NAME).exists()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with RunLock(str(tmp_path / "mine"), print):
        pass
    assert list((tmp_path / "mine").iterdir()) == []
    with RunLock(str(tmp_path / "used"), print):
        (tmp_path / "used" / "log.txt").write_text("x")
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["log.txt"]


def test_a_folder_that_was_removed_is_made_and_locked_again_but_not_another_process_s(tmp_path):
    folder = tmp_path / "run"
    with RunLock(str(folder), print) as lock:
        lock.renew()
        (folder / NAME).unlink()
        folder.rmdir()
        lock.renew()
        assert holder(str(folder))
        (folder / NAME).unlink()
        process = hold(folder)
        try:
            with pytest.raises(ValueError, match=f"process {process.pid} "):
                lock.renew()
        finally:
            process.kill()
            process.wait()


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "try_lock", lambda descriptor: None)
    said = []
    with RunLock(str(tmp_path), said.append):
        assert len(said) == 1 and "has no locks" in said[0]


def test_no_locks_is_what_an_error_of_the_file_system_means(tmp_path, monkeypatch):
    class Fcntl:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(descriptor, operation):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "fcntl", Fcntl)
    assert locks.try_lock(0) is None
    monkeypatch.setattr(locks, "fcntl", None)
    assert locks.try_lock(0) is None


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("/proc/none/run", str(tmp_path / "file"), str(tmp_path / "file" / "run")):
        with pytest.raises(ValueError, match="cannot write to the run folder .*; choose another") as error:
            RunLock(path, print).__enter__()
        assert "\n" not in str(error.value)
