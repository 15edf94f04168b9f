"""The command line of a benchmark: flags from a settings class, one line for every error, the table, JSON and PNG."""

import dataclasses
import os
import shlex
import sys

from absl import flags as absl_flags

from benchmarks import measure, report
from benchmarks.processes import Failed, apart
from common import flags
from common.cli import devices
from common.command import run_with_flags
from common.console import one_line

absl_flags.disclaim_key_flags()


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags that all benchmarks share."""

    json: str | None = flags.option(None, "file for the figures; rows that it holds already stay or are replaced")
    png: str | None = flags.option(None, "file for a plot of all figures in --json, or of this run's without it")
    repeats: int = flags.option(15, "turns of each competitor", minimum=1)
    seconds: float = flags.option(3.0, "a competitor whose turns took so long has no more, after three", above=0)
    device: str = flags.option("cpu", "where to measure; gpu adds a column to what --json holds", ("cpu", "gpu"))
    seed: int = flags.option(0, "random matrices, images and weights follow from it", minimum=0)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What a command runs and shows.

    Attributes:
      name: of the benchmark, as in `python -m benchmarks.NAME`.
      settings_class: its flags.
      key: the fields that tell its rows apart.
      measure: `measure(settings) -> iterator of rows`.
      tables: `tables(rows) -> Markdown`.
      plot: `plot(rows, path)`.
      gpu_columns: whether its tables have columns for a GPU.
    """

    name: str
    settings_class: type
    key: tuple
    measure: object
    tables: object
    plot: object
    gpu_columns: bool = True


def main(benchmark):
    """Runs a benchmark with the flags of the command line and ends the process."""
    flags.define(benchmark.settings_class)
    run_with_flags(lambda arguments: _run(benchmark, arguments))


def _run(benchmark, arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected argument {arguments[1]!r}: flags are written --name=value")
        run(benchmark, flags.read(benchmark.settings_class))
    except (ValueError, OSError, Failed) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the rows measured so far are in --json", file=sys.stderr)
        return 130
    return 0


def run(benchmark, settings):
    """Measures, writes each row to --json as it is known, and prints the tables; returns the results."""
    _check_files(benchmark, settings)
    words = shlex.join(["python", "-m", f"benchmarks.{benchmark.name}", *sys.argv[1:]])
    device = apart(_describe, settings.device)  # in a process of its own: asking starts the GPU's driver
    results = report.new(benchmark.name, {"command": words, "device": device, **measure.machine()})
    everything = results
    for row in benchmark.measure(settings):
        results["rows"].append({**row, "device": settings.device, "run": 0})
        if settings.json:
            everything = report.write(settings.json, results, benchmark.key)
    if not results["rows"]:
        raise ValueError("nothing was measured: the flags leave no competitor")
    print(benchmark.tables(results["rows"]))
    print(report.footnotes(results, benchmark.gpu_columns))
    if settings.png:
        benchmark.plot(everything["rows"], settings.png)
    return results


def _describe(device):
    return devices.choose(device).description


def _check_files(benchmark, settings):
    """Raises ValueError now rather than after minutes of measuring."""
    for name in ("json", "png"):
        path = getattr(settings, name)
        if path and not os.path.isdir(os.path.dirname(path) or "."):
            raise ValueError(f"--{name}={path}: there is no folder {os.path.dirname(path)}; make it first")
    if settings.json and os.path.exists(settings.json):
        report.merged(report.read(settings.json), report.new(benchmark.name, {}), benchmark.key)
    if settings.png:
        report.figure()


def chosen(flag, text, names):
    """Returns those of `names` that a comma list asks for, in their own order.

    Args:
      flag: the flag's name, for the message.
      text: the list: names, names of groups, or "all".
      names: {name: group}.

    Raises ValueError for a word that is neither.
    """
    words = [word for word in text.split(",") if word]
    for word in words:
        if word != "all" and word not in names and word not in names.values():
            known = ", ".join(["all", *dict.fromkeys(names.values()), *(n for n in names if n not in names.values())])
            raise ValueError(f"--{flag}: {word!r} is unknown, expected some of {known}")
    return [name for name, group in names.items() if "all" in words or name in words or group in words]
