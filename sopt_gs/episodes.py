"""The outer loop of stochastic OPT."""

from common.compat import tf
from common.training.callbacks import Callback
from sopt_gs.subset import merge


class Episodes(Callback):
    """Merges every `episode_steps` updates: turned kernels become W0, a new subset is drawn.

    Args:
      session: of the training graph, whose train_op has been built: the slots must be there.
      step: the number of updates done, a variable; the episode that begins is step // episode_steps.
      episode_steps: updates of an episode.
      optimizers: those that train the generators, one for each replica.
    """

    def __init__(self, session, step, episode_steps, optimizers):
        self._session, self._episode_steps = session, episode_steps
        episode = step // episode_steps
        self._merge = tf.group(*[merge(episode, optimizer, replica) for replica, optimizer in enumerate(optimizers)])

    def after_step(self, step, values):
        if (step + 1) % self._episode_steps == 0:
            self._session.run(self._merge)
