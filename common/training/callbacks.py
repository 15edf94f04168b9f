"""What happens during training besides training: reports, validations, checkpoints, the progress bar.

Periodic ones are due at steps s with (s + 1) % frequency = 0 and at the end. Within one step they act in the order in
which the program lists them.
"""

import json
import sys
import time

from common.console import say
from common.files import START
from common.runs.saver import SaveError

_HOUR = 3600.0
_TIMED_AFTER = 20  # steps after which the length of the run is judged


class Callback:
    """Does nothing; the base of all."""

    def fetches(self, step):
        """Returns what to fetch along with the update `step`: any structure of tensors."""
        return {}

    def after_step(self, step, values):
        """Is called after the update `step` with the values of what was asked for."""

    def end(self, step, interrupted):
        """Is called once when the loop has ended with the update `step`; in a hurry if it was interrupted."""


class Periodic(Callback):
    """Acts every `frequency` steps and after the step `last`, the last of the run.

    Args:
      frequency, last: see above.
      tensors: what `act` gets of a step at which it is due, any structure of tensors.
    """

    def __init__(self, frequency, last, tensors):
        self._frequency, self._last, self._tensors = frequency, last, tensors

    def due(self, step):
        return (step + 1) % self._frequency == 0 or step == self._last

    def act(self, step, values):
        """What is to be done after `step`."""
        raise NotImplementedError

    def fetches(self, step):
        return self._tensors if self.due(step) else {}

    def after_step(self, step, values):
        if self.due(step):
            self.act(step, values)


class Clock:
    """Measures the speed of training: time in reports, validations and checkpoints does not count."""

    def __init__(self, batch_size):
        self._batch_size = batch_size
        self.restart()

    def restart(self):
        self._start, self._paused, self._steps = time.perf_counter(), 0.0, 0

    def tick(self):
        self._steps += 1

    def pause(self, seconds):
        self._paused += seconds

    def images_per_second(self):
        """Images per second since the last restart."""
        return self._batch_size * self._steps / max(time.perf_counter() - self._start - self._paused, 1e-9)


class Report(Periodic):
    """Writes the figures of the batch.

    Args:
      folder: a `RunFolder`.
      report: tensors loss, fit, error (a share of 1) and the learning rates, the first of which is "lr".
      frequency, last: as for `Periodic`.
      clock: a `Clock`.
      counts: a function that returns counts to report too, {name: number}.
    """

    def __init__(self, folder, report, frequency, last, clock, counts=dict):
        super().__init__(frequency, last, report)
        self._folder, self._clock, self._counts = folder, clock, counts

    def after_step(self, step, values):
        self._clock.tick()
        super().after_step(step, values)

    def act(self, step, values):
        speed = self._clock.images_per_second()
        self._clock.restart()
        values = {name: float(value) for name, value in values.items()}
        loss, fit, error = values.pop("loss"), values.pop("fit"), 100.0 * values.pop("error")
        values |= self._counts()
        rates = ", ".join(f"{name} = {rate:g}" for name, rate in values.items())
        self._folder.say(
            f"step {step}, loss = {loss:.4f}, fit = {fit:.4f}, err = {error:.4f} %, {rates} ({speed:.1f} images/s)"
        )
        figures = {"loss": loss, "fit": fit, "regularisation": loss - fit, "error": error, **values}
        self._folder.measure(step=step, split="train", **figures, images_per_second=speed)


class Validate(Periodic):
    """Evaluates the test set and the geometry of the kernels; when the run is to stop, it ends between two batches.

    Before the first update the geometry alone is measured, into start.json: later figures are compared with it.

    What has drifted is repaired, but not at the last step alone: a longer run, which has no validation there, is to
    pass through the same states.

    Attributes:
      given_up: whether it was interrupted: the run that goes on does it then (`catch_up`).
    """

    def __init__(self, folder, session, evaluation, rate, frequency, last, clock, drift, stop):
        super().__init__(frequency, last, {"lr": rate})
        self._folder, self._session, self._evaluation, self._clock = folder, session, evaluation, clock
        self._drift, self._stop = drift, stop
        self.given_up = False

    def keep_start(self):
        """Keeps the geometry before the first update, with which reports compare."""
        frozen = self._evaluation.frozen(self._session)
        if self._folder.kept:
            self._folder.write(START, f"{json.dumps(self._geometry(frozen))}\n")

    def _geometry(self, frozen):
        return {
            kind: {layer: float(value) for layer, value in of_layers.items()}
            for kind, of_layers in self._evaluation.geometry(self._session, frozen).items()
        }

    def catch_up(self, step, global_step):
        """Does what may have been due at `step`, the one before the first of this run."""
        if not self.due(step):
            return
        values = {}
        for count in (step, step + 1):  # the rate of a step is that of the updates done before it
            self._session.run(global_step.initializer, {global_step.initializer.inputs[1]: count})
            values = values or self._session.run(self._tensors)
        self.act(step, values)

    def act(self, step, values):
        start = time.perf_counter()
        frozen = self._evaluation.frozen(self._session)
        figures = self._evaluation.figures(self._session, self._stop.asked, frozen=frozen)
        if figures is None:
            self.given_up = True
            self._stop.agree()
            self._folder.say(f"step {step}, validation given up: it is done when the run goes on")
            return
        seconds = time.perf_counter() - start
        orthogonality = self._tell(step, values, figures, frozen, seconds) if self._folder.kept else {}
        repair = (step + 1) % self._frequency == 0
        for line in self._drift.look(self._session, step, orthogonality, repair):
            self._folder.say(line)
        self._clock.pause(time.perf_counter() - start)

    def _tell(self, step, values, figures, frozen, seconds):
        """Writes down the figures and the geometry; returns the layers' ||QQ^T - I||."""
        geometry = self._geometry(frozen)
        self._folder.say(f"step {step}, validation: {figures} ({seconds:.1f} s)")
        self._folder.say(f"step {step}, {_summary(geometry)}")
        self._folder.measure(
            step=step,
            split="test",
            loss=figures.cross_entropy,
            fit=figures.cross_entropy,
            cross_entropy=figures.cross_entropy,
            error=100.0 * figures.error,
            **{f"error_{figures.k}": 100.0 * figures.error_k},
            lr=float(values["lr"]),
            images_per_second=self._evaluation.store.size / seconds,
            **geometry,
        )
        return geometry["orthogonality"]


def _summary(geometry):
    """One line: mean energy over the layers, largest orthogonality error."""
    energies = geometry["energy_1"].values()
    line = f"hyperspherical energy (s = 1) = {sum(energies) / max(len(energies), 1):.6f}"
    if geometry["orthogonality"]:
        layer, error = max(geometry["orthogonality"].items(), key=lambda item: item[1])
        line += f", largest ||QQ^T - I|| = {error:.2e} ({layer})"
    return line


class Save(Periodic):
    """Writes a checkpoint, also when the run is interrupted. If that fails, training goes on; the next one is a retry.

    Attributes:
      path: of the newest one, or None.
      fault: why the newest one could not be written, or None.
      faults: how many could not.
    """

    def __init__(self, folder, session, keeper, frequency, last, clock, lock):
        super().__init__(frequency, last, {})
        self._folder, self._session, self._keeper, self._clock, self._lock = folder, session, keeper, clock, lock
        self._tried = None
        self.path, self.fault, self.faults = None, None, 0

    def act(self, step, values):
        start = time.perf_counter()
        try:
            self._lock.renew()  # the folder may have been removed
            self._folder.sync()
            self.path = self._keeper.save(self._session, step)
        except (SaveError, OSError, ValueError) as error:
            self.fault, self.faults = str(error), self.faults + 1
            self._folder.say(f"step {step}, NOT SAVED: {self.fault}; older checkpoints stay, the next save tries again")
        else:
            self.fault = None
            self._folder.say(f"step {step}, saved {self.path}")
        self._tried = step
        self._clock.pause(time.perf_counter() - start)

    def use(self, session):
        """Takes the variables from another session from now on; what the one before could not save is tried again."""
        self._session = session
        if self.fault:
            self._tried = None

    def at(self, step):
        """Writes the checkpoint of the last step done, unless that was tried."""
        if self._tried != step:
            self.act(step, {})

    def end(self, step, interrupted):
        if interrupted:
            self.at(step)


class Progress(Callback):
    """A bar with step, loss, error, images/s and time left; only on a terminal."""

    def __init__(self, report, first, last, batch_size):
        from tqdm import tqdm

        self._report, self._batch_size = report, batch_size
        self._bar = tqdm(total=last, initial=first, unit="step", dynamic_ncols=True) if sys.stderr.isatty() else None

    def fetches(self, step):
        return {name: self._report[name] for name in ("loss", "error")} if self._bar is not None else {}

    def after_step(self, step, values):
        if self._bar is None:
            return
        speed = (self._bar.format_dict["rate"] or 0.0) * self._batch_size
        loss, error = float(values["loss"]), 100.0 * float(values["error"])
        self._bar.set_postfix_str(f"loss {loss:.3f}, err {error:.1f} %, {speed:.0f} images/s", refresh=False)
        self._bar.update()

    def end(self, step, interrupted):
        if self._bar is not None:
            self._bar.close()


class Patience(Callback):
    """Says after some steps if the run will take more than an hour, and what a short one is."""

    def __init__(self, first, last, advice):
        self._first, self._last, self._advice = first, last, advice
        self._start = None

    def after_step(self, step, values):
        done = step - self._first
        if done == 0:
            self._start = time.perf_counter()  # the first step is not typical
        if done == _TIMED_AFTER:
            left = (time.perf_counter() - self._start) / done * (self._last - step)
            if left > _HOUR:
                say(f"This run will take about {_duration(left)} here. {self._advice}")


def _duration(seconds):
    hours = seconds / _HOUR
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
