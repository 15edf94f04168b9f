"""Steps that are not finite: told, written down, and the end of the run unless they are to be skipped.

The graph itself drops such a step (see step.py). What is here says which step, which quantities, rates and images.
"""

import os
import re

import numpy as np

from common.compat import tf
from common.console import one_line
from common.data import batches
from common.files import NONFINITE
from common.graph import variables
from common.training.loop import Periodic

MOST_IN_A_ROW = 50  # dropped steps after which skipping is given up: other batches do not help then
_SHOWN = 3  # quantities named in a message


class FiniteCheck(Periodic):
    """Ends the run at the first step that is not finite, or counts such steps; the first of all callbacks.

    What ends it is a ValueError of one line. As a context round the loop the check makes one of the errors of maps,
    which refuse generators that are not finite. Each step that is not finite is a line of nonfinite.jsonl. Before each
    checkpoint the variables are checked: an update can overflow though its gradient is finite, and is not to be saved.

    Args:
      first, last, frequency: the first and the last update, and the frequency of checkpoints.
      checkpoint: a function that returns the newest checkpoint, or None.
    """

    def __init__(self, folder, session, problem, training, first, last, frequency, checkpoint):
        super().__init__(frequency, last, training.health.finite)
        self._folder, self._session, self._problem, self._training = folder, session, problem, training
        self._step, self._checkpoint = first, checkpoint
        self._skip, self._in_a_row = problem.nan_policy == "skip", 0
        self._skipped = _dropped_before(folder.file(NONFINITE), first) if self._skip else 0

    def counts(self):
        """Returns {"skipped": n} for reports, steps dropped before a resume included; {} unless steps are skipped."""
        return {"skipped": self._skipped} if self._skip else {}

    def fetches(self, step):
        self._step = step
        return self._tensors

    def after_step(self, step, finite):
        names = [name for name, good in zip(self._training.health.names, finite) if not good]
        self._in_a_row = self._in_a_row + 1 if names else 0
        if names:
            what = f"step {step} is not finite: {_some(names)}"
            if not self._skip:
                raise self._ended(f"{what}; no variable was changed", names, "; --nan_policy=skip drops such steps")
            if self._in_a_row >= MOST_IN_A_ROW:
                raise self._ended(f"{what}, as are the {MOST_IN_A_ROW - 1} before it; no variable was changed", names)
            self._skipped += 1
            self._write(names, dropped=True)
            self._folder.say(f"{what}; dropped, {self._skipped} in all")
        super().after_step(step, finite)  # a dropped step changes nothing, one before it may

    def act(self, step, values):
        if names := bad_variables(self._session):
            what = f"after step {step} these are not finite: {_some(names)}"
            raise self._ended(f"{what}; the gradients were, so the update was too large", names)

    def end(self, step, interrupted):
        if interrupted:
            self.act(step, ())  # a checkpoint follows

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, tf.errors.InvalidArgumentError):
            names = [one_line(error), *bad_variables(self._session)]
            raise self._ended(f"step {self._step}: {_some(names)}", names) from None

    def _ended(self, what, names, other=""):
        """Returns the error that ends the run at the step under way, and writes the step down."""
        rates = ", ".join(f"{name} = {rate:g}" for name, rate in self._write(names).items())
        checkpoint = self._checkpoint()
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
        message = (
            f"{what} ({rates}). The batch's images are listed in {self._folder.file(NONFINITE)}; {kept}. "
            f"Lower the learning rate, or look at these images{other}"
        )
        self._folder.note(f"error: {message}")
        return ValueError(message)

    def _write(self, names, dropped=False):
        """Adds a line to nonfinite.jsonl; returns the learning rates of the step."""
        rates = self._session.run(self._training.rates, {self._training.step: self._step})
        rates = {name: float(rate) for name, rate in rates.items()}
        images = _images(self._problem, self._step)
        entry = {"step": self._step, "dropped": dropped, "not_finite": names, **rates, "images": images}
        self._folder.add(NONFINITE, entry)
        return rates


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
    """Returns how many steps before `first` the file says to have been dropped; lines of another kind do not count."""
    if not os.path.exists(path):
        return 0
    with open(path, encoding="utf-8", errors="replace") as file:
        steps = re.findall(r'^\{"step": (\d+), "dropped": true', file.read(), re.MULTILINE)
    return len({step for step in map(int, steps) if step < first})


def _some(names):
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
