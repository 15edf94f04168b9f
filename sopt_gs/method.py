"""Stochastic OPT, with any map."""

import dataclasses

from common.cli.presets import preset_of
from common.cli.recipe import Method, by_algorithm
from common.nn.kernels import by_place, identity_of, rotated
from common.nn.schedules import StepDecay
from sopt_gs.maps import MAPS
from sopt_gs.settings import EpisodeSettings
from sopt_gs.subset import Episodes, SubsetRotated

# Episodes of a run and updates of an episode.
PAPER = (400, 750)
SHORT = (20, 25)
EPISODES = {**dict.fromkeys(("cifar100", "cifar10", "svhn"), PAPER), "fashion_mnist": (40, 50)}
_DROPS = (0.40, 0.65, 0.85)  # shares of the episodes after which the rate drops to a tenth


class StochasticOpt(Method):
    """Every layer but the first rotates a random quarter of its input dimensions, for an episode at a time.

    The first conv, with the three channels of the image, is rotated in full, by the same map, from the identity too.

    Args:
      name: of the map, one of `MAPS`.
    """

    settings_class = EpisodeSettings

    def __init__(self, name="gs"):
        rotate = MAPS[name]
        title, factories = "sopt_gs" if name == "gs" else f"sopt_gs-{name}", by_algorithm(rotate)
        super().__init__(title, rotate, factories=factories, fashion_lr=0.2)

    def check(self, settings):
        if settings.rotation != "method" and settings.map != "gs":
            text = f"--map={settings.map}: --rotation={settings.rotation} has no map; leave one of the two out"
            raise ValueError(text)
        super().check(settings)

    def of(self, settings):
        method = super().of(settings)
        return StochasticOpt(settings.map) if method is self else method

    def factory_of(self, settings):
        rotate = self.factories[settings.map_algorithm]
        return by_place(SubsetRotated(rotate, settings.sample_ratio), first=rotated(rotate, identity_of(rotate)))

    def schedule(self, settings):
        """The paper's rate follows the episodes; --max_steps only ends the run early."""
        steps = _updates(settings)
        boundaries = tuple(round(share * settings.episodes) * settings.episode_steps for share in _DROPS)
        return StepDecay(min(steps, settings.max_steps or steps), boundaries, factor=0.1)

    def resolve(self, settings, dataset):
        if settings.rotation == "method":
            settings = self._with_episodes(settings, dataset)
        return super().resolve(settings, dataset)

    def _with_episodes(self, settings, dataset):
        episodes, episode_steps = EPISODES.get(dataset.name, SHORT)
        episode_steps = settings.episode_steps or episode_steps
        steps = super().usual_steps(dataset, settings.batch_size or preset_of(dataset.name).batch_size)
        if steps is not None:
            episodes = max(1, steps // episode_steps)
        return dataclasses.replace(settings, episodes=settings.episodes or episodes, episode_steps=episode_steps)

    def usual_steps(self, dataset, batch_size):
        return None  # the episodes know

    def longer_by(self, settings):
        by_episodes = settings.rotation == "method" and self.steps(settings, None) == _updates(settings)
        return "--episodes" if by_episodes else super().longer_by(settings)

    def callbacks(self, settings, session, training):
        if settings.rotation != "method":
            return []
        return [Episodes(session, training, settings.episode_steps)]


def _updates(settings):
    return settings.episodes * settings.episode_steps
