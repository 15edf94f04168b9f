"""Steps that are not finite: told, written down, and the end of the run unless they are to be skipped.

The graph itself drops such a step (see step.py). What is here says which step, which quantities, rates and images.
"""

import contextlib
import json
import os

import numpy as np

from common.compat import tf
from common.console import one_line
from common.data import batches
from common.files import NONFINITE
from common.graph import variables
from common.training.loop import Callback

MOST_IN_A_ROW = 50  # dropped steps after which skipping is given up: other batches do not help then
_SHOWN = 3  # quantities named in a message
_NOT_RATES = ("loss", "fit", "error")  # what a report holds besides learning rates


class NonFinite(ValueError):
    """Ends the run; its message is one line."""


class Guard(Callback):
    """Ends the run at the first step that is not finite, or counts such steps. It comes before all other callbacks.

    It is a context round the loop, too: errors of the maps, which refuse generators that are not finite, become a
    `NonFinite`. Each such step is a line of nonfinite.jsonl. Before each checkpoint the variables are looked at: an
    update can overflow though its gradient is finite, and such a state is not to be saved.

    Args:
      folder, session: the `RunFolder` and the session.
      problem, training: a `Problem` and its `Training`.
      first, last: the first and the last update.
      frequency: of checkpoints.
      checkpoint: a function that returns the newest checkpoint, or None.

    Attributes:
      skipped: the number of dropped steps of the run so far, those before a resume included.
    """

    def __init__(self, folder, session, problem, training, first, last, frequency, checkpoint):
        self._folder, self._session, self._problem, self._training = folder, session, problem, training
        self._last, self._frequency, self._checkpoint = last, frequency, checkpoint
        rates = {name: rate for name, rate in training.report.items() if name not in _NOT_RATES}
        self._fetches = {"finite": training.health.finite, "rates": rates}
        self._step, self._rates, self._in_a_row = first, {}, 0
        self._skip = problem.nan_policy == "skip"
        self.skipped = _dropped_before(folder.file(NONFINITE), first) if self._skip else 0

    def counts(self):
        """Returns what reports say of dropped steps: nothing, unless they are skipped."""
        return {"skipped": self.skipped} if self._skip else {}

    def fetches(self, step):
        self._step = step
        return self._fetches

    def after_step(self, step, values):
        self._rates = {name: float(rate) for name, rate in values["rates"].items()}
        names = [name for name, finite in zip(self._training.health.names, values["finite"]) if not finite]
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
            self._folder.say(
                f"{self.skipped} steps were dropped because they were not finite; see {self._folder.file(NONFINITE)}"
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, tf.errors.InvalidArgumentError):
            names = bad_variables(self._session)
            found = f"; not finite: {_some(names)}" if names else ""
            what = f"step {self._step}: {one_line(error)} ({self._rates_in_words()}){found}"
            raise self._ended(what, [one_line(error), *names]) from None

    def _drop(self, step, names):
        self._in_a_row += 1
        what = f"step {step} is not finite: {_some(names)} ({self._rates_in_words()})"
        if not self._skip:
            other = "; --nan_policy=skip drops such steps and goes on"
            raise self._ended(f"{what}; no variable was changed", names, other)
        self.skipped += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            before = f"as are the {MOST_IN_A_ROW - 1} before it; no variable was changed by them"
            raise self._ended(f"{what}, {before}", names)
        self._write(names, dropped=True)
        self._folder.say(f"{what}; dropped, {self.skipped} in all")

    def _check_variables(self):
        names = bad_variables(self._session)
        if names:
            what = f"after step {self._step} these are not finite: {_some(names)} ({self._rates_in_words()})"
            raise self._ended(f"{what}; the gradients were, so the update was too large", names)

    def _ended(self, what, names, other=""):
        """Returns the `NonFinite` that ends the run at the step under way, and writes the step down."""
        self._write(names)
        checkpoint = self._checkpoint()
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
        message = (
            f"{what}. The batch's images are listed in {self._folder.file(NONFINITE)}; {kept}. "
            f"Lower the learning rate, or look at these images{other}"
        )
        self._folder.note(f"error: {message}")
        return NonFinite(message)

    def _write(self, names, dropped=False):
        images = _images(self._problem, self._step)
        entry = {"step": self._step, "dropped": dropped, "not_finite": names, **self._rates, "images": images}
        self._folder.add(NONFINITE, entry)

    def _rates_in_words(self):
        return ", ".join(f"{name} = {rate:g}" for name, rate in self._rates.items()) or "the first step"


def bad_variables(session):
    """Returns the names of the saved variables that are not finite."""
    saved = [variable for variable in variables.saved() if variable.dtype.base_dtype.is_floating]
    values = session.run(saved)
    return [f"the variable {v.op.name}" for v, value in zip(saved, values) if not np.isfinite(value).all()]


def _images(problem, step):
    """Returns the batch of `step`: the numbers of its images in the training set, counted from 0."""
    with tf.Graph().as_default():  # that of the training is finished
        tf.set_random_seed(problem.seed)
        indices = batches.indices(step, problem.batch_size, len(problem.dataset.train_images), problem.seed)
        with tf.Session(config=tf.ConfigProto(device_count={"GPU": 0})) as session:
            return session.run(indices).tolist()


def _dropped_before(path, first):
    """Returns how many steps before `first` the file says to have been dropped; a line that is none of its own is left."""
    steps = set()
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                    entry = json.loads(line)
                    if entry["dropped"] is True and 0 <= entry["step"] < first:
                        steps.add(entry["step"])
    return len(steps)


def _some(names):
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
