"""A run that would not fit into memory is refused before its graph is built, with what would fit."""

from common.training import memory
from common.training.memory import GIB


def check(program, settings, dataset, chosen):
    """Raises ValueError, in one line, if training with resolved settings takes more memory than there is.

    Args:
      program: a `Program`.
      settings: resolved ones. Their `memory_limit`, in GiB, replaces what the device has; 0 asks nothing.
      dataset: the images.
      chosen: the `Devices`. Where these cannot say what they have, and no limit is given, nothing is refused.
    """
    if settings.memory_limit == 0:
        return
    free, sharing = chosen.memory()
    limit = free if settings.memory_limit is None else settings.memory_limit * GIB
    if limit is None:
        return

    def needs(program, settings):
        return memory.estimate(program.problem(settings, dataset), settings.num_gpus if sharing else 1, enough=limit)

    estimate = needs(program, settings)
    if estimate.total <= limit:
        return
    fitting = list(_fitting(program, settings, estimate, limit, needs))
    source = f"is free on {chosen.description}" if settings.memory_limit is None else "is --memory_limit"
    raise ValueError(
        f"this training takes about {estimate.total / GIB:.3g} GiB ({estimate}) and {limit / GIB:.3g} GiB {source}; "
        f"would fit: {', '.join(fitting) or 'none of the methods and batch sizes here'}; --memory_limit=0 tries "
        "nevertheless"
    )


def _fitting(program, settings, estimate, limit, needs):
    """Yields the words of the largest of the smaller batches that fits, and of each method that does.

    A smaller batch has at least its share of the activations, so that most of them need not be looked at.
    """
    found = False
    for words, other, changed in program.alternatives(settings):
        share = changed.batch_size / settings.batch_size
        if share < 1 and (found or estimate.total - (1 - share) * estimate.activations > limit):
            continue
        if needs(other, changed).total <= limit:
            found = found or share < 1
            yield words
