"""What TensorBoard shows besides the metrics of metrics.jsonl: gradients and a sample of the training images."""

import numpy as np

from common.graph import variables
from common.graph.variables import Role
from common.runs import pictures
from common.training.loop import Callback, Periodic

WATCHED = (Role.GENERATOR, Role.ROTATION, Role.UNIT_KERNEL)  # what the methods differ in
_SHOWN = 32  # images of the sample


class Gradients(Periodic):
    """Histograms of the gradients of generators, orthogonal matrices and kernels on the manifold.

    They are the reduced gradients of the update itself, fetched along with the updates after which there is a
    validation, and with no other.

    Args:
      events: the run's `Events`.
      gradients: {name of a variable: its gradient} (`Health.gradients`).
    """

    def __init__(self, events, gradients, frequency, last):
        watched = [variable.op.name for variable in variables.with_role(*WATCHED)]
        super().__init__(frequency, last, {f"gradients/{name}": gradients[name] for name in watched})
        self._events = events

    def act(self, step, values):
        self._events.histograms(step, "train", values)


class Sample(Callback):
    """The first images of the first batch, as the network sees them after crop and flip, in one picture.

    Args:
      events: the run's `Events`.
      images: the batch after normalisation, [batch, height, width, channels].
      pipeline: the `Pipeline` that normalised it.
    """

    def __init__(self, events, images, pipeline):
        self._events, self._images, self._pipeline = events, images, pipeline

    def fetches(self, step):
        return self._images if step == 0 else {}

    def after_step(self, step, values):
        if step == 0 and values.shape[-1] in pictures.CHANNELS:
            shown = values[:_SHOWN] * np.asarray(self._pipeline.scale) + np.asarray(self._pipeline.offset)
            sample = np.clip(np.floor(shown + 0.5), 0, 255).astype(np.uint8)
            self._events.picture(step, "train", "training_images", pictures.grid(sample, border=2, factor=2))
