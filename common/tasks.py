"""What a program does: train, test a checkpoint, show the variables, or export a network."""

import os
import signal
import time

from common import flags, kernels, resume, variables
from common.compat import tf
from common.models import catalogue as networks
from common.training import board, callbacks, checkpoints, export, filters, problem
from common.training.drift import Drift
from common.training.evaluate import Evaluation
from common.training.guard import Diagnosis, Guard
from common.training.keeper import Keeper
from common.training.loop import train
from common.training.run_folder import FLAGS, RunFolder, say

ADVICE = "For a run of minutes, try --data=digits: real handwritten digits that need no download."


def _train(program, settings, dataset, chosen, start, interruption):
    with resume.in_folder(program, settings, start) as start:
        return _train_in(program, settings, dataset, chosen, start, interruption)


def _train_in(program, settings, dataset, chosen, start, interruption):
    begin = time.perf_counter()
    task = program.problem(settings, dataset)
    training, evaluation = problem.build(task, chosen.names), Evaluation(task)
    keeper = Keeper(start.folder, settings.max_to_keep)
    with chosen.session(settings.log_device_placement) as session:
        diagnosis, drift = Diagnosis(task, training), Drift(training, settings.drift_bound)
        first_callbacks = program.callbacks(settings, session, training)
        initialize = tf.global_variables_initializer()
        tf.get_default_graph().finalize()
        seconds = time.perf_counter() - begin
        session.run(initialize)
        origin = list(_load_all(session, start.checkpoint, chosen)) if start.checkpoint else []
        first, steps = int(session.run(training.global_step)), program.steps(settings, dataset)
        done = first >= steps
        if done and not (settings.resume and start.goes_on):
            raise ValueError(f"--load={settings.load}: all {steps} updates are done there; raise --max_steps to go on")
        folder = RunFolder(start.folder, first, settings.tensorboard)
        folder.write(FLAGS, f"# {program.method(settings)}\n{flags.text(settings)}")
        keeper.begin(start.checkpoint)
        for line in start.lines:
            folder.note(line)
        for line in [*_head(program, settings, dataset, chosen, seconds), *origin]:
            folder.say(line)
        for store in [*training.stores, evaluation.store]:
            store.fill(session)
        clock, last = callbacks.Clock(settings.batch_size), steps - 1
        rate, stopping = training.report["lr"], interruption.stopping
        validate = callbacks.Validate(
            folder, session, evaluation, rate, settings.vali_freq, last, clock, drift, stopping
        )
        save = callbacks.Save(folder, session, keeper, settings.save_freq, last, clock, start.lock)
        guard = Guard(
            folder, session, diagnosis, settings.nan_policy == "skip", first, last, settings.save_freq,
            checkpoint=lambda: save.path or start.checkpoint,
        )
        everything = [
            guard,
            callbacks.Progress(training.report, first, steps, settings.batch_size),
            *first_callbacks,
            callbacks.Report(folder, training.report, settings.report_freq, last, clock, guard.counts),
            validate,
            save,
            *_board(settings, folder.events, task, training, last),
            callbacks.Patience(first, last, "" if settings.data == "digits" else ADVICE),
        ]
        with interruption.deferred(), guard:
            if start.goes_on:
                validate.catch_up(first - 1, training.global_step)
            if done:
                folder.say(f"all {steps} updates are done; a larger --max_steps goes on")
            elif not interruption.stopping():
                done = train(session, training.train_op, first, steps, everything, interruption)
    return _end(folder, save, done and not validate.given_up, interruption)


def _board(settings, events, task, training, last):
    """Returns what shows TensorBoard more than the figures."""
    if events is None:
        return []
    return [
        board.Sample(events, training.images, task.pipeline),
        board.Gradients(events, training.health.gradients, settings.vali_freq, last),
    ]


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


def _test(program, settings, dataset, chosen, start, interruption):
    evaluation = Evaluation(program.problem(settings, dataset))
    with chosen.session(settings.log_device_placement) as session:
        session.run(tf.global_variables_initializer())
        evaluation.store.fill(session)
        checkpoints.load(session, start.checkpoint, checkpoints.model_variables())
        begin = time.perf_counter()
        figures = evaluation.figures(session)
        say(f"validation: {figures} ({time.perf_counter() - begin:.1f} s)")
    return 0


def _export(program, settings, dataset, chosen, start, interruption):
    trained = flags.parsed(resume.flags_beside(start.checkpoint) or flags.text(settings))
    about = {
        "method": program.method(settings),
        "network": networks.title(settings.model, settings.depth, settings.widen_factor),
        "flags": {name: value for name, value in trained.items() if _decides(settings, name)},
    }
    for line in export.export(program.problem(settings, dataset), chosen, start.checkpoint, settings.export_dir, about):
        say(line)
    return 0


def _decides(settings, name):
    """Whether a flag is one of those that decide what is trained."""
    group = settings.on_resume.get(name, flags.Resume.FIXED)
    return group in (flags.Resume.FIXED, flags.Resume.STEERS)


def _see(program, settings, dataset, chosen, start, interruption):
    Evaluation(program.problem(settings, dataset))
    with chosen.session(settings.log_device_placement) as session:
        session.run(tf.global_variables_initializer())
        if start.checkpoint:
            checkpoints.load(session, start.checkpoint, checkpoints.model_variables())
        for variable in variables.trainable():
            say(f"{program.place(variable):<12} {variable.op.name} {variable.shape.as_list()} {_count([variable])}")
            if settings.verbose:
                say(str(session.run(variable)))
        for line in _counts():
            say(line)
        if settings.verbose:
            checkpoint = [os.path.basename(start.checkpoint)] if start.checkpoint else []
            name = "_".join([*program.words(settings), *checkpoint])
            for line in filters.draw(session, settings.train_path or settings.train_dir, name):
                say(line)
    return 0


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


TASKS = {"train": _train, "test": _test, "see": _see, "export": _export}
