"""Flags of sopt_gs."""

import dataclasses

from common.cli.settings import ROTATES, OptSettings
from common.flags import STEERS, option


@dataclasses.dataclass(frozen=True)
class EpisodeSettings(OptSettings):
    """Flags of sopt_gs."""

    map: str = option(
        "gs", "what rotates the dimensions: Gram-Schmidt, Householder, Löwdin or the Cayley transform",
        ("gs", "hr", "ls", "cp"),
    )  # fmt: skip
    max_steps: int | None = option(
        None, "ends the run early; the paper's schedule follows the episodes", minimum=1, on_resume=STEERS
    )
    episodes: int | None = option(
        None, "episodes of the run; 400 on CIFAR", minimum=1, on_resume=STEERS, needs=ROTATES, replaces="max_steps"
    )
    episode_steps: int | None = option(None, "updates of an episode; 750 on CIFAR", minimum=1, needs=ROTATES)
    sample_ratio: float = option(
        0.25, "share of a layer's input channels rotated at a time", above=0, maximum=1, needs=ROTATES
    )
