"""Reads run folders: flags, log and metrics. Files only, no TensorFlow."""

import dataclasses
import json
import math
import os
import re

from common import flags
from common.data.names import title as data_title
from common.files import FLAGS, LOG, METRICS, NONFINITE, START
from common.nn.names import network_name
from common.results.rows import settings_of

UNKNOWN = "?"
_HEAD = re.compile(r"^network .*?(\d+) updates", re.MULTILINE)  # of the log; a run that goes on writes another one
_FREEDOM = re.compile(r"degrees of freedom without gamma and beta: (\d+)")
_LAST_STEP = 2**31


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run folder says.

    Attributes:
      path: of the folder.
      method: the first line of flags.txt without its mark; "?" if there is none.
      flags: {name: text} of flags.txt; a flag without a value is not there.
      metrics: {(step, split): {name: value}}, the lines of metrics.jsonl in the order of steps, and before them
        start.json as step -1 of the split "start".
      steps: how many updates the run is to have, or None if that is not known.
      written: when metrics were last written, in seconds of the epoch; 0 if never.
      freedom: how many numbers are trained, gamma and beta left out; None if that is not known.
      diverged: whether a step that was not finite has ended the run.
      remarks: lines about what could not be read.
    """

    path: str
    method: str = UNKNOWN
    flags: dict = dataclasses.field(default_factory=dict)
    metrics: dict = dataclasses.field(default_factory=dict)
    steps: int | None = None
    written: float = 0.0
    freedom: int | None = None
    diverged: bool = False
    remarks: tuple = ()

    @property
    def done(self):
        """How many updates were done when metrics were last written."""
        return _done(self.metrics)

    @property
    def complete(self):
        """Whether the last validation after the last update is there."""
        last = (self.steps or 0) - 1
        return self.steps is not None and any((last, split) in self.metrics for split in ("test", "holdout"))

    @property
    def validated(self):
        """The split on which the run was validated: "holdout" if it has one, else "test"."""
        return "holdout" if any(split == "holdout" for _, split in self.metrics) else "test"

    @property
    def tested(self):
        """The split whose errors the run is judged by: "test" if the test set was evaluated, else `validated`."""
        return "test" if self.curve("test", "error") else self.validated

    @property
    def names(self):
        """(method, network, data set), as tables and legends call them."""
        return names(self.method, self.flags)

    def curve(self, split, *metrics):
        """Returns {updates done: value} of a split: on each line, the first of these metrics that is a number there."""
        found = {}
        for (step, of), line in self.metrics.items():
            numbers = [line[metric] for metric in metrics if _is_number(line.get(metric))]
            if of == split and numbers:
                found[step + 1] = numbers[0]
        return found

    def energy(self, power):
        """Returns {updates done: hyperspherical energy of power s, the mean over the layers}."""
        found = {}
        for (step, _), line in self.metrics.items():
            layers = line.get(f"energy_{power}")
            if isinstance(layers, dict) and layers and all(map(_is_number, layers.values())):
                found[step + 1] = sum(layers.values()) / len(layers)
        return found

    def _spans(self):
        """Returns [(images, seconds)] of the updates between reports: a report has the speed since the one before."""
        batch, speeds = self.flags.get("batch_size", ""), self.curve("train", "images_per_second")
        if not batch.isdigit() or min(speeds.values(), default=0) <= 0:
            return []
        images = [(updates - before) * int(batch) for before, updates in zip([0, *speeds], speeds)]
        return [(count, count / speed) for count, speed in zip(images, speeds.values())]

    @property
    def seconds(self):
        """Time of the updates up to the last report, without validations and checkpoints; None if it is not known."""
        return sum(seconds for _, seconds in self._spans()) or None

    @property
    def images_per_second(self):
        """Mean speed after the first report, which holds TensorFlow's start; None if it is not known."""
        spans = self._spans()[1:] or self._spans()
        return sum(images for images, _ in spans) / sum(seconds for _, seconds in spans) if spans else None


def relative(curve):
    """Returns how far {updates: value} is from its first value, in percent of that; {} for fewer than two."""
    start = curve[min(curve)] if len(curve) > 1 else 0
    return {updates: 100.0 * (value / start - 1.0) for updates, value in curve.items()} if start else {}


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def names(method, flags):
    """Returns (method, network, data set) of a run with these flags, in words."""
    model = flags.get("model")
    network = network_name(model, flags.get("depth"), flags.get("widen_factor")) if model else UNKNOWN
    if "widths" in flags:
        network += f" {flags['widths'].replace(',', '-')}"
    data = data_title(flags.get("data", UNKNOWN))
    data += f", holdout {flags['holdout']}" if "holdout" in flags else ""
    return settings_of(method).title(method, flags), network, data


def find(paths):
    """Returns the runs in folders: in each itself, or else in all below it, in the order of their names.

    Raises ValueError for a path that is no folder, or below which there is no run.
    """
    found = {}
    for path in (flags.local_path("RUN", path) for path in paths):
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
    text = _text(folder, FLAGS)
    method = flags.method_in(text) or UNKNOWN
    given, origin = flags.parsed(text), flags.origin(text)
    given |= {"load": origin} if origin else {}
    log = _text(folder, LOG)
    length = [given.get("max_steps", ""), *_HEAD.findall(log)][-1]
    freedom = [None, *map(int, _FREEDOM.findall(log))][-1]
    metrics, remarks = _metrics(folder)
    if method == UNKNOWN:
        remarks.append(f"{os.path.join(folder, FLAGS)} is missing or does not name the method")
    path = os.path.join(folder, METRICS)
    written = os.path.getmtime(path) if os.path.exists(path) else 0.0
    # A shorter length may have been asked for when all was done.
    steps = max(int(length), _done(metrics)) if length.isdigit() else None
    diverged = [entry.get("dropped") for _, entry in _objects(folder, NONFINITE)][-1:] == [False]
    return Run(folder, method, given, metrics, steps, written, freedom, diverged, tuple(remarks))


def _done(metrics):
    return max((step for step, _ in metrics), default=-1) + 1


def _text(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _objects(folder, name):
    """Yields (number, JSON object) of the lines of a file; {} for what is none."""
    for number, line in enumerate(_text(folder, name).split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            yield number, value if isinstance(value, dict) else {}


def _metrics(folder):
    """Returns ({(step, split): values}, lines about what is damaged)."""
    start = [((-1, "start"), values) for _, values in _objects(folder, START) if values]
    metrics, remarks = dict(start), []
    for number, values in _objects(folder, METRICS):
        step, split = values.get("step"), values.get("split")
        if isinstance(step, int) and 0 <= step <= _LAST_STEP and isinstance(split, str):
            metrics[step, split] = values
        else:
            remarks.append(f"{os.path.join(folder, METRICS)}: line {number} is damaged and was skipped")
    return dict(sorted(metrics.items())), remarks
