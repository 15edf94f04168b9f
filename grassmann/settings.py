"""Flags of grassmann, in the original's spelling."""

import dataclasses

from common.cli.settings import LENGTH, Common, decay_option
from common.data.names import is_own
from common.flags import ANY, STEERS, option
from common.nn.names import VGGS

MODELS = ("resnet", *VGGS)
OPTIMIZERS = ("sgd", "sgdg", "adamg")
IMAGE_SIZE = 32  # height and width of the images of every published data set

_UNITS = ("--grassmann=True", lambda settings: settings.grassmann)
_MANIFOLD = (
    "--grassmann=True and --optimizer=sgdg or adamg",
    lambda settings: settings.grassmann and settings.optimizer != "sgd",
)
_ADAMG = (
    "--grassmann=True and --optimizer=adamg",
    lambda settings: settings.grassmann and settings.optimizer in ("adamg", None),
)


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Flags of grassmann; None means: as the recipe has it, or not at all."""

    model: str | None = option(None, "network; it has to be given", MODELS)
    optimizer: str | None = option(None, "optimizer; to train it has to be given", OPTIMIZERS)
    grassmann: bool = option(False, "keep conv kernels on the manifold: unit neurons, omega in place of decay")
    learnRate: float = option(0.1, "learning rate of Euclidean variables at the start", above=0, on_resume=STEERS)
    learnRateG: float = option(
        0.1, "learning rate of SGD-G and Adam-G at the start", above=0, on_resume=STEERS, needs=_MANIFOLD
    )
    learnRateDecay: float = option(0.2, "factor of both rates at each drop", above=0, on_resume=STEERS)
    nesterov: bool = option(True, "Nesterov's momentum for Euclidean variables")
    adam_beta2: float = option(
        0.99, "decay of Adam-G's v; --momentum is that of its m", minimum=0, below=1, needs=_ADAMG
    )
    adam_eps: float = option(1e-8, "what Adam-G adds to second moments", above=0, needs=_ADAMG)
    grad_clip: float | None = option(
        None, "norm at which SGD-G and Adam-G clip a neuron's gradient", above=0, needs=_MANIFOLD
    )
    omega: float | None = option(
        None, "coefficient of the orthogonality regulariser on the manifold", minimum=0, on_resume=STEERS, needs=_UNITS
    )
    weightDecay: float | None = option(
        None, "L2 coefficient of weights off the manifold", minimum=0, on_resume=STEERS
    )
    biasDecay: float | None = option(None, "L2 coefficient of biases", minimum=0, on_resume=STEERS)
    gammaDecay: float | None = option(
        None, "L2 coefficient of batch normalization's scales", minimum=0, on_resume=STEERS,
        needs=("--model=resnet, whose batch normalization has scales", lambda settings: settings.model == "resnet"),
    )  # fmt: skip
    betaDecay: float | None = option(
        None, "L2 coefficient of batch normalization's shifts", minimum=0, on_resume=STEERS
    )
    keep_prob: float | None = option(None, "probability with which dropout keeps a value", above=0, maximum=1)
    batch_size: int | None = option(None, "images per update; 128, on digits and own images 32", minimum=1)
    bn_decay: float | None = decay_option(0.99)
    crop_size: int | None = option(
        None, "height and width of what the network sees; 32, for own images theirs", minimum=1
    )
    padding_size: int | None = option(
        None, "pixels reflected round an image before the crop; 4, on Fashion-MNIST and digits 2, a sixteenth of the "
        "side of own images, on svhn always none",
        minimum=0,
        needs=("another data set than svhn", lambda settings: settings.data != "svhn" or not settings.padding_size),
    )  # fmt: skip
    k: int = option(5, "validations report the top-k error", minimum=1, on_resume=ANY)
    report_freq: int = option(
        10, "updates between two reports of training metrics", minimum=1, on_resume=ANY, per_worker=True
    )
    vali_freq: int | None = option(
        None, "updates between two evaluations of the test set; 1000, short runs an eighth", minimum=1, on_resume=ANY,
        follows=LENGTH,
    )  # fmt: skip
    save_freq: int = option(10000, "updates between two checkpoints", minimum=1, on_resume=ANY)
    max_to_keep: int = option(1, "newest checkpoints kept", minimum=1, on_resume=ANY, per_worker=True)
    verbose: bool = option(
        True, "task=see also prints values, and draws the first layer's filters", on_resume=ANY, per_worker=True
    )

    @classmethod
    def title(cls, method, flags):
        if flags.get("grassmann") != "True":
            return "SGD"  # which all optimizers are off the manifold
        titles = {"sgd": "SGD, unit start", "sgdg": "SGD-G", "adamg": "Adam-G"}
        return titles.get(flags.get("optimizer"), method)

    def __post_init__(self):
        super().__post_init__()
        if self.model is None:
            raise ValueError(f"--model is missing: choose one of {', '.join(MODELS)}")
        if self.optimizer is None and self.task == "train":
            raise ValueError(f"--optimizer is missing, and --task=train needs one: {', '.join(OPTIMIZERS)}")
        self.check_sizes()
        if self.crop_size is None and not is_own(self.data):
            object.__setattr__(self, "crop_size", IMAGE_SIZE)
        for flag, most in (("crop_size", IMAGE_SIZE), ("padding_size", IMAGE_SIZE - 1)):
            value = getattr(self, flag)
            if value is not None and value > most and not is_own(self.data):
                raise ValueError(f"--{flag}={value}: expected at most {most}, for images of {IMAGE_SIZE} pixels a side")
        if self.model in VGGS and self.crop_size is not None and self.crop_size < IMAGE_SIZE:
            raise ValueError(f"--crop_size={self.crop_size}: {self.model}'s five poolings need {IMAGE_SIZE} pixels")
