"""The flags that the programs share; TensorFlow is not imported here, so that a wrong flag is told at once.

What another value of a flag does on --resume stands behind it, REFUSED if nothing does; see common/flags.py.
"""

import dataclasses
import math
import re

from common import flags
from common.data.names import DEFAULT_DATA_DIR, FILELESS, NAMES, check, is_own
from common.distributed import cluster
from common.flags import ANY, CALL, STEERS, option, path
from common.nn.names import VGGS

TASKS = ("train", "test", "see", "export")
GENERATOR_STARTS = ("paper", "unit")
BATCH_SIZE, SHORT_BATCH_SIZE = 128, 32  # of the papers' presets, of those for FILELESS and own images
OTHER_IMAGES = "the images from {settings.data} are not those that the run was trained with"
_DEVICE_LIST = r"-1|(\d+|GPU-[\w-]+|MIG-[\w/-]+)(,(\d+|GPU-[\w-]+|MIG-[\w/-]+))*"  # numbers, or NVIDIA's own names

LENGTH = ("max_steps", "episodes", "episode_steps")  # the flags of a run's length

# What a flag needs so as not to be without effect: see `needs` in common/flags.py.
ROTATES = ("--rotation=method", lambda settings: settings.rotation == "method")
_ON_MANIFOLD = (
    "--rotation=method and --generator_optimizer=sgdg or adamg",
    lambda settings: settings.rotation == "method" and settings.generator_optimizer != "momentum",
)
_FIXED = ("--fixed", lambda settings: settings.fixed is not None)
_RESNET = ("--model=resnet", lambda settings: settings.model == "resnet")
_FILES = ("a data set that has files", lambda settings: settings.data not in FILELESS and not is_own(settings.data))
_WORKERS = ("--worker_hosts", lambda settings: in_cluster(settings.worker_hosts))
_EXPORT = ("--task=export", lambda settings: settings.task == "export")
_NPZ = ("--task=export --export_format=npz", lambda s: s.task == "export" and s.export_format == "npz")
_PRECISE = ("--bn_statistics=precise", lambda settings: settings.bn_statistics == "precise")
_DEVICES = ("several devices", lambda settings: settings.num_gpus > 1 or _WORKERS[1](settings))


def in_cluster(worker_hosts):
    """Returns whether this process is one of several: --worker_hosts or the environment says so."""
    return "," in (worker_hosts or "") or cluster.find().count > 1


def decay_option(paper):
    """Returns the flag --bn_decay; `paper` is the paper's constant, which all runs had before this flag."""
    return option(
        None, f"decay of batch norm's averages; {paper}, or less where few updates follow the last drop of the rate",
        minimum=0, below=1, on_resume=STEERS, earlier=paper, follows=LENGTH,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Common(flags.Checked):
    """The flags that all programs share."""

    task: str = option(
        "train", "train, test a checkpoint, see variables or export a network", TASKS, on_resume=CALL
    )
    data: str = option(
        "auto",
        f"data set: {', '.join(NAMES[1:])}, or the path of an .npz file or of a folder of pictures; auto is the "
        "paper's if it can be had, else digits",
    )  # fmt: skip
    holdout: int | None = option(
        None, "training images kept apart, on which to validate; the test set is evaluated once, at the end", minimum=1
    )
    image_size: int | None = option(None, "height and width that the pictures of --data=FOLDER get", minimum=1)
    mirror: bool | None = option(None, "mirror training images at random; None as the data set allows")
    data_digest: str | None = option(
        None, "sum of own images, filled in: a run does not go on with others", differs=OTHER_IMAGES
    )
    data_dir: str = path(
        DEFAULT_DATA_DIR, "folder that holds data sets", on_resume=ANY, per_worker=True, needs=_FILES
    )
    depth: int = option(10, "depth of resnet, 6n + 4", minimum=10, needs=_RESNET)
    widen_factor: int = option(1, "widening factor of resnet", minimum=1, needs=_RESNET)
    vali_batch_size: int = option(250, "images evaluated at once", minimum=1, on_resume=ANY)
    max_steps: int | None = option(
        None, "updates of the run; the schedule stretches in proportion", minimum=1, on_resume=STEERS
    )
    momentum: float = option(0.9, "momentum of the optimizers", minimum=0, below=1)
    lr_scale: str = option(
        "none", "linear multiplies all learning rates by batch_size / the recipe's batch size", ("none", "linear"),
        on_resume=STEERS,
    )  # fmt: skip
    warmup_steps: int = option(0, "first updates, over which the learning rates rise", minimum=0, on_resume=STEERS)
    nan_policy: str = option(
        "stop", "what a loss or gradient that is not finite does: stop the run, or skip the step", ("stop", "skip"),
        on_resume=STEERS,
    )  # fmt: skip
    drift_bound: float | None = option(
        None, "drift of orthogonal matrices and unit neurons above which they are repaired", above=0, on_resume=STEERS
    )
    bn_statistics: str = option(
        "moving",
        "precise makes batch norm's averages anew from training batches: at the end of a run, to test, to export",
        ("moving", "precise"), on_resume=ANY,
    )  # fmt: skip
    bn_batches: int = option(
        100, "training batches from which they are made", minimum=1, on_resume=ANY, needs=_PRECISE
    )
    seed: int = option(0, "everything random follows from it", minimum=0, maximum=2**31 - 1)
    report_freq: int = option(
        100, "updates between two reports of training metrics", minimum=1, on_resume=ANY, per_worker=True
    )
    vali_freq: int | None = option(
        None, "updates between two evaluations of the test set; 500, short runs an eighth", minimum=1, on_resume=ANY,
        follows=LENGTH,
    )  # fmt: skip
    save_freq: int = option(5000, "updates between two checkpoints", minimum=1, on_resume=ANY)
    max_to_keep: int = option(3, "newest checkpoints kept", minimum=1, on_resume=ANY, per_worker=True)
    train_dir: str = path("./logs/", "folder under which a run makes its own", on_resume=CALL)
    train_path: str | None = path(None, "the run's folder itself, instead of one under train_dir", on_resume=CALL)
    load: str | None = path(
        None, "checkpoint, or run folder meaning its newest: to test, export or go on from", on_resume=CALL
    )
    export_dir: str | None = path(None, "folder that task=export makes", on_resume=CALL)
    export_format: str = option(
        "saved_model", "TensorFlow's SavedModel, or NumPy's arrays and a JSON of the layers", ("saved_model", "npz"),
        on_resume=CALL, needs=_EXPORT,
    )  # fmt: skip
    fold: bool = option(
        False, "npz: batch norm goes into the conv or dense layer before it, where there is one", on_resume=CALL,
        needs=_NPZ,
    )  # fmt: skip
    device: str = option(
        "auto", "auto takes a GPU if there is one", ("auto", "gpu", "cpu"), on_resume=ANY, per_worker=True
    )
    num_gpus: int = option(
        1, "devices of this machine that share each batch; virtual ones of the CPU if there is no GPU", minimum=1,
        on_resume=ANY,
    )  # fmt: skip
    sync_bn: bool = option(
        True, "several devices: batch norm over the whole batch, not over each one's share", on_resume=STEERS,
        needs=_DEVICES,
    )  # fmt: skip
    visible_devices: str | None = option(
        None, "numbers of the GPUs that may be used, as in 0,1", alias="gpu_no", on_resume=ANY, per_worker=True,
        needs=("another --device than cpu", lambda settings: settings.device != "cpu"),
    )  # fmt: skip
    precision: str = option(
        "float32", "what the network is trained in; updates are float32; auto: tf32 on GPUs that have it, else float32",
        ("float32", "tf32", "bfloat16", "float16", "auto"), on_resume=STEERS,
    )  # fmt: skip
    loss_scale: float | None = option(
        None, "factor of the loss on its way back; float16 1024, else 1", above=0, on_resume=STEERS
    )
    xla: bool = option(False, "compile the network's training pass and the updates with XLA", on_resume=STEERS)
    deterministic: bool = option(
        False, "only operations that give the same bits in every run: on one GPU, too; slower there", on_resume=STEERS
    )
    log_device_placement: bool = option(
        False, "print on which device each operation runs", on_resume=ANY, per_worker=True
    )
    tensorboard: bool = option(
        True, "write event files for TensorBoard into the run's folder", on_resume=ANY, per_worker=True
    )
    verbose: bool = option(
        False, "task=see also prints values, and draws the first layer's filters", on_resume=ANY, per_worker=True,
        needs=("--task=see", lambda settings: settings.task == "see"),
    )  # fmt: skip
    resume: bool = option(
        False, "go on with the newest good checkpoint in train_path; with none there, start", on_resume=CALL,
        needs=("--task=train", lambda settings: settings.task == "train"),
    )  # fmt: skip
    worker_hosts: str | None = option(
        None, "HOST:PORT of each process that trains with others, with commas", on_resume=CALL
    )
    task_index: int | None = option(
        None, "which of worker_hosts this process is, from 0", minimum=0, on_resume=CALL
    )
    start_timeout: float = option(
        300.0, "seconds for which a worker waits for the others to start", above=0, on_resume=CALL, needs=_WORKERS
    )
    collective_timeout: float = option(
        600.0, "seconds for which a worker waits for the others in a step", above=0, on_resume=CALL, needs=_WORKERS
    )

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "data", check(self.data))
        if self.resume and self.task == "train" and self.train_path is None:
            raise ValueError("--resume needs --train_path=FOLDER, the folder of the run that is to go on")
        if self.visible_devices is not None and not re.fullmatch(_DEVICE_LIST, self.visible_devices):
            raise ValueError(f"--visible_devices={self.visible_devices}: expected numbers of GPUs, as in 0,1")

    @classmethod
    def title(cls, method, flags):
        """Returns what tables call a run whose flags.txt begins with `method` and has the `flags` {name: text}."""
        return {"none": "ordinary training", "free": "UPT"}.get(method.rpartition("-")[2], method)

    def check_task(self):
        """Raises ValueError if the task lacks a flag."""
        if self.task in ("test", "export") and self.load is None:
            raise ValueError(f"--task={self.task} needs --load=PATH: a checkpoint, or a run folder meaning its newest")

    def of_problem(self):
        """Returns the fields of a `Problem` that are flags of all programs."""
        names = ("vali_batch_size", "seed", "nan_policy", "precision", "loss_scale", "xla", "sync_bn")
        return {name: getattr(self, name) for name in names}

    def fresh_batches(self):
        """Returns from how many training batches batch norm's averages are made anew; None if they are not."""
        return self.bn_batches if self.bn_statistics == "precise" else None

    def padding_of(self, dataset, usual):
        """Returns by how many pixels a training image is padded: a sixteenth of the side of own images."""
        usual = min(dataset.train_images.shape[1:3]) // 16 if is_own(dataset.name) else usual
        return usual if self.padding_size is None else self.padding_size

    def mirrors(self, dataset):
        """Returns whether training images are mirrored."""
        return dataset.mirror if self.mirror is None else self.mirror

    def check_sizes(self):
        """Raises ValueError if the network cannot be so deep, or the devices of this process cannot share a batch."""
        if self.model == "resnet" and (self.depth - 4) % 6:
            raise ValueError(f"--depth={self.depth}: resnet has depth 6n + 4 (10, 16, 22, ...), not {self.depth}")
        short = self.data in FILELESS or is_own(self.data)
        self.check_share(self.batch_size or (SHORT_BATCH_SIZE if short else BATCH_SIZE))

    def check_share(self, batch_size, workers=1):
        """Raises ValueError if a batch of so many images cannot be shared by the devices of so many processes."""
        count = self.num_gpus * workers
        if batch_size % count:
            of = f" of {workers} workers" if workers > 1 else ""
            raise ValueError(
                f"--num_gpus={self.num_gpus}: a batch of {batch_size} cannot be split evenly over {count} devices{of}; "
                f"choose a --batch_size that is a multiple of {count}"
            )


@dataclasses.dataclass(frozen=True)
class OptSettings(Common):
    """Flags of the opt_ programs; None means: as the recipe has it."""

    model: str = option("cnn6", "network", ("cnn6", "cnn9", "resnet", *VGGS))
    widths: tuple[int, ...] | None = option(None, "filters of cnn6's or cnn9's three stages and fc6", minimum=1)
    rotation: str = option(
        "method", "the folder's own method, none = ordinary training, or free = UPT", ("method", "none", "free")
    )
    map_algorithm: str = option(
        "auto", "how the map is computed; auto is the fastest algorithm on the device", on_resume=ANY
    )
    generator_start: str | None = option(
        None, "standard deviation of the generators P at the start: paper is 1, unit 1/sqrt(n), or a number; paper on "
        "CIFAR", earlier="paper",
    )  # fmt: skip
    fixed: str | None = path(
        None, "run folder, checkpoint or exported .npz of a trained network, whose kernels training begins at"
    )
    fresh_score: bool = option(False, "the class scores begin at random in any case", needs=_FIXED)
    fixed_inputs: str | None = option(
        None, "filled in: epsilon of batch norm, offset and scale of images that the source had", needs=_FIXED
    )
    optimizer: str = option(
        "momentum", "optimizer, but of opt_ogd's rotations; of adam and adamw --momentum is beta1",
        ("momentum", "adam", "adamw"),
    )  # fmt: skip
    generator_optimizer: str = option(
        "momentum", "momentum leaves the generators P to --optimizer; sgdg and adamg keep P's columns or rows, if the "
        "map does not see their length, on the Grassmann manifold, without L2", ("momentum", "sgdg", "adamg"),
        needs=ROTATES,
    )  # fmt: skip
    generator_lr: float | None = option(
        None, "learning rate of sgdg and adamg at the start; 0.05", above=0, on_resume=STEERS,
        needs=_ON_MANIFOLD,
    )  # fmt: skip
    schedule: str = option(
        "paper", "learning rates: the paper's drops, half a cosine to 0, or constant", ("paper", "cosine", "constant"),
        on_resume=STEERS,
    )  # fmt: skip
    base_lr: float | None = option(
        None, "learning rate at the start; 0.1 on CIFAR, 0.001 of adam and adamw", above=0, on_resume=STEERS
    )
    warmup_steps: int | None = option(
        None, "first updates, over which the learning rates rise; 0 on CIFAR, else a tenth of them", minimum=0,
        on_resume=STEERS, earlier=0, follows=LENGTH,
    )  # fmt: skip
    batch_size: int | None = option(None, "images per update; 128, on digits and own images 32", minimum=1)
    bn_decay: float | None = decay_option(0.999)
    padding_size: int | None = option(
        None, "pixels reflected round an image before the crop; 4 on CIFAR, 2 on Fashion-MNIST and digits, a sixteenth "
        "of the side of own images", minimum=0
    )
    weight_decay: float = option(
        5e-4, "L2 coefficient c, in c/2 times the sum of squares; of adamw a step's rate times c is taken off",
        minimum=0, on_resume=STEERS,
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.generator_start not in (None, *GENERATOR_STARTS):
            _check_deviation(self.generator_start)
        if self.widths is not None and len(self.widths) != 4:
            raise ValueError(f"--widths has {len(self.widths)} numbers, expected four: the three stages and fc6")
        if self.widths is not None and not self.model.startswith("cnn"):
            raise ValueError(f"--widths: {self.model} has none; leave it out, or choose --model=cnn6 or cnn9")
        self.check_sizes()


def _check_deviation(text):
    try:
        good = 0 < float(text) < math.inf
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"--generator_start={text}: expected {', '.join(GENERATOR_STARTS)} or a standard deviation above 0"
        )
