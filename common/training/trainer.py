"""Training from the start to the end: what is built, where it begins, what happens besides, and how it ends.

In a cluster every process does this. The chief reads checkpoints, holds the run folder and reports; the others come to
the same decisions, by figures that are reduced over all processes or that the chief has told them.
"""

import signal
import time

from common import flags
from common.compat import tf
from common.console import say
from common.distributed import consistency
from common.distributed.peers import Beginning, Peers
from common.files import FLAGS
from common.graph import variables
from common.nn import networks
from common.runs import checkpoints, resume
from common.runs.folder import Elsewhere, RunFolder
from common.runs.saver import Keeper
from common.training import callbacks, problem, summaries
from common.training.agreement import Agreement
from common.training.cluster_callbacks import Alignment
from common.training.drift import Drift
from common.training.evaluation import Evaluation
from common.training.loop import train as run_loop
from common.training.nonfinite import Diagnosis, Guard, dropped_before

ADVICE = "For a run of minutes, try --data=digits: real handwritten digits that need no download."


def train(program, settings, dataset, chosen, start, interruption):
    """Trains as the resolved `settings` say, on the devices `chosen`, from a `Start`; returns the exit status."""
    peers = Peers(chosen.cluster)
    if not chosen.cluster.is_chief:
        return _train(program, settings, dataset, chosen, start, interruption, peers)
    with resume.in_folder(program, settings, start) as start:
        return _train(program, settings, dataset, chosen, start, interruption, peers)


def _train(program, settings, dataset, chosen, start, interruption, peers):
    cluster, config = chosen.cluster, chosen.config(settings.log_device_placement)
    if cluster.count > 1:
        peers.meet(config, settings.start_timeout, *consistency.items(settings, dataset, chosen))
    begin = time.perf_counter()
    task = program.problem(settings, dataset)
    training = problem.build(task, chosen.names, cluster=cluster)
    evaluation = Evaluation(task, training.kernels[0], cluster=cluster)
    keeper = Keeper(start.folder, settings.max_to_keep) if cluster.is_chief else None
    with tf.Session(peers.target, config=config) as session:
        diagnosis, drift = Diagnosis(task, training), Drift(training, settings.drift_bound)
        first_callbacks = program.callbacks(settings, session, training)
        peers.prepare()
        initialize = tf.global_variables_initializer()
        tf.get_default_graph().finalize()
        seconds = time.perf_counter() - begin
        session.run(initialize)
        origin = list(_load_all(session, start.checkpoint, chosen)) if start.checkpoint else []
        with peers.watched(session=session):
            peers.share_variables(session)
        first, steps = int(session.run(training.global_step)), program.steps(settings, dataset)
        folder, beginning = _begin(settings, start, first, steps, session, peers)
        done = first >= steps
        _write_head(folder, keeper, program, settings, dataset, chosen, start, origin, training, seconds, done)
        for store in [*training.stores, evaluation.store]:
            store.fill(session)
        clock, last = callbacks.Clock(settings.batch_size), steps - 1
        stop = interruption if cluster.count == 1 else Agreement(interruption, training)
        validate = callbacks.Validate(
            folder, session, evaluation, training.report["lr"], settings.vali_freq, last, clock, drift, stop
        )
        save = callbacks.Save(folder, session, keeper, settings.save_freq, last, clock, start.lock)
        guard = Guard(
            folder, session, diagnosis, settings.nan_policy == "skip", first, last, settings.save_freq,
            checkpoint=lambda: (save.path or start.checkpoint) if cluster.is_chief else f"in {folder.path}",
            before=(beginning.skipped, beginning.in_a_row),
        )  # fmt: skip
        several = cluster.count * len(chosen.names) > 1
        alignment = [Alignment(peers, session, settings.save_freq, last)] if several else []
        everything = [guard, *first_callbacks, validate, *alignment]
        if cluster.is_chief:
            everything = [
                guard,
                callbacks.Progress(training.report, first, steps, settings.batch_size),
                *first_callbacks,
                callbacks.Report(folder, training.report, settings.report_freq, last, clock, guard.counts),
                validate,
                *alignment,
                save,
                *_board(settings, folder.events, task, training, last),
                callbacks.Patience(first, last, "" if settings.data == "digits" else ADVICE),
            ]
        if cluster.count > 1:
            everything = [stop, *everything]

        def rescue(fault):
            with tf.Session(peers.target, config=config) as anew:  # the other one may be closed
                save.use(anew)
                return _rescue(fault, folder, anew, training, diagnosis, save, first)

        with interruption.deferred(), peers.watched(rescue if cluster.is_chief else None, session), guard:
            if first == 0:
                validate.keep_start()
            if beginning.owes:
                validate.catch_up(first - 1, training.global_step)
            if done:
                folder.say(f"{first} updates are done already; a larger --max_steps goes on")
            elif not stop.stopping():
                done = run_loop(session, training.train_op, first, steps, everything, stop)
        status = _end(folder, save, done and not validate.given_up, stop)
        peers.part(session)
    if status and not cluster.is_chief:
        say(f"interrupted; {cluster.name(0)} has saved a checkpoint")
    return status


def _write_head(folder, keeper, program, settings, dataset, chosen, start, origin, training, seconds, done):
    """Writes what a run folder and a log begin with; a process without them says who it is."""
    cluster = chosen.cluster
    if not cluster.is_chief:
        say(f"{cluster.name(cluster.index)} trains too; {cluster.name(0)} reports and saves")
        return
    if not done:  # they are those of the last training
        folder.write(FLAGS, f"# {program.method(settings)}\n{flags.text(settings)}")
    keeper.begin(start.checkpoint)
    for line in start.lines:
        folder.note(line)
    for line in [*_head(program, settings, dataset, chosen, training.kernels[0], seconds), *origin]:
        folder.say(line)


def _begin(settings, start, first, steps, session, peers):
    """Returns the run folder and the chief's `Beginning`; ValueError if there is nothing left to do."""
    if peers.is_chief:
        allowed = first < steps or (settings.resume and start.goes_on)
        folder = RunFolder(start.folder, first, settings.tensorboard) if allowed else None
        owes = allowed and start.goes_on and not folder.measured_before(first - 1, "test")
        dropped = dropped_before(folder, first) if allowed else (0, 0)
        beginning = peers.begin(session, Beginning(allowed, owes, *dropped))
    else:
        folder = Elsewhere(peers.chief)
        beginning = peers.begin(session)
    if not beginning.allowed:
        raise ValueError(
            f"--load={settings.load}: {first} updates are done there; raise --max_steps to go on"
        )
    return folder, beginning


def _board(settings, events, task, training, last):
    """Returns what shows TensorBoard more than the figures."""
    if events is None:
        return []
    return [
        summaries.Sample(events, training.images, task.pipeline),
        summaries.Gradients(events, training.health.gradients, settings.vali_freq, last),
    ]


def _rescue(fault, folder, session, training, diagnosis, save, first):
    """Saves the last whole step of a run that has lost its peers; returns what to say about it."""
    folder.note(f"error: {fault}")
    step = int(session.run(training.global_step)) - 1
    if step < first:
        return "no step was done yet"
    bad = diagnosis.bad_variables(session)
    if bad:
        return f"{bad[0]} is not finite, so nothing was saved"
    save.at(step)
    if save.fault:
        return f"nothing could be saved ({save.fault})"
    return f"{save.path} is saved; start all workers again with --resume --train_path={folder.path}"


def _end(folder, save, complete, interruption):
    """Says how a run has ended; returns the exit status."""
    again = f"go on with --resume --train_path={folder.path}"
    number = None if complete else interruption.signal
    because = f"interrupted by {signal.Signals(number).name}; " if number else ""
    if save.fault:
        line = f"{because}the last checkpoint could not be written ({save.fault}); {again} when it can"
        folder.note(line)
        raise OSError(line)
    if save.faults:
        folder.say(f"{save.faults} of the checkpoints on the way could not be written; the last one is there")
    if number:
        folder.say(f"{because}{again}")
    return 128 + number if number else 0


def _load_all(session, checkpoint, chosen):
    """Gives all replicas the values of a checkpoint, slots included; returns lines that say so."""
    for replica in range(len(chosen.names)):
        model = checkpoints.model_variables(replica)
        names = {variable.op.name for variable in model}
        slots = [variable for variable in variables.saved(replica) if variable.op.name not in names]
        fresh = checkpoints.load(session, checkpoint, model, slots)
    yield f"goes on from {checkpoint}, with step {session.run(variables.global_step())}"
    if fresh:
        yield f"not in it, start afresh: {len(fresh)} optimizer slots ({fresh[0]}, ...)"


def _head(program, settings, dataset, chosen, kernels, seconds):
    title = networks.title(settings.model, settings.depth, settings.widen_factor)
    yield f"data set {dataset.name}: {len(dataset.train_images)} training and {len(dataset.test_images)} test images"
    yield f"network {title} on {chosen.description}, seed {settings.seed}, {program.steps(settings, dataset)} updates"
    if chosen.cluster.count > 1:
        replicas = chosen.cluster.count * len(chosen.names)
        yield f"{chosen.cluster.count} workers, {replicas} replicas: {', '.join(chosen.cluster.workers)}"
    yield from counts(kernels)
    yield f"graph of {len(tf.get_default_graph().get_operations())} nodes, built in {seconds:.1f} s"


def counts(kernels):
    """Yields what there is to train, in three ways of counting; optimizer slots do not count."""
    biases = size_of(variables.with_role(variables.Role.BIAS))
    freedom = sum(kernel.degrees_of_freedom for kernel in kernels.values()) + biases
    yield (
        f"weights: {size_of(variables.trainable())} trainable of {size_of(checkpoints.model_variables())} in all; "
        f"degrees of freedom without gamma and beta: {freedom}"
    )


def size_of(members):
    """Returns how many numbers variables have together."""
    return sum(variable.shape.num_elements() for variable in members)
