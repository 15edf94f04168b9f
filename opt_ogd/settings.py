"""Flags of opt_ogd."""

import dataclasses

from common.cli.settings import ROTATES, OptSettings
from common.flags import STEERS, option


@dataclasses.dataclass(frozen=True)
class OgdSettings(OptSettings):
    """Flags of opt_ogd."""

    # REFUSED, as each of the two keeps a momentum of its own.
    map_algorithm: str = option("auto", "coordinates of the step: relative, which auto is too, or published")
    rotation_lr: float | None = option(
        None, "learning rate of the orthogonal matrices at the start; 0.02, on Fashion-MNIST 0.2", above=0,
        on_resume=STEERS, needs=ROTATES,
    )  # fmt: skip
