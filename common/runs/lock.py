"""One process at a time trains in a run folder. The lock does not outlive its owner, not even a killed one."""

import os
import socket
import time

from common import files, locks

NAME = "run.lock"


class RunLock:
    """Within it the folder is this process's to train in; the folder is made if it is not there.

    Args:
      folder: of the run.
      say: called with a line if the file system offers no locks.

    Raises ValueError, naming the holder, if another process trains there, and if the folder cannot be written to.
    A folder that was made for this and in which nothing has been written goes away with the lock.
    """

    def __init__(self, folder, say):
        self._folder, self._say, self._made = folder, say, []
        self._path = os.path.join(folder, NAME)
        self._descriptor = None

    def __enter__(self):
        try:
            self._acquire()
        except OSError as error:
            self._remove_made()
            raise ValueError(
                f"cannot write to the run folder {self._folder}: {error.strerror}; choose another --train_dir or "
                "--train_path"
            ) from None
        return self

    def __exit__(self, *exception):
        if self._is_ours():
            files.remove(self._path)
        self._close()
        self._remove_made()

    def renew(self):
        """Makes the folder and takes the lock again if they were removed; OSError or ValueError if that fails."""
        if not self._is_ours():
            self._close()
            self._acquire()

    def _acquire(self):
        self._made = _missing(self._folder)
        os.makedirs(self._folder, exist_ok=True)
        while True:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            free = locks.try_lock(self._descriptor)
            if free is False:
                who = _who(self._descriptor)
                self._close()
                raise ValueError(
                    f"{self._folder} is being trained in by {who}; wait for its end, or choose another --train_path"
                )
            if self._is_ours():  # and not a file that its last owner has just removed
                break
            self._close()
        if free is None:
            self._say(f"{self._folder}: this file system has no locks; see to it that no other process trains there")
        os.ftruncate(self._descriptor, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)

    def _is_ours(self):
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except OSError:
            return False

    def _close(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _remove_made(self):
        for folder in self._made:
            try:
                os.rmdir(folder)
            except OSError:
                return  # something is in it


def holder(folder):
    """Returns who trains in a folder at present, in words, or None."""
    try:
        descriptor = os.open(os.path.join(folder, NAME), os.O_RDWR)
    except OSError:
        return None
    try:
        return _who(descriptor) if locks.try_lock(descriptor) is False else None
    finally:
        os.close(descriptor)


def _who(descriptor):
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"


def _missing(folder):
    """Returns the folders that os.makedirs would make, the innermost first."""
    missing, folder = [], os.path.abspath(folder)
    while not os.path.exists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing
