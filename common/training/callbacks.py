"""What happens during training besides training: reports, validations, checkpoints, the progress bar."""

import json
import time

from common.console import say
from common.files import START
from common.runs.saver import SaveError
from common.training import rotated
from common.training.loop import Callback, Periodic

_FIRST_REPORTS = (0, 9)  # steps: a new run is seen to work before the first period of reports is over
_TIMED_AFTER = 20  # steps after which the length of the run is judged


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
    """Writes down what the batch says: after updates 1 and 10, and every `frequency` updates.

    It also says how far the update has rotated each layer (see rotated.py). For that the kernels are fetched along with
    these updates and computed once more after them. Other updates cost nothing more.

    Args:
      kernels: {scope: `Kernel`}.
      metrics: tensors fit, loss (the fit and all penalties), error (a share of 1) and the learning rates.
      counts: a function that returns counts to report too, {name: number}.
    """

    def __init__(self, folder, session, kernels, metrics, frequency, last, clock, counts=dict):
        self._kernels = rotated.tensors(kernels)
        super().__init__(frequency, last, {"metrics": metrics, "kernels": self._kernels})
        self._folder, self._session, self._clock, self._counts = folder, session, clock, counts

    def due(self, step):
        return super().due(step) or step in _FIRST_REPORTS

    def after_step(self, step, values):
        self._clock.tick()
        super().after_step(step, values)

    def act(self, step, values):
        speed = self._clock.images_per_second()
        changes = rotated.changes(values["kernels"], self._session.run(self._kernels))
        self._clock.restart()
        values = {name: float(value) for name, value in values["metrics"].items()}
        fit, error, total = values.pop("fit"), 100.0 * values.pop("error"), values.pop("loss")
        values = {"total_loss": total, **values, **self._counts()}
        others = ", ".join([*(f"{name} = {value:g}" for name, value in values.items()), *rotated.words(changes)])
        values |= {"rotated": changes} if changes else {}
        self._folder.say(f"step {step}, fit = {fit:.4f}, err = {error:.4f} %, {others} ({speed:.1f} images/s)")
        self._folder.measure(step=step, split="train", fit=fit, error=error, **values, images_per_second=speed)


class Validate(Periodic):
    """Evaluates the holdout, or the test set if there is none, and the geometry of the kernels.

    Before the first update the geometry alone is measured, into start.json: later metrics are compared with it.

    Args:
      evaluation: an `Evaluation`.
      rate: tensor of the learning rate.
      stopping: `stopping()` is asked before each batch of images; once it is true, the validation is dropped.

    Attributes:
      dropped: whether the last one was. Nothing is written of a dropped one, and nothing that is trained depends on it.
    """

    def __init__(self, folder, session, evaluation, rate, frequency, last, clock, stopping):
        super().__init__(frequency, last, {"lr": rate})
        self._folder, self._session, self._evaluation = folder, session, evaluation
        self._clock, self._stopping = clock, stopping
        self.dropped = False

    def keep_start(self):
        """Writes down the geometry before the first update."""
        if self._folder.kept:
            self._folder.write(START, f"{json.dumps(self._evaluation.geometry(self._session))}\n")

    def at(self, step):
        """Evaluates after `step`, which was done by an earlier process."""
        self.act(step, self._session.run(self._tensors))

    def act(self, step, values):
        start = time.perf_counter()
        frozen = self._evaluation.frozen(self._session)
        metrics = self._evaluation.metrics(self._session, self._stopping, frozen=frozen)
        seconds = time.perf_counter() - start
        self.dropped = metrics is None
        if self.dropped:
            self._folder.say(f"step {step}, validation dropped: the run is to stop")
        elif self._folder.kept:
            self._write(step, values, metrics, self._evaluation.geometry(self._session, frozen), seconds)
        self._clock.pause(time.perf_counter() - start)

    def _write(self, step, values, metrics, geometry, seconds):
        on = "" if self._evaluation.split == "test" else f" on the {self._evaluation.split}"
        self._folder.say(f"step {step}, validation{on}: {metrics} ({seconds:.1f} s)")
        self._folder.say(f"step {step}, {_summary(geometry)}")
        self._folder.measure(
            step=step,
            split=self._evaluation.split,
            **metrics.percentages(),
            lr=float(values["lr"]),
            images_per_second=self._evaluation.store.size / seconds,
            **geometry,
        )


def _summary(geometry):
    """One line: mean energy over the layers, largest orthogonality error."""
    energies = geometry["energy_1"].values()
    line = f"hyperspherical energy (s = 1) = {sum(energies) / max(len(energies), 1):.6f}"
    if geometry["orthogonality"]:
        layer, error = max(geometry["orthogonality"].items(), key=lambda item: item[1])
        line += f", largest ||QQ^T - I|| = {error:.2e} ({layer})"
    return line


class Save(Periodic):
    """Writes checkpoints, also when the run is interrupted. If one fails, training goes on, and the next save retries.

    Attributes:
      path: of the newest one, or None.
      fault: why the newest one could not be written, or None.
      faults: how many could not.
    """

    def __init__(self, folder, session, manager, frequency, last, clock, lock):
        super().__init__(frequency, last, {})
        self._folder, self._session, self._manager, self._clock, self._lock = folder, session, manager, clock, lock
        self._tried = None
        self.path, self.fault, self.faults = None, None, 0

    def act(self, step, values):
        start = time.perf_counter()
        try:
            self._lock.renew()  # the folder may have been removed
            self._folder.sync()
            self.path = self._manager.save(self._session, step)
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
    """A bar with step, fit, error, images/s and time left, for a terminal."""

    def __init__(self, metrics, first, last, batch_size):
        from tqdm import tqdm

        self._tensors, self._batch_size = {name: metrics[name] for name in ("fit", "error")}, batch_size
        self._bar = tqdm(total=last, initial=first, unit="step", dynamic_ncols=True)

    def fetches(self, step):
        return self._tensors

    def after_step(self, step, values):
        speed = (self._bar.format_dict["rate"] or 0.0) * self._batch_size
        words = f"fit {values['fit']:.3f}, err {100 * values['error']:.1f} %, {speed:.0f} images/s"
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update()

    def end(self, step, interrupted):
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
            hours = (time.perf_counter() - self._start) / done * (self._last - step) / 3600
            if hours > 1:
                length = f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
                say(f"This run will take about {length} here. {self._advice}")
