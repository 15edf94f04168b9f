"""Steps that are not finite: told, written down, and the end of the run unless they are to be skipped.

The graph itself drops such a step (see train_op.py); what is here sees it and says which step, which rates, which
quantities and which images.
"""

import json
import os

import numpy as np

from common.compat import tf
from common.console import one_line
from common.data import batches
from common.graph import variables
from common.training.callbacks import Callback

FILE = "nonfinite.jsonl"
MOST_IN_A_ROW = 50  # dropped steps after which skipping is given up: other batches do not help then
_SHOWN = 3  # quantities named in a message
_NOT_RATES = ("loss", "fit", "error")  # what a report holds besides learning rates


class NonFinite(ValueError):
    """Ends the run; its message is one line."""


class Diagnosis:
    """What can be asked about a step; built before the graph is finalised.

    Args:
      problem, training: a `Problem` and its `Training`.

    Attributes:
      fetches: what to fetch along with each step: which quantities are finite, and the learning rates.
    """

    def __init__(self, problem, training):
        rates = {name: rate for name, rate in training.report.items() if name not in _NOT_RATES}
        self.fetches = {"finite": training.health.finite, "rates": rates}
        self._names = training.health.names
        self._step = tf.placeholder(tf.int64, [])
        size = len(problem.dataset.train_images)
        self._indices = batches.indices(self._step, problem.batch_size, size, problem.seed)
        self._saved = [variable for variable in variables.saved() if variable.dtype.base_dtype.is_floating]

    def not_finite(self, values):
        """Returns the names of what was not finite in a step whose `fetches` had these values."""
        return [name for name, finite in zip(self._names, values["finite"]) if not finite]

    def images(self, session, step):
        """Returns the batch of `step`: the numbers of its images in the training set, counted from 0."""
        return session.run(self._indices, {self._step: step}).tolist()

    def bad_variables(self, session):
        """Returns the names of the saved variables that are not finite."""
        values = session.run(self._saved)
        return [f"the variable {v.op.name}" for v, value in zip(self._saved, values) if not np.isfinite(value).all()]


class Guard(Callback):
    """Ends the run at the first step that is not finite, or counts such steps.

    It comes before all other callbacks, and is a context round the loop: errors of the maps, which refuse generators
    that are not finite, become a `NonFinite` too. Each such step is a line of nonfinite.jsonl in the run folder.

    Args:
      folder, session: the `RunFolder` and the session.
      diagnosis: a `Diagnosis`.
      skip: whether training goes on. After `MOST_IN_A_ROW` steps in a row it ends all the same.
      first, last: the first and the last update of the run.
      frequency: of checkpoints. Before each of them variables are looked at: an update can overflow though its gradient
        is finite, and such a state is not to be saved.
      checkpoint: a function that returns the newest checkpoint, or None.
      before: the number of dropped steps so far, and of those in a row that they end with (see `dropped_before`).

    Attributes:
      skipped: the number of dropped steps of the run so far, those before a resume included.
    """

    def __init__(self, folder, session, diagnosis, skip, first, last, frequency, checkpoint, before=(0, 0)):
        self._folder, self._session, self._diagnosis, self._skip = folder, session, diagnosis, skip
        self._last, self._frequency, self._checkpoint = last, frequency, checkpoint
        self._step, self._rates = first, {}
        self.skipped, self._in_a_row = before

    def counts(self):
        """Returns what reports say of dropped steps: nothing, unless they are skipped."""
        return {"skipped": self.skipped} if self._skip else {}

    def fetches(self, step):
        self._step = step
        return self._diagnosis.fetches

    def after_step(self, step, values):
        self._rates = {name: float(rate) for name, rate in values["rates"].items()}
        names = self._diagnosis.not_finite(values)
        if names:
            self._drop(step, names)
            return
        self._in_a_row = 0
        if (step + 1) % self._frequency == 0 or step == self._last:
            self._check_variables()

    def end(self, step, interrupted):
        if interrupted:
            self._check_variables()  # a checkpoint follows
        if self.skipped:
            self._folder.say(f"{self.skipped} steps were dropped because they were not finite; see {self._file}")

    @property
    def _file(self):
        return self._folder.file(FILE)

    def _drop(self, step, names):
        self._in_a_row += 1
        self._record(names, dropped=self._skip)
        what = f"step {step} is not finite: {_some(names)} ({self._rates_in_words()})"
        if not self._skip:
            raise self._end(f"{what}; no variable was changed", "; --nan_policy=skip drops such steps and goes on")
        self.skipped += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            raise self._end(f"{what}, as are the {MOST_IN_A_ROW - 1} before it; no variable was changed by them")
        self._folder.say(f"{what}; dropped, {self.skipped} in all")

    def _check_variables(self):
        names = self._diagnosis.bad_variables(self._session)
        if names:
            self._record(names)
            raise self._end(
                f"after step {self._step} these are not finite: {_some(names)} ({self._rates_in_words()}); "
                "the gradients were, so the update was too large"
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, tf.errors.InvalidArgumentError):
            names = self._diagnosis.bad_variables(self._session)
            self._record([one_line(error), *names])
            found = f"; not finite: {_some(names)}" if names else ""
            raise self._end(f"step {self._step}: {one_line(error)} ({self._rates_in_words()}){found}") from None

    def _record(self, names, dropped=False):
        """Writes down what is known about the step under way."""
        entry = {
            "step": self._step,
            "dropped": dropped,
            "not_finite": names,
            **self._rates,
            "images": self._diagnosis.images(self._session, self._step),
        }
        self._folder.add(FILE, entry)

    def _end(self, what, other=""):
        checkpoint = self._checkpoint()
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
        message = (
            f"{what}. The batch's images are listed in {self._file}; {kept}. "
            f"Lower the learning rate, or look at these images{other}"
        )
        self._folder.note(f"error: {message}")
        return NonFinite(message)

    def _rates_in_words(self):
        return ", ".join(f"{name} = {rate:g}" for name, rate in self._rates.items()) or "the first step"


def dropped_before(folder, first):
    """Returns (count, count in a row up to `first` - 1) of the steps in the file, which loses those done again."""
    path = folder.file(FILE)
    if not os.path.exists(path):
        return 0, 0
    with open(path, encoding="utf-8") as file:
        lines = {line: json.loads(line) for line in file if line.endswith("\n")}
    kept = {line: entry["step"] for line, entry in lines.items() if entry["step"] < first and entry["dropped"]}
    folder.write(FILE, "".join(kept))
    steps = set(kept.values())
    return len(steps), next(count for count in range(len(steps) + 1) if first - 1 - count not in steps)


def _some(names):
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
