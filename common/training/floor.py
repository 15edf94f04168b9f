"""A run whose answers are surely wrong: a loss with a floor has no gradient there, so the run will not recover."""

from common.nn import losses
from common.training.loop import Periodic

_IN_A_ROW = 3  # reports; one batch may be wrong by chance, and a first network by its random weights
_NEAR = 0.8  # share of the bounds: batches of 32 images vary by a tenth


class Floor(Periodic):
    """Says once, in one line, that the fit stays at that of sure answers that are right by chance, and what to do.

    Args:
      metrics: tensors fit, the mean of `losses.smoothed_cross_entropy`, and error, a share of 1.
      classes: the number of classes.
    """

    def __init__(self, folder, metrics, classes, frequency, last):
        super().__init__(frequency, last, {name: metrics[name] for name in ("fit", "error")})
        self._folder, self._in_a_row, self._said = folder, 0, False
        self._error = 1.0 - 1.0 / classes
        self._fit = losses.sure_at_chance(classes)

    def act(self, step, values):
        at_floor = values["fit"] > _NEAR * self._fit and values["error"] > _NEAR * self._error
        self._in_a_row = self._in_a_row + 1 if at_floor else 0
        if self._in_a_row == _IN_A_ROW and not self._said:
            self._said = True
            self._folder.say(
                f"step {step}, THE FIT STAYS AT {values['fit']:.2f}: the answers are surely wrong, where the loss has "
                "no gradient, and the error stays at chance; begin anew with a smaller --base_lr, or with "
                "--warmup_steps"
            )
