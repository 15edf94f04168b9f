"""One process at a time trains in a folder."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from common import files
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
    monkeypatch.setattr(files, "try_lock", lambda descriptor: None)
    said = []
    with RunLock(str(tmp_path), said.append):
        assert len(said) == 1 and "has no locks" in said[0]


def test_without_locks_the_file_stands_for_one_until_its_process_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "try_lock", lambda descriptor: None)
    path, host = tmp_path / NAME, socket.gethostname()
    ended = subprocess.Popen(["true"])
    ended.wait()
    for holder_of, name in ((os.getppid(), host), (ended.pid, "elsewhere")):
        path.write_text(f"process {holder_of} on {name} since 2026-01-01 00:00:00\n")
        with pytest.raises(ValueError, match=f"trained in by process {holder_of} .*or remove {path} if") as error:
            RunLock(str(tmp_path), print).__enter__()
        assert "\n" not in str(error.value) and holder(str(tmp_path)).startswith(f"process {holder_of} ")
    path.write_text(f"process {ended.pid} on {host} since 2026-01-01 00:00:00\n")
    assert holder(str(tmp_path)) is None
    with RunLock(str(tmp_path), lambda line: None):
        assert f"process {os.getpid()} on " in path.read_text()
    assert not path.exists()


@pytest.mark.parametrize("locks", [True, False])
def test_a_new_folder_is_never_one_that_is_there(locks, tmp_path, monkeypatch):
    """The same second, whether two runs start in it or the clock shows it again after a run has ended."""
    if not locks:
        monkeypatch.setattr(files, "try_lock", lambda descriptor: None)
    name = str(tmp_path / "logs" / "opt_gs_2026-01-01_00-00-00")
    silent = lambda line: None  # noqa: E731
    with RunLock(name, silent, new=True) as first, RunLock(name, silent, new=True) as second:
        assert (first.folder, second.folder) == (name, f"{name}_2")
        (tmp_path / "logs" / "opt_gs_2026-01-01_00-00-00" / "log.txt").write_text("a finished run")
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["opt_gs_2026-01-01_00-00-00"]
    with RunLock(name, silent, new=True) as third:
        assert third.folder == f"{name}_2" and holder(name) is None


def test_no_locks_is_what_an_error_of_the_file_system_means(tmp_path, monkeypatch):
    class Fcntl:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(descriptor, operation):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files, "fcntl", Fcntl)
    assert files.try_lock(0) is None
    monkeypatch.setattr(files, "fcntl", None)
    assert files.try_lock(0) is None


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("/proc/none/run", str(tmp_path / "file"), str(tmp_path / "file" / "run")):
        with pytest.raises(ValueError, match="cannot write to the run folder .*; choose another") as error:
            RunLock(path, print).__enter__()
        assert "\n" not in str(error.value)
