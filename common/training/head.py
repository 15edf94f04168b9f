"""What a run's log begins with: the data, the network, what is trained and whether it fits, the learning rates."""

import os

from common.compat import tf
from common.graph import variables
from common.nn.names import network_name
from common.runs import checkpoints


def known_before(program, settings, dataset, chosen):
    """Yields what is known before the graph is built."""
    title = network_name(settings.model, settings.depth, settings.widen_factor)
    yield from dataset.lines()
    fresh = f", made anew from {settings.bn_batches} training batches at the end" if settings.fresh_batches() else ""
    yield f"batch norm's averages: decay {settings.bn_decay:.4g}{fresh}"
    steps = program.steps(settings, dataset)
    yield f"network {title} on {chosen.description}, seed {settings.seed}, {steps} updates"
    if settings.warmup_steps > steps:
        warmup = f"--warmup_steps={settings.warmup_steps}"
        yield f"THE LEARNING RATES STAY BELOW THEIR FULL HEIGHT: {warmup} is more than the {steps} updates of the run"
    if chosen.cluster.count > 1:
        replicas = chosen.cluster.count * len(chosen.names)
        yield f"{chosen.cluster.count} workers, {replicas} replicas: {', '.join(chosen.cluster.workers)}"


def of_graph(problem, training, seconds):
    """Yields what is known when the graph is built, which took some seconds."""
    yield f"training images: {problem.pipeline}"
    yield counts(training.kernels[0])
    yield f"graph of {len(tf.get_default_graph().get_operations())} nodes, built in {seconds:.1f} s"


def rates(session, training, first, steps, before):
    """Yields the learning rates of the whole run, and how they change where the run goes on.

    Args:
      session: the session.
      training: a `Training`.
      first: the first update.
      steps: how many updates the run has.
      before: {name: learning rate of `training.step`} of the run that goes on, if that had others; else {}.
    """
    numbers = [session.run(training.rates, {training.step: step}) for step in (0, steps // 2, steps - 1)]
    texts = [f"{name} {', '.join(f'{own[name]:g}' for own in numbers)}" for name in training.rates]
    yield f"learning rates of the first, the middle and the last update: {'; '.join(texts)}"
    old, new = session.run([before, training.rates], {training.step: first})
    others = [name for name in old if old[name] != new.get(name, old[name])]
    changed = [f"{name} {old[name]:g} before, {new[name]:g} now" for name in others]
    if changed:
        yield f"LEARNING RATES CHANGED at update {first}: {'; '.join(changed)}"


def counts(kernels):
    """Returns what there is to train, in three ways of counting; optimizer slots do not count."""
    biases = size_of(variables.with_role(variables.Role.BIAS))
    freedom = sum(kernel.degrees_of_freedom for kernel in kernels.values()) + biases
    return (
        f"weights: {size_of(variables.trainable())} trainable of {size_of(checkpoints.model_variables())} in all; "
        f"degrees of freedom without gamma and beta: {freedom}"
    )


def check_memory(replicas, memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
    """Raises ValueError if variables and gradients of `replicas` on the CPU have more bytes than this machine's memory.

    Linux would end the process without a word. A rotation of n inputs has n x n numbers, and fc6 sees a whole image.
    """
    trained = variables.trainable()
    needed = sum(map(_bytes, tf.global_variables())) + replicas * sum(map(_bytes, trained))
    if needed > memory:
        largest = max(trained, key=_bytes)
        raise ValueError(
            f"variables and gradients take {needed / 2**30:.3g} GiB, and this machine has {memory / 2**30:.3g}; the "
            f"largest is {largest.op.name} {largest.shape.as_list()}: choose smaller images (--image_size for "
            "pictures) or another --model"
        )


def _bytes(variable):
    return variable.shape.num_elements() * variable.dtype.size


def size_of(members):
    """Returns how many numbers variables have together."""
    return sum(variable.shape.num_elements() for variable in members)
