"""Lengths, batches and learning rates of the opt_ folders' runs: the paper's, and shorter ones."""

import dataclasses

from common.cli.settings import BATCH_SIZE, SHORT_BATCH_SIZE
from common.nn.schedules import StepDecay


@dataclasses.dataclass(frozen=True)
class Preset:
    """A run's length and the images of an update.

    Attributes:
      schedule: updates, and where the rate drops.
      batch_size: images per update.
      padding: pixels padded before the crop.
      warmup: share of the updates over which the rate rises.
      generator_start: --generator_start, where P starts.
    """

    schedule: StepDecay
    batch_size: int
    padding: int
    warmup: float = 0.1
    generator_start: str = "unit"


PAPER = Preset(
    StepDecay(steps=75_000, boundaries=(30_000, 50_000, 65_000), factor=0.1), BATCH_SIZE, 4,
    warmup=0.0, generator_start="paper",
)  # fmt: skip
SHORT = Preset(PAPER.schedule.stretched(500), SHORT_BATCH_SIZE, 2)
FASHION = Preset(PAPER.schedule.stretched(2_000), BATCH_SIZE, 2)
PRESETS = {**dict.fromkeys(("cifar100", "cifar10", "svhn"), PAPER), "fashion_mnist": FASHION}  # all others: SHORT
PAPER_LR = 0.1  # of every method; the short runs' is the method's own
ADAM_LR = 1e-3  # of Adam and AdamW, as their authors have it
FIXED_LR, FIXED_ADAM_LR = 0.01, 1e-4  # under --fixed, of every method; the former is chosen on a holdout
# Kernels that are trained directly blow up at the paper's rate on data with ten classes: digits, Fashion-MNIST.
BASELINE_LRS = {
    "none": {"short_lr": 0.005, "fashion_lr": 0.02}, "free": {"short_lr": 0.005, "fashion_lr": 0.04}
}  # fmt: skip


def preset_of(data):
    """Returns the `Preset` for a data set. Own images have SHORT, with another number of updates: `own_steps`."""
    return PRESETS.get(data, SHORT)


def own_steps(images, batch_size):
    """Returns how many updates a run on so many own images has: a hundred epochs, within bounds."""
    return min(PAPER.schedule.steps, max(SHORT.schedule.steps, 100 * images // batch_size))
