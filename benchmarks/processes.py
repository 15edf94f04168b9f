"""Processes to measure in: one for each library, so that their threads do not meet, and fresh ones for memory.

They are forked, from a parent that has imported TensorFlow but opened no session (and asked for no GPU): what a library
does not do before its first session or operation, starting threads and drivers, each of them does for itself.
"""

import multiprocessing
import os
import traceback

from common.distributed.processes import end_with

_FORK = multiprocessing.get_context("fork")


class Failed(RuntimeError):
    """What was asked of another process went wrong there; one line."""


class Worker:
    """A process that keeps what it opened and is driven from here: `worker(function, *arguments)` runs there.

    Args:
      prepare: what it does first, for example importing a library; its errors are raised here.
    """

    def __init__(self, prepare=None):
        self._pipe, far_end = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(far_end, os.getpid()), daemon=False)
        self._process.start()
        far_end.close()
        self.process_id = self._process.pid
        if prepare:
            self(prepare)

    def __call__(self, function, *arguments):
        """Runs a function in the process and returns its value; raises `Failed`, or the ValueError that it raised."""
        try:
            self._pipe.send((function, arguments))
            good, value = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            name = getattr(function, "__name__", "function")
            raise Failed(f"{name}: the process ended with status {self._process.exitcode}: memory may not suffice")
        if not good:
            raise value
        return value

    def close(self):
        """Ends the process."""
        try:
            self._pipe.send(None)
        except (BrokenPipeError, OSError):
            pass
        self._process.join()
        self._pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def apart(function, *arguments):
    """Runs a function in a fresh process and returns its value."""
    with Worker() as worker:
        return worker(function, *arguments)


def noted(function, *arguments):
    """Returns what a function finds, a dict; or {"note": one line} if what it asked of another process went wrong."""
    try:
        return function(*arguments)
    except Failed as error:
        return {"note": str(error)}


def _serve(pipe, parent):
    end_with(parent)
    while (request := pipe.recv()) is not None:
        function, arguments = request
        try:
            pipe.send((True, function(*arguments)))
        except ValueError as error:
            pipe.send((False, ValueError(str(error))))
        except Exception as error:  # whatever it is belongs into the parent's one line
            lines = str(error).strip().splitlines() or [""]
            frame = traceback.extract_tb(error.__traceback__)[-1]
            pipe.send((False, Failed(f"{type(error).__name__}: {lines[0]} ({frame.filename}:{frame.lineno})")))
