"""A command-line program: from its flags to its task (see common/cli/tasks.py), and every error in one line.

The two families of programs, OPT and grassmann, differ in their settings and in the problem that follows from them.
"""

import contextlib
import dataclasses
import os
import re
import sys

from absl import flags as absl_flags

from common import flags
from common.cli import devices, run_flags, tasks
from common.command import run_with_flags
from common.compat import tf
from common.console import one_line, say
from common.data import datasets
from common.distributed import cluster
from common.distributed.peers import PeerLost
from common.graph import precision, variables
from common.runs import resume
from common.training import export
from common.training.signals import Interrupted, Interruption

absl_flags.disclaim_key_flags()  # so that --help lists them under the script that is run

_DEVICE_LIST = r"-1|(\d+|GPU-[\w-]+|MIG-[\w/-]+)(,(\d+|GPU-[\w-]+|MIG-[\w/-]+))*"  # numbers, or NVIDIA's own names


@dataclasses.dataclass(frozen=True)
class Common(flags.Checked):
    """The flags that all programs share."""

    task: str = flags.option("train", "train, test a checkpoint, see variables or export a network", tuple(tasks.TASKS))
    data: str = flags.option("auto", "data set; auto is the paper's if it can be had, else digits", datasets.NAMES)
    data_dir: str = flags.option(datasets.DEFAULT_DATA_DIR, "folder that holds data sets")
    depth: int = flags.option(10, "depth of resnet, 6n + 4", minimum=10)
    widen_factor: int = flags.option(1, "widening factor of resnet", minimum=1)
    vali_batch_size: int = flags.option(250, "images evaluated at once", minimum=1)
    max_steps: int | None = flags.option(None, "updates of the run; the schedule stretches in proportion", minimum=1)
    momentum: float = flags.option(0.9, "momentum of the optimizers", minimum=0, below=1)
    lr_scale: str = flags.option(
        "none", "linear multiplies all learning rates by batch_size / the recipe's batch size", ("none", "linear")
    )
    warmup_steps: int = flags.option(0, "first updates, over which the learning rates rise", minimum=0)
    nan_policy: str = flags.option(
        "stop", "what a loss or gradient that is not finite does: stop the run, or skip the step", ("stop", "skip")
    )
    drift_bound: float | None = flags.option(
        None, "drift of orthogonal matrices and unit neurons above which they are repaired", above=0
    )
    seed: int = flags.option(0, "everything random follows from it", minimum=0, maximum=2**31 - 1)
    report_freq: int = flags.option(100, "updates between two reports of training figures", minimum=1)
    vali_freq: int = flags.option(500, "updates between two evaluations of the test set", minimum=1)
    save_freq: int = flags.option(5000, "updates between two checkpoints", minimum=1)
    max_to_keep: int = flags.option(3, "newest checkpoints kept", minimum=1)
    train_dir: str = flags.option("./logs/", "folder under which a run makes its own")
    train_path: str | None = flags.option(None, "the run's folder itself, instead of one under train_dir")
    load: str | None = flags.option(None, "checkpoint, or run folder meaning its newest: to test, export or go on from")
    export_dir: str | None = flags.option(None, "folder that task=export makes, for a SavedModel")
    device: str = flags.option("auto", "auto takes a GPU if there is one", ("auto", "gpu", "cpu"))
    num_gpus: int = flags.option(
        1, "devices of this machine that share each batch; virtual ones of the CPU if there is no GPU", minimum=1
    )
    sync_bn: bool = flags.option(True, "several devices: batch norm over the whole batch, not over each one's share")
    visible_devices: str | None = flags.option(None, "numbers of the GPUs that may be used, as in 0,1", alias="gpu_no")
    precision: str = flags.option("float32", "what the network is trained in; updates are float32", precision.NAMES)
    loss_scale: float | None = flags.option(None, "factor of the loss on its way back; float16 1024, else 1", above=0)
    xla: bool = flags.option(False, "compile the network's training pass with XLA")
    log_device_placement: bool = flags.option(False, "print on which device each operation runs")
    tensorboard: bool = flags.option(True, "write event files for TensorBoard into the run's folder")
    verbose: bool = flags.option(False, "task=see also prints values, and draws the first layer's filters")
    resume: bool = flags.option(False, "go on with the newest good checkpoint in train_path; with none there, start")
    worker_hosts: str | None = flags.option(None, "HOST:PORT of each process that trains with others, with commas")
    task_index: int | None = flags.option(None, "which of worker_hosts this process is, from 0", minimum=0)
    start_timeout: float = flags.option(300.0, "seconds for which a worker waits for the others to start", above=0)
    collective_timeout: float = flags.option(
        cluster.TIMEOUT_SECONDS, "seconds for which a worker waits for the others in a step", above=0
    )

    on_resume = flags.on_resume(
        steers=(
            "max_steps", "lr_scale", "warmup_steps", "nan_policy", "drift_bound", "precision", "loss_scale", "xla",
            "sync_bn",
        ),
        free=run_flags.FREE,
        place=run_flags.PLACE,
    )  # fmt: skip
    per_worker = run_flags.PER_WORKER

    def __post_init__(self):
        super().__post_init__()
        if self.resume and self.task == "train" and self.train_path is None:
            raise ValueError("--resume needs --train_path=FOLDER, the folder of the run that is to go on")
        if self.visible_devices is not None and not re.fullmatch(_DEVICE_LIST, self.visible_devices):
            raise ValueError(f"--visible_devices={self.visible_devices}: expected numbers of GPUs, as in 0,1")

    def of_problem(self):
        """Returns the fields of a `Problem` that are flags of all programs."""
        names = ("vali_batch_size", "seed", "nan_policy", "precision", "loss_scale", "xla", "sync_bn")
        return {name: getattr(self, name) for name in names}

    def check_network(self):
        """Raises ValueError if the network cannot be as deep as is asked."""
        if self.model == "resnet" and (self.depth - 4) % 6:
            raise ValueError(f"--depth={self.depth}: resnet has depth 6n + 4 (10, 16, 22, ...), not {self.depth}")

    def check_share(self, batch_size, workers=1):
        """Raises ValueError if a batch of so many images cannot be shared by the devices of so many processes."""
        count = self.num_gpus * workers
        if batch_size % count:
            of = f" of {workers} workers" if workers > 1 else ""
            raise ValueError(
                f"--num_gpus={self.num_gpus}: a batch of {batch_size} cannot be split evenly over {count} devices{of}; "
                f"choose a --batch_size that is a multiple of {count}"
            )


class Program:
    """Base of the two families.

    Attributes:
      settings_class: a dataclass of flags, derived from `Common`.
      paper_data: the data set of the paper: what --data=auto looks for.
    """

    settings_class = Common
    paper_data = "cifar100"

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

    def method(self, settings):
        """Returns what tells runs of equal variables apart that compute different kernels from them."""
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
    run_with_flags(lambda arguments: _run(program, arguments))


def _run(program, arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected argument {arguments[1]!r}: flags are written --name=value")
        return run(program, flags.read(program.settings_class))
    except (ValueError, OSError, MemoryError, tf.errors.OpError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except PeerLost as loss:
        print(f"error: {loss}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # a thread of TensorFlow's may wait for the peer still
    except Interrupted as interrupt:
        print(f"interrupted by {interrupt}; there was nothing to save", file=sys.stderr)
        return 128 + interrupt.signal


def run(program, settings):
    """Does the task that `settings` name; returns the exit status."""
    if settings.task in ("test", "export") and settings.load is None:
        raise ValueError(f"--task={settings.task} needs --load=PATH: a checkpoint, or a run folder meaning its newest")
    if settings.task == "export" or settings.export_dir is not None:
        export.check_place(settings.task, settings.export_dir)
    program.check(settings)
    workers = cluster.find(settings.worker_hosts, settings.task_index, settings.collective_timeout)
    if workers.count > 1 and settings.task != "train":
        raise ValueError(
            f"--task={settings.task} needs one process only: leave --worker_hosts out, and TF_CONFIG unset"
        )
    beginning = resume.beginning(settings) if workers.is_chief else contextlib.nullcontext(resume.Start())
    with Interruption() as interruption, beginning as start:
        dataset = datasets.load(settings.data, settings.data_dir, program.paper_data)
        settings = program.resolve(settings, dataset)
        settings.check_share(settings.batch_size, workers.count)
        changes = resume.check(program, settings, start)
        chosen = devices.choose(settings.device, settings.num_gpus, settings.visible_devices, workers)
        for line in [chosen.warning, *program.remarks(settings), *changes]:
            if line:
                say(line)
        start = dataclasses.replace(start, lines=(*start.lines, *changes))
        with tf.Graph().as_default():
            return tasks.TASKS[settings.task](program, settings, dataset, chosen, start, interruption)
