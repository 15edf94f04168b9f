"""A command-line program: from its settings to its task (see common/cli/tasks.py), and every error in one line.

The two families of programs, OPT and grassmann, differ in their settings and in the problem that follows from them.
"""

import contextlib
import dataclasses
import functools
import os
import signal
import sys

from common import flags
from common.cli import devices, tasks
from common.cli.settings import OTHER_IMAGES, Common
from common.command import CommandLine
from common.compat import tf
from common.console import complain, one_line, say
from common.data import batches, datasets
from common.data.names import is_own
from common.distributed import cluster
from common.distributed.peers import PeerLost
from common.flags import REFUSED, STEERS
from common.graph import precision, variables
from common.nn import networks
from common.runs import resume
from common.training import export
from common.training.signals import Interruption

_LEAST_VALI_FREQ = 5  # of a run whose --vali_freq is not given


class Program:
    """Base of the two families.

    Attributes:
      settings_class: a dataclass of flags, derived from `Common`.
      paper_data: the data set of the paper: what --data=auto looks for.
      paper_vali_freq: updates between two evaluations of the test set, unless the run is short.
    """

    settings_class = Common
    paper_data = "cifar100"
    paper_vali_freq = 500

    def check(self, settings):
        """Raises ValueError for settings that the program cannot have; before any data are read."""

    def resolve(self, settings, dataset):
        """Returns the settings with every default that depends on the data set filled in."""
        raise NotImplementedError

    def problem(self, settings, dataset):
        """Returns the `Problem` of settings, resolved or not."""
        raise NotImplementedError

    def steps(self, settings, dataset):
        """Returns how many updates the run of resolved settings has."""
        raise NotImplementedError

    def longer_by(self, settings):
        """Returns the flag with which a run of resolved settings would have more updates."""
        return "--max_steps"

    def method(self, settings):
        """Returns what tells runs of equal variables apart that compute different kernels from them."""
        raise NotImplementedError

    def run_name(self, settings):
        """Returns the name of a run's folder, before the time."""
        raise NotImplementedError

    def start_values(self, settings, problem, of_replicas):
        """Returns ({variable: array}, lines): where a run that is given no checkpoint begins, if not at random."""
        return {}, []

    def remarks(self, settings):
        """Returns lines that have to be said about these settings."""
        return []

    def callbacks(self, settings, session, training):
        """Returns callbacks to run before reports, validations and checkpoints."""
        return []

    def mark(self, variable):
        """Returns how task=see marks a trainable variable."""
        return variables.role_of(variable).value


def execute(program, settings, remarks=()):
    """Runs a program; returns the exit status, after one line on standard error for what a user can mend.

    Args:
      program: a `Program`.
      settings: its settings.
      remarks: lines to say besides those of the program.
    """
    try:
        return run(program, settings, remarks)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        complain(
            f"error: out of memory ({one_line(error)}); choose a smaller --batch_size, or a smaller --vali_batch_size "
            "if it was an evaluation, or smaller images or another --model if it was a variable"
        )
        return 1
    except (ValueError, OSError, tf.errors.OpError) as error:
        complain(f"error: {one_line(error)}")
        return 1
    except PeerLost as loss:
        complain(f"error: {loss}")
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(1)  # a thread of TensorFlow's may wait for the peer still
    except KeyboardInterrupt as interrupt:
        complain(f"interrupted by {interrupt or 'SIGINT'}; there was nothing to save")
        return 128 + getattr(interrupt, "signal", signal.SIGINT)


def _with_vali_freq(program, settings, dataset):
    """Returns settings whose vali_freq is a number: the program's own, but at least eight validations a run."""
    eighth = max(_LEAST_VALI_FREQ, -(-program.steps(settings, dataset) // 8))
    return dataclasses.replace(settings, vali_freq=settings.vali_freq or min(program.paper_vali_freq, eighth))


def run(program, settings, remarks=()):
    """Says `remarks` and does the task that `settings` name; returns the exit status."""
    settings.check_task()
    for line in remarks:  # at once: they may explain an error
        say(line)
    if settings.task == "export" or settings.export_dir is not None:
        export.check_folder(settings.task, settings.export_dir)
    resume.check_method(program, settings)
    program.check(settings)
    workers = cluster.find(settings.worker_hosts, settings.task_index, settings.collective_timeout)
    if workers.count > 1 and settings.task != "train":
        raise ValueError(
            f"--task={settings.task} needs one process only: leave --worker_hosts out, and TF_CONFIG unset"
        )
    beginning = resume.beginning(settings) if workers.is_chief else contextlib.nullcontext(resume.Start())
    with Interruption() as interruption, beginning as start:
        dataset = _dataset(program, settings)
        before = resume.begun_by(settings) or ""
        settings = flags.with_earlier(settings, before, dataset.name)
        for line in dataset.remarks:
            complain(line)
        settings, of_images = _with_digest(settings, dataset)
        networks.check_sides(settings.model, *dataset.train_images.shape[1:3])
        settings = program.resolve(settings, dataset)
        if settings.task == "train":
            batches.check_size(settings.batch_size, len(dataset.train_images))
        settings = _with_vali_freq(program, settings, dataset)
        settings.check_share(settings.batch_size, workers.count)
        if settings.xla:
            precision.prepare_xla()
        chosen = devices.choose(settings.device, settings.num_gpus, settings.visible_devices, workers)
        settings, of_precision = _with_precision(settings, before)
        changes = resume.check(program, settings, start)
        if settings.deterministic:
            chosen.be_deterministic()
        lines = [*of_images, *of_precision, *_useless(settings), *program.remarks(settings), *changes]
        lines = [line for line in dict.fromkeys(lines) if line not in remarks]
        if settings.task == "train":
            lines.append(f"{program.method(settings)}, batches of {settings.batch_size} images")
        for line in [chosen.warning, *lines] if chosen.warning else lines:
            say(line)
        lines = (*start.lines, *remarks, *lines)
        start = dataclasses.replace(start, lines=lines, steered_from=_steered_from(settings, start))
        with tf.Graph().as_default():
            return tasks.TASKS[settings.task](program, settings, dataset, chosen, start, interruption)


def _dataset(program, settings):
    """Returns the data set. No other one is taken in place of the paper's to test a checkpoint or to export it."""
    names = ("data_dir", "task", "holdout", "image_size")
    load = functools.partial(datasets.load, **{name: getattr(settings, name) for name in names})
    if settings.data != "auto" or settings.task == "train" or settings.load is None:
        return load(settings.data, default=program.paper_data)
    try:
        return load(program.paper_data)
    except datasets.NotAvailable as error:
        raise ValueError(f"{error}; --data=NAME is the data set that the checkpoint was trained on") from None


def _with_digest(settings, dataset):
    """Returns settings with the sum of own images, and lines on what has changed since a checkpoint was trained."""
    if not is_own(settings.data):
        return settings, []
    before, digest = settings.data_digest, dataset.digest()
    changed = settings.task != "train" and before not in (None, digest)
    lines = [OTHER_IMAGES.format(settings=settings)] if changed else []
    return dataclasses.replace(settings, data_digest=digest), lines


def _with_precision(settings, before):
    """Returns settings with the precision that auto chooses, or chose for the run `before`, and lines about it."""
    name, lines = settings.precision, []
    if name == "auto":
        recorded = flags.parsed(before).get("precision")
        name = recorded or precision.chosen(name)
        lines.append(f"--precision=auto: {name}{', as the run began' if recorded else ''}")
    training = settings.task == "train"
    precision.switch(name if training else "float32")
    if name == "tf32" and training:
        lines.append("TensorFloat-32: the network's products, in validations, too; --task=test is float32")
    return dataclasses.replace(settings, precision=name), lines


def _steered_from(settings, start):
    """Returns the settings of the run whose checkpoint is loaded, if any that steers training was another; or None."""
    before = resume.flags_beside(start.checkpoint)
    if settings.task != "train" or before is None:
        return None
    try:
        found = CommandLine(type(settings), flags.words(before, settings.names(REFUSED, STEERS))).settings()
    except ValueError:  # flags of another program, or of bounds that are no more
        return None
    if all(getattr(found, n) == getattr(settings, n) for n in settings.names(STEERS)):
        return None
    return dataclasses.replace(found, **{n: getattr(settings, n) for n in ("load", "resume", "train_path")})


def _useless(settings):
    useless = [f"--{name} (it needs {what})" for name, what in settings.useless().items()]
    return [f"THESE FLAGS DO NOTHING HERE: {', '.join(useless)}"] if useless else []
