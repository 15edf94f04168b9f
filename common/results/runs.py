"""What run folders hold: whose runs they are, how far they got, their figures. Files only: no TensorFlow."""

import dataclasses
import json
import math
import os
import re

from common.files import FLAGS, LOG, METRICS, START
from common.nn.titles import title

_LENGTH = re.compile(r"^network .*, (\d+) updates$", re.MULTILINE)  # of the log's head; the last one counts
_OPTIMIZERS = {"sgd": "SGD", "sgdg": "SGD-G", "adamg": "Adam-G"}
UNKNOWN = "?"
_LAST_STEP = 2**31


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run folder says.

    Attributes:
      path: of the folder.
      method: the first line of flags.txt without its mark; "?" if there is none.
      flags: {name: text} of flags.txt; what has no value is not there.
      records: {(step, split): figures}, the lines of metrics.jsonl in the order of steps; before them, as step -1 of
        the split "start", what start.json has.
      steps: how many updates the run is to have, or None if that is not known.
      remarks: lines about what could not be read.
    """

    path: str
    method: str = UNKNOWN
    flags: dict = dataclasses.field(default_factory=dict)
    records: dict = dataclasses.field(default_factory=dict)
    steps: int | None = None
    remarks: tuple = ()

    @property
    def done(self):
        """How many updates were done when the last figures were written."""
        return max((step for step, _ in self.records), default=-1) + 1

    @property
    def complete(self):
        """Whether the figures of the test set after the last update are there."""
        return self.steps is not None and (self.steps - 1, "test") in self.records

    @property
    def what(self):
        """(method, network, data set), as tables and legends call them."""
        return describe(self.method, self.flags)

    def curve(self, split, field):
        """Returns {updates done: figure} of the lines of a split that have this figure."""
        found = {step + 1: figures.get(field) for (step, of), figures in self.records.items() if of == split}
        return {updates: value for updates, value in found.items() if _is_number(value)}

    def energy(self, power):
        """Returns {updates done: hyperspherical energy, the mean over the layers}."""
        found = {}
        for (step, _), figures in self.records.items():
            layers = figures.get(f"energy_{power}")
            if isinstance(layers, dict) and layers and all(map(_is_number, layers.values())):
                found[step + 1] = sum(layers.values()) / len(layers)
        return found

    def drops(self):
        """Returns the numbers of updates done at which the learning rate fell, as far as the reports tell.

        A report has the rate of its own update, so the rate fell after the earlier of two, and before the later one.
        """
        rates = list(self.curve("train", "lr").items())
        return [early for (early, high), (_, low) in zip(rates, rates[1:]) if low < high * (1 - 1e-6)]

    @property
    def seconds(self):
        """Time spent on updates, without validations and checkpoints; None if it is not known.

        A report says how fast the updates since the one before it were, or since the run went on.
        """
        batch, speeds = self.flags.get("batch_size", ""), self.curve("train", "images_per_second")
        if not batch.isdigit() or not speeds or min(speeds.values()) <= 0:
            return None
        spans = zip([0, *speeds], speeds.items())
        return sum((updates - before) * int(batch) / speed for before, (updates, speed) in spans)

    @property
    def images_per_second(self):
        """Mean speed over all updates up to the last report; None if it is not known."""
        if not self.seconds:
            return None
        return max(self.curve("train", "images_per_second")) * int(self.flags["batch_size"]) / self.seconds


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def describe(method, flags):
    """Returns (method, network, data set) of a run with these flags, in words."""
    model = flags.get("model")
    network = title(model, flags.get("depth"), flags.get("widen_factor")) if model else UNKNOWN
    if "widths" in flags:
        network += f" {flags['widths'].replace(',', '-')}"
    if method == "grassmann":
        optimizer = flags.get("optimizer", UNKNOWN)
        manifold = flags.get("grassmann") == "True"
        method = _OPTIMIZERS.get(optimizer, optimizer) if manifold or optimizer == "sgd" else "SGD"
        method += ", unit start" if manifold and optimizer == "sgd" else ""
    words = {"none": "ordinary training", "free": "UPT"}
    _, _, rotation = method.rpartition("-")
    return words.get(rotation, method), network, flags.get("data", UNKNOWN)


def find(paths):
    """Returns the runs in folders: in each itself, or else in all below it, in the order of their names.

    Raises ValueError for a path that is no folder, or below which there is no run.
    """
    found = {}
    for path in paths:
        if not os.path.isdir(path):
            raise ValueError(f"{path} is not a folder: give folders of runs, or folders that hold some")
        folders = list(_folders(path))
        if not folders:
            wanted = f"expected {METRICS} or {FLAGS}, as train.py writes them, there or below"
            raise ValueError(f"{path} holds no run: {wanted}")
        for folder in folders:
            found.setdefault(os.path.realpath(folder), folder)
    return [read(folder) for folder in found.values()]


def _folders(path):
    for folder, inner, files in os.walk(path):
        inner.sort(key=_natural)
        if METRICS in files or FLAGS in files:
            inner.clear()  # what a run has below it is its own
            yield folder


def _natural(name):
    """Sorts seed-10 behind seed-9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def read(folder):
    """Returns the `Run` of a folder; files that are missing leave it empty."""
    lines = _text(folder, FLAGS).splitlines()
    method = lines[0][1:].strip() if lines and lines[0].startswith("#") else UNKNOWN
    matches = [re.fullmatch(r"--(\w+)=(.*)", line) for line in lines]
    flags = {match[1]: match[2] for match in matches if match}
    lengths = _LENGTH.findall(_text(folder, LOG))
    longest = flags.get("max_steps", "")
    steps = int(lengths[-1]) if lengths else int(longest) if longest.isdigit() else None
    records, remarks = _records(folder)
    records = _start(folder) | records
    if method == UNKNOWN:
        remarks.append(f"{os.path.join(folder, FLAGS)} is missing or does not name the method")
    return Run(folder, method, flags, records, steps, tuple(remarks))


def _text(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _records(folder):
    records, remarks = {}, []
    for number, line in enumerate(_text(folder, METRICS).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            figures = json.loads(line)
            step, split = figures["step"], figures["split"]
            if not isinstance(step, int) or not isinstance(split, str) or not 0 <= step <= _LAST_STEP:
                raise ValueError
            records[step, split] = figures
        except (ValueError, KeyError, TypeError, RecursionError):
            remarks.append(f"{os.path.join(folder, METRICS)}: line {number} is damaged and was skipped")
    return dict(sorted(records.items())), remarks


def _start(folder):
    """Figures from before the first update, if there are such: earlier versions wrote none."""
    try:
        figures = json.loads(_text(folder, START))
    except (ValueError, RecursionError):
        return {}
    return {(-1, "start"): figures} if isinstance(figures, dict) else {}
