"""One process at a time trains in a run folder. The lock does not outlive its owner, not even a killed one."""

import contextlib
import itertools
import os
import pathlib
import socket
import time

from common import files

NAME = "run.lock"


class RunLock:
    """Within it the folder is this process's to train in; the folder is made if it is not there.

    Args:
      folder: of the run.
      say: called with a line if the file system offers no locks.
      new: whether the folder is to be a new one. If something of its name is there, it is called `folder`_2, _3 ...

    Attributes:
      folder: of the run, with the name that it has.

    Raises ValueError, naming the holder, if another process trains there, and if the folder cannot be written to.
    Where there are no locks, the file run.lock itself stands for one: it is the holder's for as long as it is there,
    unless its process was on this machine and has ended. A folder that was made here and in which nothing has been
    written goes away with the lock.
    """

    def __init__(self, folder, say, new=False):
        self.folder, self._say, self._new, self._made = folder, say, new, []
        self._descriptor = None

    @property
    def _path(self):
        return os.path.join(self.folder, NAME)

    def __enter__(self):
        try:
            if self._new:
                self._made = _make_new(self.folder)
                self.folder = self._made[0]
            self._acquire()
        except OSError as error:
            self._remove_made()
            raise unwritable(self.folder, error) from None
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
        self._made = _make(self.folder) or self._made
        while not self._is_ours():  # a file that its last owner has just removed is opened anew
            self._close()
            self._descriptor, found = _open(self._path)
            locked = files.try_lock(self._descriptor)
            holder = _who(self._descriptor)
            if locked is False or locked is None and found and _lives(holder):
                self._close()
                hint = "" if locked is False else f", or remove {self._path} if that process has ended"
                raise ValueError(
                    f"{self.folder} is being trained in by {holder}; wait for its end, or choose another "
                    f"--train_path{hint}"
                )
        if locked is None:
            self._say(f"{self.folder}: this file system has no locks; see to it that no other process trains there")
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


def unwritable(folder, error):
    """Returns the ValueError for a run folder that an OSError keeps from being written to."""
    wanted = "choose another --train_dir or --train_path"
    return ValueError(f"cannot write to the run folder {folder}: {error.strerror}; {wanted}")


def holder(folder):
    """Returns who trains in a folder at present, in words, or None."""
    try:
        descriptor = os.open(os.path.join(folder, NAME), os.O_RDWR)
    except OSError:
        return None
    try:
        locked, name = files.try_lock(descriptor), _who(descriptor)
        return name if locked is False or locked is None and _lives(name) else None
    finally:
        os.close(descriptor)


def _open(path):
    """Returns (descriptor, whether the file was there) of a file that is made if need be."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), False
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644), True


def _who(descriptor):
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"


def _lives(holder):
    """Returns whether the process that a lock names may still run: one of another machine may."""
    words = holder.split()
    if words[:1] != ["process"] or words[2:4] != ["on", socket.gethostname()] or os.name != "posix":
        return True
    try:
        os.kill(int(words[1]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        pass
    return int(words[1]) != os.getpid()  # a process of the same number after a reboot


def _make(folder):
    """Makes a folder and those above it; returns what was made, the innermost first."""
    path = pathlib.Path(os.path.abspath(folder))
    missing = [above for above in (path, *path.parents) if not os.path.exists(above)]
    os.makedirs(folder, exist_ok=True)
    return missing


def _make_new(folder):
    """Makes a folder that was not there, called `folder` or `folder`_2, _3 ...; returns it and what else was made."""
    made = _make(os.path.dirname(folder) or ".")
    for number in itertools.count(1):
        name = folder if number == 1 else f"{folder}_{number}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(name)
            return [name, *made]
