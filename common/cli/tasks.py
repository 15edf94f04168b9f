"""What a program does: train (see common/training/trainer.py), test a checkpoint, show the variables, or
export a network."""

import os
import time

from common import flags
from common.compat import tf
from common.console import say
from common.flags import ANY, CALL
from common.graph import variables
from common.nn.names import network_name
from common.runs import checkpoints, folder, resume
from common.training import export, filters
from common.training.evaluation import Evaluation, opened
from common.training.head import counts, size_of
from common.training.trainer import train


def _test(program, settings, dataset, chosen, start, interruption):
    problem, batches = program.problem(settings, dataset), settings.fresh_batches()
    with opened(problem, chosen, start.checkpoint, batches, settings.log_device_placement) as (session, evaluation):
        say(f"{start.checkpoint}: {evaluation.store.size} {evaluation.split} images of {dataset.name}")
        begin = time.perf_counter()
        metrics = evaluation.metrics(session)
        on = "" if evaluation.split == "test" else f" on the {evaluation.split}, for there is no test part"
        say(f"validation{on}: {metrics} ({time.perf_counter() - begin:.1f} s)")
    return 0


def _export(program, settings, dataset, chosen, start, interruption):
    trained = flags.parsed(resume.flags_beside(start.checkpoint) or flags.text(settings))
    others = settings.names(ANY, CALL)  # do not decide what is trained
    about = {
        "method": program.method(settings),
        "network": network_name(settings.model, settings.depth, settings.widen_factor),
        "flags": {name: value for name, value in trained.items() if name not in others},
    }
    form, batches = export.form_of(settings.export_format, settings.fold), settings.fresh_batches()
    about |= {"statistics": f"made anew from {batches} training batches"} if batches else {}
    problem = program.problem(settings, dataset)
    for line in export.export(problem, chosen, start.checkpoint, settings.export_dir, about, form, batches):
        say(line)
    return 0


def _see(program, settings, dataset, chosen, start, interruption):
    evaluation = Evaluation(program.problem(settings, dataset))
    with chosen.session(settings.log_device_placement) as session:
        session.run(tf.global_variables_initializer())
        if start.checkpoint:
            checkpoints.load(session, start.checkpoint, checkpoints.model_variables())
        for variable in variables.trainable():
            say(f"{program.mark(variable):<12} {variable.op.name} {variable.shape.as_list()} {size_of([variable])}")
            if settings.verbose:
                say(str(session.run(variable)))
        for line in [counts(evaluation.kernels), *_rotated(session, start.checkpoint)]:
            say(line)
        if settings.verbose:
            of_run = os.path.abspath(start.checkpoint).split(os.sep)[-2:] if start.checkpoint else []
            name = "_".join(of_run) or program.run_name(settings)
            for line in filters.draw(session, evaluation.kernels, settings.train_path or settings.train_dir, name):
                say(line)
    return 0


def _rotated(session, checkpoint):
    """Yields how far the last reported update before a checkpoint has rotated each layer, where its run says so."""
    if checkpoint:
        step = int(session.run(variables.global_step())) - 1
        found = folder.last_measured(os.path.dirname(checkpoint), "rotated", step)
        yield from (f"change of Q W0 by an update: {scope} {value:.1e}" for scope, value in found.items())


TASKS = {"train": train, "test": _test, "see": _see, "export": _export}
