"""What a program does: train (see common/training_task.py), test a checkpoint, or show the variables."""

import time

from common import variables
from common.compat import tf
from common.training import checkpoints
from common.training.evaluate import Evaluation
from common.training.run_folder import say
from common.training_task import counts, size_of, train


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


def _see(program, settings, dataset, chosen, start, interruption):
    Evaluation(program.problem(settings, dataset))
    with chosen.session(settings.log_device_placement) as session:
        session.run(tf.global_variables_initializer())
        if start.checkpoint:
            checkpoints.load(session, start.checkpoint, checkpoints.model_variables())
        for variable in variables.trainable():
            say(f"{program.place(variable):<12} {variable.op.name} {variable.shape.as_list()} {size_of([variable])}")
            if settings.verbose:
                say(str(session.run(variable)))
        for line in counts():
            say(line)
    return 0


TASKS = {"train": train, "test": _test, "see": _see}
