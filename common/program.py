"""A command-line program: from its flags to its task (see common/tasks.py), and every error in one line.

The two families of programs, OPT and grassmann, differ in their settings and in the problem that follows from them.
"""

import dataclasses
import os
import re
import signal
import sys

from absl import app
from absl import flags as absl_flags

from common import devices, flags, tasks, variables
from common.compat import tf
from common.data import catalogue
from common.training import checkpoints
from common.training.run_folder import FLAGS, say

absl_flags.disclaim_key_flags()  # so that --help lists them under the script that is run


_DEVICE_LIST = r"-1|(\d+|GPU-[\w-]+|MIG-[\w/-]+)(,(\d+|GPU-[\w-]+|MIG-[\w/-]+))*"  # numbers, or NVIDIA's own names


_LONGEST_LINE = 1000  # characters of an error: a flag of a million digits is not to be repeated in full


@dataclasses.dataclass(frozen=True)
class Common(flags.Checked):
    """The flags that all programs share."""

    task: str = flags.option("train", "what to do: train, test a checkpoint, or see the variables", tuple(tasks.TASKS))
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

    def __post_init__(self):
        super().__post_init__()
        if self.visible_devices is not None and not re.fullmatch(_DEVICE_LIST, self.visible_devices):
            raise ValueError(f"--visible_devices={self.visible_devices}: expected numbers of GPUs, as in 0,1")

    def check_network(self):
        """Raises ValueError if the network cannot be as deep as is asked."""
        if self.model == "resnet" and (self.depth - 4) % 6:
            raise ValueError(f"--depth={self.depth}: resnet has depth 6n + 4 (10, 16, 22, ...), not {self.depth}")

    def check_share(self, batch_size):
        """Raises ValueError if a batch of so many images cannot be shared by the devices."""
        if batch_size % self.num_gpus:
            raise ValueError(
                f"--num_gpus={self.num_gpus}: a batch of {batch_size} cannot be split evenly over {self.num_gpus} "
                f"devices; choose a --batch_size that is a multiple of {self.num_gpus}"
            )


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
    app.run(lambda arguments: sys.exit(_run(program, arguments)), flags_parser=_parse)


def _parse(arguments):
    try:
        return absl_flags.FLAGS(arguments)
    except (absl_flags.Error, ValueError, OSError) as error:  # the latter two: a --flagfile that cannot be read
        print(f"error: {one_line(error)}; --help lists the flags", file=sys.stderr)
        sys.exit(1)


def _run(program, arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected argument {arguments[1]!r}: flags are written --name=value")
        return run(program, flags.read(program.settings_class))
    except (ValueError, OSError, MemoryError, tf.errors.OpError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def one_line(error):
    """Returns what an error says in one line: of TensorFlow's report of many, what failed and where in the graph."""
    lines = [line.strip() for line in (getattr(error, "message", None) or str(error)).splitlines() if line.strip()]
    nodes = [index for index, line in enumerate(lines[:-1]) if line.startswith("Node: ")]
    if not nodes:
        return lines[0][:_LONGEST_LINE] if lines else type(error).__name__
    return f"{lines[nodes[-1] + 1]} (in {lines[nodes[-1]].removeprefix('Node: ')})"


def run(program, settings):
    """Does the task that `settings` name; returns the exit status."""
    if settings.task == "test" and settings.load is None:
        raise ValueError("--task=test needs --load=PATH: a checkpoint, or a run folder meaning its newest")
    checkpoint = checkpoints.find(settings.load) if settings.load else None
    dataset = catalogue.load(settings.data, settings.data_dir, program.paper_data)
    settings = program.resolve(settings, dataset)
    if checkpoint:
        _check_method(program, settings, checkpoint)
    chosen = devices.choose(settings.device, settings.num_gpus, settings.visible_devices)
    for line in [chosen.warning, *program.remarks(settings)]:
        if line:
            say(line)
    with tf.Graph().as_default():
        return tasks.TASKS[settings.task](program, settings, dataset, chosen, checkpoint)


def _check_method(program, settings, checkpoint):
    """Raises ValueError if flags.txt beside a checkpoint names another method: its variables are called the same."""
    path = os.path.join(os.path.dirname(checkpoint), FLAGS)
    if not os.path.isfile(path):
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        mark, _, method = file.readline().strip().partition(" ")
    if mark == "#" and method != program.method(settings):
        raise ValueError(
            f"--load={settings.load}: this checkpoint was trained by {method}, not by {program.method(settings)}; "
            "use the folder and the --rotation that it was trained with"
        )
