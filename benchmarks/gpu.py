"""Fills the empty GPU cells of the tables, the most wanted first, in as many minutes as a GPU is lent for.

python -m benchmarks.gpu --minutes=9

Each part is a command of its own, which saves its rows; one that is there already is passed over, so that a second loan
goes on where the first has ended.
"""

import dataclasses
import os
import subprocess
import sys
import time

from benchmarks import programs, readme, records, torch_maps
from common import flags
from common.command import main as run_command

_LEAST_SECONDS = 20.0  # of a part: with less time left nothing more is begun


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of this benchmark."""

    minutes: float = flags.option(9.0, "after which the part under way is ended", above=0)
    results: str = flags.path(os.path.join("benchmarks", "results"), "folder of the results")
    device: str = flags.option("gpu", "where to measure; cpu only to try this out", ("cpu", "gpu"))


@dataclasses.dataclass(frozen=True)
class Part:
    """One command: `python -m benchmarks.NAME` with some flags, and the fields of the rows that it makes."""

    name: str
    words: tuple
    fields: tuple

    def is_in(self, rows):
        """Whether one of `rows` is of this part, and was measured."""
        return any(not row.get("note") and all(row.get(key) == value for key, value in self.fields) for row in rows)


def parts():
    """Returns the `Part`s, the most wanted first."""
    found = [_step("cnn6")]
    low = ("tf32", "bfloat16")
    found += [_step("resnet-28-10", precision, xla) for xla in (False, True) for precision in ("float32", *low)]
    found += [Part("maps", (f"--sizes={n}", "--maps=ours,torch"), (("n", n),)) for n in (576, 1024)]
    found += [_of_all_methods("bits", network) for network in ("cnn6", "resnet-16-2")]
    found += [*[_step("cnn6", precision) for precision in low], _step("cnn6", xla=True)]
    found += [_against_torch(precision) for precision in ("float32", *low)]
    networks = ("cnn6", "resnet-28-10")
    return found + [_of_all_methods("profile", network) for network in networks]


def _step(network, precision="float32", xla=False):
    words = (f"--networks={network}", f"--precision={precision}", f"--xla={xla}", "--test_images=0")
    return Part("step", words, (("network", network), ("precision", precision), ("xla", xla), ("against", None)))


def _of_all_methods(name, network):
    """A part whose rows are written as they are known; it is there when the last one is."""
    return Part(name, (f"--networks={network}",), (("network", network), ("method", [*programs.methods(network)][-1])))


def _against_torch(precision):
    """The part of CNN-6 in PyTorch, whose rows are written as they are known, too."""
    methods = list(torch_maps.methods_with_a_map())
    words = (f"--methods={','.join(methods)}", f"--precision={precision}", "--networks=cnn6", "--against=torch")
    return Part("step", words, (("method", methods[-1]), ("precision", precision), ("against", "torch")))


def missing(results, device):
    """Returns those of `parts` of which the files in the folder `results` have no row of that device."""
    known = {}
    for name in ("step", "maps", "profile", "bits"):
        path = os.path.join(results, f"{name}.json")
        rows = records.read(path)["rows"] if os.path.exists(path) else []
        known[name] = [row for row in rows if row.get("device") == device]
    return [part for part in parts() if not part.is_in(known[part.name])]


def measure(todo, settings, run=subprocess.run, clock=time.monotonic):
    """Runs parts until the minutes are over; returns those that were not, or not wholly, measured."""
    end, left = clock() + 60.0 * settings.minutes, []
    for part in todo:
        seconds = end - clock()
        name = f"{part.name} {' '.join(part.words)}"
        if seconds < _LEAST_SECONDS:
            left.append(name)
            continue
        path = os.path.join(settings.results, f"{part.name}.json")
        places = f"--device={settings.device}", f"--json={path}"
        words = [sys.executable, "-m", f"benchmarks.{part.name}", *part.words, *places]
        try:
            status = run(words, timeout=seconds, stdout=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            status = "out of time"
        print(f"{name}: {status or 'done'}, {end - clock():.0f} s left", file=sys.stderr, flush=True)
        left += [name] if status else []
    return left


def _run(words, settings):
    if words:
        raise ValueError(f"unexpected argument {words[0]!r}: flags are written --name=value")
    os.makedirs(settings.results, exist_ok=True)
    left = measure(missing(settings.results, settings.device), settings)
    print(f"not measured: {'; '.join(left) or 'nothing'}")
    return readme.main()


if __name__ == "__main__":
    run_command(Settings, _run)
