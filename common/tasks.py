"""What a program does: train, test a checkpoint, or show the variables."""

import os
import signal
import time

from common import flags, kernels, variables
from common.compat import tf
from common.models import catalogue as networks
from common.training import callbacks, checkpoints, problem
from common.training.drift import Drift
from common.training.evaluate import Evaluation
from common.training.guard import Diagnosis, Guard
from common.training.loop import Interruption, train
from common.training.run_folder import FLAGS, RunFolder, holds_run, new_path, say

ADVICE = "For a run of minutes, try --data=digits: real handwritten digits that need no download."


def _train(program, settings, dataset, chosen, checkpoint):
    path = settings.train_path or new_path(settings.train_dir, *program.words(settings))
    if holds_run(path) and (checkpoint is None or not os.path.samefile(os.path.dirname(checkpoint), path)):
        raise ValueError(f"{path} holds a run already; go on with --load={path}, or choose another --train_path")
    start = time.perf_counter()
    task = program.problem(settings, dataset)
    training, evaluation = problem.build(task, chosen.names), Evaluation(task)
    keeper = checkpoints.Keeper(path, settings.max_to_keep)
    with chosen.session(settings.log_device_placement) as session:
        diagnosis, drift = Diagnosis(task, training), Drift(training, settings.drift_bound)
        first_callbacks = program.callbacks(settings, session, training)
        initialize = tf.global_variables_initializer()
        tf.get_default_graph().finalize()
        seconds = time.perf_counter() - start
        session.run(initialize)
        origin = list(_load_all(session, checkpoint, chosen)) if checkpoint else []
        first, steps = int(session.run(training.global_step)), program.steps(settings, dataset)
        if first >= steps:
            raise ValueError(f"--load={settings.load}: all {steps} updates are done there; raise --max_steps to go on")
        folder = RunFolder(path, first)
        folder.write(FLAGS, f"# {program.method(settings)}\n{flags.text(settings)}")
        for line in [*_head(program, settings, dataset, chosen, seconds), *origin]:
            folder.say(line)
        for store in [*training.stores, evaluation.store]:
            store.fill(session)
        clock, last = callbacks.Clock(settings.batch_size), steps - 1
        rate = training.report["lr"]
        save = callbacks.Save(folder, session, keeper, settings.save_freq, last, clock)
        guard = Guard(
            folder, session, diagnosis, settings.nan_policy == "skip", first, last, settings.save_freq,
            checkpoint=lambda: save.path or checkpoint,
        )
        everything = [
            guard,
            callbacks.Progress(training.report, first, steps, settings.batch_size),
            *first_callbacks,
            callbacks.Report(folder, training.report, settings.report_freq, last, clock, guard.counts),
            callbacks.Validate(folder, session, evaluation, rate, settings.vali_freq, last, clock, drift),
            save,
            callbacks.Patience(first, last, "" if settings.data == "digits" else ADVICE),
        ]
        with Interruption() as interruption, guard:
            try:
                complete = train(session, training.train_op, first, steps, everything, interruption)
            except KeyboardInterrupt:  # the second signal
                folder.say(f"stopped at once; {f'go on with --load={save.path}' if save.path else 'nothing was saved'}")
                return 128 + signal.SIGINT
    if not complete:
        folder.say(f"interrupted by {signal.Signals(interruption.signal).name}; go on with --load={save.path}")
        return 128 + interruption.signal
    return 0


def _test(program, settings, dataset, chosen, checkpoint):
    evaluation = Evaluation(program.problem(settings, dataset))
    with chosen.session(settings.log_device_placement) as session:
        session.run(tf.global_variables_initializer())
        evaluation.store.fill(session)
        checkpoints.load(session, checkpoint, checkpoints.model_variables())
        start = time.perf_counter()
        figures = evaluation.figures(session)
        say(f"validation: {figures} ({time.perf_counter() - start:.1f} s)")
    return 0


def _see(program, settings, dataset, chosen, checkpoint):
    Evaluation(program.problem(settings, dataset))
    with chosen.session(settings.log_device_placement) as session:
        session.run(tf.global_variables_initializer())
        if checkpoint:
            checkpoints.load(session, checkpoint, checkpoints.model_variables())
        for variable in variables.trainable():
            say(f"{program.place(variable):<12} {variable.op.name} {variable.shape.as_list()} {_count([variable])}")
            if settings.verbose:
                say(str(session.run(variable)))
        for line in _counts():
            say(line)
    return 0


def _load_all(session, checkpoint, chosen):
    """Gives all replicas the values of a checkpoint, slots included; returns lines that say so."""
    for replica in range(len(chosen.names)):
        model = checkpoints.model_variables(replica)
        names = {variable.op.name for variable in model}
        slots = [variable for variable in variables.saved(replica) if variable.op.name not in names]
        fresh = checkpoints.load(session, checkpoint, model, slots)
    yield f"goes on from {checkpoint}"
    if fresh:
        yield f"not in it, start afresh: {len(fresh)} optimizer slots ({fresh[0]}, ...)"


def _head(program, settings, dataset, chosen, seconds):
    title = networks.title(settings.model, settings.depth, settings.widen_factor)
    yield f"data set {dataset.name}: {len(dataset.train_images)} training and {len(dataset.test_images)} test images"
    yield f"network {title} on {chosen.description}, seed {settings.seed}, {program.steps(settings, dataset)} updates"
    yield from _counts()
    yield f"graph of {len(tf.get_default_graph().get_operations())} nodes, built in {seconds:.1f} s"


def _counts():
    """What there is to train, in three ways of counting; optimizer slots do not count."""
    weights = variables.with_role(variables.Role.WEIGHT, variables.Role.BIAS)
    matrices = [variable for variable in weights if variable.shape.rank != 4]
    freedom = sum(kernel.degrees_of_freedom for kernel in kernels.of_layers()) + _count(matrices)
    yield (
        f"weights: {_count(variables.trainable())} trainable of {_count(checkpoints.model_variables())} in all; "
        f"degrees of freedom without gamma and beta: {freedom}"
    )


def _count(members):
    return sum(variable.shape.num_elements() for variable in members)


TASKS = {"train": _train, "test": _test, "see": _see}
