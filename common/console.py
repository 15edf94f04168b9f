"""Messages: what errors say, in one line; lines above a progress bar; streams that are closed, full or ASCII."""

import os
import sys

_LONGEST_LINE = 1000  # characters of an error: a flag of a million digits is not to be repeated in full


def one_line(error):
    """Returns what an error says in one line: of TensorFlow's report of many, what failed and where in the graph."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"[:_LONGEST_LINE]
    lines = [line.strip() for line in (getattr(error, "message", None) or str(error)).splitlines() if line.strip()]
    nodes = [index for index, line in enumerate(lines[:-1]) if line.startswith("Node: ")]
    if not nodes and lines[1:] and lines[0].startswith("Graph execution error"):  # within a function of the graph
        calls = [line.strip("[]") for line in lines[2:] if line.startswith("[[") and not line.startswith("[[{{")]
        return _failed(lines[1])[:_LONGEST_LINE] + (f" (in '{calls[0]}')" if calls else "")
    if not nodes:
        return lines[0][:_LONGEST_LINE] if lines else type(error).__name__
    return f"{_failed(lines[nodes[-1] + 1])} (in {lines[nodes[-1]].removeprefix('Node: ')})"


def _failed(line):
    """What a check in the graph says, without what TensorFlow puts around it."""
    text = line.removeprefix("assertion failed: [")
    return text if text == line else text.removesuffix("]")


_lost = []  # errors of lines that could not be written


def say(line):
    """Prints a line without breaking a progress bar; a terminal, pipe or disk that fails does not end a run."""
    from tqdm import tqdm

    try:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        _lost[:] = [error]


def complain(line):
    """Prints a line on standard error."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass


def prepare():
    """Makes the standard streams take everything: closed ones lose it, others escape what they cannot encode."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # takes the lowest free descriptor: no file of a run is to get number 1
            setattr(sys, name, open(os.devnull, "r+"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def finish(status, needed=False):
    """Writes out what was printed; returns the exit status.

    Args:
      status: what it is if all could be written, or if nobody needs it.
      needed: whether the output is what the program was called for; a reader who has gone (`| head`) had enough.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes out once more when it ends
        _lost[:] = [error]
    if needed and _lost and not isinstance(_lost[0], BrokenPipeError):
        complain(f"error: the output could not be written: {_lost[0].strerror}")
        return status or 1
    return status
