"""Messages: what errors say, in one line, and lines above a progress bar."""

import sys

_LONGEST_LINE = 1000  # characters of an error: a flag of a million digits is not to be repeated in full


def one_line(error):
    """Returns what an error says in one line: of TensorFlow's report of many, what failed and where in the graph."""
    lines = [line.strip() for line in (getattr(error, "message", None) or str(error)).splitlines() if line.strip()]
    nodes = [index for index, line in enumerate(lines[:-1]) if line.startswith("Node: ")]
    if not nodes and lines[1:] and lines[0].startswith("Graph execution error"):  # within a function of the graph
        calls = [line.strip("[]") for line in lines[2:] if line.startswith("[[") and not line.startswith("[[{{")]
        return lines[1][:_LONGEST_LINE] + (f" (in '{calls[0]}')" if calls else "")
    if not nodes:
        return lines[0][:_LONGEST_LINE] if lines else type(error).__name__
    return f"{lines[nodes[-1] + 1]} (in {lines[nodes[-1]].removeprefix('Node: ')})"


def say(line):
    """Prints a line without breaking a progress bar."""
    from tqdm import tqdm

    try:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
    except OSError:
        pass  # a terminal or a pipe that is gone does not end a run
