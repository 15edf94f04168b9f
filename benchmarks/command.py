"""The command line of a benchmark: flags from a settings class, the tables, the file of results."""

import dataclasses
import functools
import os
import shlex
import sys
from collections.abc import Callable

from benchmarks import measure, records
from benchmarks.processes import Failed, apart
from common import flags
from common.cli import devices
from common.command import main as run_command


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags that all benchmarks share."""

    json: str | None = flags.path(None, "file for the results; rows that it holds already stay or are replaced")
    repeats: int = flags.option(15, "samples of each competitor", minimum=1)
    seconds: float = flags.option(3.0, "a competitor whose samples took so long has no more, after three", above=0)
    device: str = flags.option("cpu", "where to measure", ("cpu", "gpu"))
    seed: int = flags.option(0, "random matrices, images and weights follow from it", minimum=0)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What a command runs and shows.

    Attributes:
      name: of the benchmark, as in `python -m benchmarks.NAME`.
      settings_class: its flags.
      key: the fields that tell its rows apart.
      measure: `measure(settings) -> iterator of rows`.
      title: `title(row) -> what the rows of one table share`.
      cells: `cells(row) -> {column: text}`.
    """

    name: str
    settings_class: type
    key: tuple
    measure: Callable
    title: Callable
    cells: Callable

    def tables(self, rows):
        """Returns rows as Markdown tables."""
        return records.tables(rows, self.title, self.cells)


def main(benchmark):
    """Runs a benchmark with the flags of the command line and ends the process."""
    run_command(benchmark.settings_class, functools.partial(_run, benchmark))


def _run(benchmark, words, settings):
    """Measures, writes each row to --json as it is known, and prints the tables; returns the exit status."""
    if words:
        raise ValueError(f"unexpected argument {words[0]!r}: flags are written --name=value")
    _check_file(benchmark, settings.json)
    try:
        # In a process of its own: asking starts the GPU's driver.
        device = apart(_description, settings.device)
        command = shlex.join(["python", "-m", f"benchmarks.{benchmark.name}", *sys.argv[1:]])
        results = records.new(benchmark.name, {"command": command, "device": device, **measure.machine()})
        for row in benchmark.measure(settings):
            results["rows"].append({**row, "device": settings.device, "run": 0})
            if settings.json:
                records.write(settings.json, results, benchmark.key)
    except Failed as error:
        raise ValueError(str(error)) from None
    if not results["rows"]:
        raise ValueError("nothing was measured: the flags leave no competitor")
    print(benchmark.tables(results["rows"]))
    print(records.footnotes(results), end="")
    return 0


def _description(device):
    return devices.choose(device).description


def _check_file(benchmark, path):
    """Raises ValueError now rather than after minutes of measuring."""
    if path and not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(f"--json={path}: there is no folder {os.path.dirname(path)}; make it first")
    if path and os.path.exists(path):
        records.merged(records.read(path), records.new(benchmark.name, {}), benchmark.key)


def chosen(flag, text, names):
    """Returns those of `names`, {name: group}, that a comma list of names and groups or "all" asks for, in their order.

    Raises ValueError, which names `flag`, for a word that is neither.
    """
    words = [word for word in text.split(",") if word]
    known = list(dict.fromkeys(["all", *names.values(), *names]))
    for word in words:
        if word not in known:
            raise ValueError(f"--{flag}: {word!r} is unknown, expected some of {', '.join(known)}")
    return [name for name, group in names.items() if {"all", name, group} & set(words)]
