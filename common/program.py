"""A command-line program: settings, data, graph, and the tasks train, test and see.

The two families of programs, OPT and grassmann, differ in their settings and in the problem that follows from them;
everything from the first flag to the last checkpoint is here.
"""

import dataclasses
import os
import signal
import sys
import time

from absl import app
from absl import flags as absl_flags

from common import devices, flags, kernels, variables
from common.compat import tf
from common.data import catalogue
from common.models import catalogue as networks
from common.training import callbacks, checkpoints, problem
from common.training.evaluate import Evaluation
from common.training.loop import Interruption, train
from common.training.run_folder import RunFolder, new_path, say

absl_flags.disclaim_key_flags()  # so that --help lists them under the script that is run

TASKS = ("train", "test", "see")
ADVICE = "For a run of minutes, try --data=digits: real handwritten digits that need no download."


@dataclasses.dataclass(frozen=True)
class Common(flags.Checked):
    """The flags that all programs share."""

    task: str = flags.option("train", "what to do: train, test a checkpoint, or see the variables", TASKS)
    data: str = flags.option("auto", "data set; auto is the paper's if it can be had, else digits", catalogue.NAMES)
    data_dir: str = flags.option(catalogue.DEFAULT_DATA_DIR, "folder that holds data sets")
    depth: int = flags.option(10, "depth of resnet, 6n + 4", minimum=10)
    widen_factor: int = flags.option(1, "widening factor of resnet", minimum=1)
    vali_batch_size: int = flags.option(250, "images evaluated at once", minimum=1)
    max_steps: int | None = flags.option(None, "updates of the run; the schedule stretches in proportion", minimum=1)
    momentum: float = flags.option(0.9, "momentum of the optimizers", minimum=0, below=1)
    seed: int = flags.option(0, "everything random follows from it", minimum=0, maximum=2**31 - 1)
    report_freq: int = flags.option(100, "updates between two reports of training figures", minimum=1)
    vali_freq: int = flags.option(500, "updates between two evaluations of the test set", minimum=1)
    save_freq: int = flags.option(5000, "updates between two checkpoints", minimum=1)
    max_to_keep: int = flags.option(3, "newest checkpoints kept", minimum=1)
    train_dir: str = flags.option("./logs/", "folder under which a run makes its own")
    train_path: str | None = flags.option(None, "the run's folder itself, instead of one under train_dir")
    load: str | None = flags.option(None, "checkpoint, or run folder meaning its newest, to test or to go on from")
    device: str = flags.option("auto", "auto takes a GPU if there is one", ("auto", "gpu", "cpu"))
    num_gpus: int = flags.option(1, "devices that share each batch", minimum=1)
    visible_devices: str | None = flags.option(None, "numbers of the GPUs that may be used, as in 0,1", alias="gpu_no")
    log_device_placement: bool = flags.option(False, "print on which device each operation runs")
    verbose: bool = flags.option(False, "task=see also prints values")


class Program:
    """Base of the two families.

    Attributes:
      settings_class: a dataclass of flags, derived from `Common`.
      paper_data: the data set of the paper: what --data=auto looks for.
    """

    settings_class = Common
    paper_data = "cifar100"

    def resolve(self, settings, dataset):
        """Returns the settings with every default that depends on the data set filled in."""
        raise NotImplementedError

    def problem(self, settings, dataset):
        """Returns the `Problem` of settings, resolved or not."""
        raise NotImplementedError

    def steps(self, settings, dataset):
        """Returns how many updates the run of resolved settings has."""
        raise NotImplementedError

    def words(self, settings):
        """Returns the words of which a run folder's name consists, before the time."""
        raise NotImplementedError

    def remarks(self, settings):
        """Returns lines that have to be said about these settings."""
        return []

    def callbacks(self, settings, session, training):
        """Returns callbacks to run before reports, validations and checkpoints."""
        return []

    def place(self, variable):
        """Returns how task=see marks a trainable variable."""
        return variables.role_of(variable).value


def main(program):
    """Runs `program` with the flags of the command line and ends the process; bad input in one line, status 1."""
    flags.define(program.settings_class)
    app.run(lambda arguments: sys.exit(_run(program, arguments)))


def _run(program, arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected argument {arguments[1]!r}: flags are written --name=value")
        return run(program, flags.read(program.settings_class))
    except (ValueError, OSError, tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError) as error:
        message = getattr(error, "message", None) or str(error)
        print(f"error: {message.strip().splitlines()[0]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted before the first update; nothing was lost", file=sys.stderr)
        return 128 + signal.SIGINT


def run(program, settings):
    """Does the task that `settings` name; returns the exit status."""
    if settings.task == "test" and settings.load is None:
        raise ValueError("--task=test needs --load=PATH: a checkpoint, or a run folder meaning its newest")
    checkpoint = checkpoints.find(settings.load) if settings.load else None
    dataset = catalogue.load(settings.data, settings.data_dir, program.paper_data)
    settings = program.resolve(settings, dataset)
    chosen = devices.choose(settings.device, settings.num_gpus, settings.visible_devices)
    for line in [chosen.warning, *program.remarks(settings)]:
        if line:
            say(line)
    with tf.Graph().as_default():
        task = {"train": _train, "test": _test, "see": _see}[settings.task]
        return task(program, settings, dataset, chosen, checkpoint)


def _train(program, settings, dataset, chosen, checkpoint):
    start = time.perf_counter()
    task = program.problem(settings, dataset)
    training, evaluation = problem.build(task, chosen.names), Evaluation(task)
    folder = RunFolder(settings.train_path or new_path(settings.train_dir, *program.words(settings)))
    folder.write("flags.txt", flags.text(settings))
    keeper = checkpoints.Keeper(folder.path, settings.max_to_keep)
    with chosen.session(settings.log_device_placement) as session:
        first_callbacks = program.callbacks(settings, session, training)
        initialize = tf.global_variables_initializer()
        tf.get_default_graph().finalize()
        seconds = time.perf_counter() - start
        for line in _head(program, settings, dataset, chosen, seconds):
            folder.say(line)
        session.run(initialize)
        for store in [*training.stores, evaluation.store]:
            store.fill(session)
        if checkpoint:
            _load_all(session, checkpoint, chosen, folder)
        first, steps = int(session.run(training.global_step)), program.steps(settings, dataset)
        if first >= steps:
            raise ValueError(f"--load={settings.load}: all {steps} updates are done there; raise --max_steps to go on")
        clock = callbacks.Clock(settings.batch_size)
        save = callbacks.Save(folder, session, keeper, settings.save_freq, clock)
        everything = [
            callbacks.Progress(training.report, first, steps, settings.batch_size),
            *first_callbacks,
            callbacks.Report(folder, training.report, settings.report_freq, steps - 1, clock),
            callbacks.Validate(folder, session, evaluation, settings.vali_freq, clock),
            save,
            callbacks.Patience(first, steps - 1, "" if settings.data == "digits" else ADVICE),
        ]
        with Interruption() as interruption:
            train(session, training.train_op, first, steps, everything, interruption)
    if interruption.signal:
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


def _load_all(session, checkpoint, chosen, folder):
    for replica in range(len(chosen.names)):
        model = checkpoints.model_variables(replica)
        names = {variable.op.name for variable in model}
        slots = [variable for variable in variables.saved(replica) if variable.op.name not in names]
        fresh = checkpoints.load(session, checkpoint, model, slots)
    folder.say(f"goes on from {checkpoint}")
    if fresh:
        folder.say(f"not in it, start afresh: {len(fresh)} optimizer slots ({fresh[0]}, ...)")


def _head(program, settings, dataset, chosen, seconds):
    title = networks.title(settings.model, settings.depth, settings.widen_factor)
    yield f"data set {dataset.name}: {len(dataset.train_images)} training and {len(dataset.test_images)} test images"
    yield f"network {title} on {chosen.description}, seed {settings.seed}, {program.steps(settings, dataset)} updates"
    yield from _counts()
    yield f"graph of {len(tf.get_default_graph().get_operations())} nodes, built in {seconds:.1f} s"


def _counts():
    """What there is to train, in three ways of counting."""
    everything = [variable for variable in variables.saved() if variable in set(checkpoints.model_variables())]
    weights = variables.with_role(variables.Role.WEIGHT, variables.Role.BIAS)
    matrices = [variable for variable in weights if variable.shape.rank != 4]
    freedom = sum(kernel.degrees_of_freedom for kernel in kernels.of_layers()) + _count(matrices)
    yield (
        f"weights: {_count(variables.trainable())} trainable of {_count(everything)} in all; "
        f"degrees of freedom without gamma and beta: {freedom}"
    )


def _count(members):
    return sum(variable.shape.num_elements() for variable in members)
