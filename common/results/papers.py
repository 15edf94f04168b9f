"""The papers' tables: the command of each row, and the test error that the paper has for it.

Riemannian batch normalization: Cho & Lee, NIPS 2017, test errors in percent, medians of five runs. The comparison of
the OPT methods at equal widths has no such numbers: the paper's networks are others.
"""

import dataclasses
import itertools
import pathlib

from common.cli import start
from common.cli.settings import BATCH_SIZE, FILELESS, Common, OptSettings
from common.flags import FIXED, FREE, PLACE, STEERS

ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the clone


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      name: of its folder.
      folder: where its train.py is.
      flags: of its command, without data set, seed and place.
      paper: {data set: the paper's test error in percent}.
    """

    name: str
    folder: str
    flags: tuple[str, ...]
    paper: dict = dataclasses.field(default_factory=dict)

    @property
    def method(self):
        """What the first line of flags.txt calls it."""
        rotation = values(self.flags).get("rotation")
        return f"{self.folder}-{rotation}" if rotation else self.folder


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: its rows, the data sets it may be made for, and those it is made for if none is named."""

    name: str
    rows: tuple[Row, ...]
    data: tuple[str, ...]
    default: tuple[str, ...]


def values(flags):
    """Returns {name: text} of flags as a command line has them; the last of equal names counts, as it does there."""
    pairs = [flag.lstrip("-").partition("=") for flag in flags]
    return dict((name, value) if equals else _switch(name) for name, equals, value in pairs)


def _switch(name):
    """--xla is --xla=True, --noxla is --xla=False."""
    return (name[2:], "False") if name.startswith("no") else (name, "True")


# --- Riemannian batch normalization ---

_SGD = "--optimizer=sgd"
_DECAYS = ("--weightDecay=0.0005", "--biasDecay=0.0005", "--gammaDecay=0.0005", "--betaDecay=0.0005")
_RATES = {  # of SGD, SGD-G and Adam-G
    "cifar": (("0.1",), ("0.01", "0.2"), ("0.01", "0.05")),
    "svhn": (("0.01",), ("0.001", "0.02"), ("0.001", "0.005")),
}
_ENDS = {"cifar": ("--keep_prob=0.7",), "svhn": ("--keep_prob=0.6", "--learnRateDecay=0.1")}
_TWO_GPUS = ("--vali_batch_size=200", "--num_gpus=2")

_VGG13, _VGG19 = ("--model=vgg13",), ("--model=vgg19",)


def _wide(depth, widen_factor):
    return ("--model=resnet", f"--depth={depth}", f"--widen_factor={widen_factor}")


# Networks, with test errors of SGD, SGD-G and Adam-G for each data set.
_CIFAR = (
    ("vgg13", _VGG13, (), {"cifar10": (5.88, 5.87, 6.05), "cifar100": (26.17, 25.29, 24.89)}),
    ("vgg19", _VGG19, (), {"cifar10": (6.49, 5.92, 6.02), "cifar100": (27.62, 25.79, 25.59)}),
    ("wrn-28-10", _wide(28, 10), (), {"cifar10": (3.89, 3.85, 3.78), "cifar100": (18.66, 18.19, 18.30)}),
    ("wrn-40-10", _wide(40, 10), _TWO_GPUS, {"cifar10": (3.72, 3.72, 3.80), "cifar100": (18.39, 18.04, 17.85)}),
)
_SVHN = (
    ("vgg13", _VGG13, (), {"svhn": (1.78, 1.74, 1.72)}),
    ("vgg19", _VGG19, (), {"svhn": (1.94, 1.81, 1.77)}),
    ("wrn-16-4", _wide(16, 4), (), {"svhn": (1.64, 1.67, 1.61)}),
    ("wrn-22-8", _wide(22, 8), (), {"svhn": (1.64, 1.63, 1.55)}),
)


def _rows(networks, recipe):
    """The rows of a table: every network with each optimizer."""
    (sgd,), *manifold = _RATES[recipe]
    optimizers = [("sgd", (_SGD, f"--learnRate={sgd}", *_DECAYS))]
    for name, (rate, rate_g) in zip(("sgdg", "adamg"), manifold):
        rates = (f"--learnRate={rate}", f"--learnRateG={rate_g}")
        others = ("--omega=0.1", "--grad_clip=0.1", "--weightDecay=0.0005")
        optimizers.append((name, (f"--optimizer={name}", "--grassmann=True", *rates, *others)))
    for (network, model, machine, errors), (index, (name, flags)) in itertools.product(networks, enumerate(optimizers)):
        paper = {data: of_data[index] for data, of_data in errors.items()}
        yield Row(f"{network}-{name}", "grassmann", (*model, *flags, *_ENDS[recipe], *machine), paper)


# --- OPT ---

_WIDTHS = "--widths=64,64,64,64"


def _opt_rows():
    """The two baselines, which are the same from every folder, and every method with the OPT programs' flags."""
    found = [name for name, module in start.train_modules().items() if issubclass(module.Settings, OptSettings)]
    yield Row("baseline", found[0], (_WIDTHS, "--rotation=none"))
    yield Row("upt", found[0], (_WIDTHS, "--rotation=free"))
    yield from (Row(name, name, (_WIDTHS,)) for name in found)


def tables():
    """Returns {name: `Table`}."""
    opt_data = ("cifar100", "cifar10", *FILELESS)
    made = (
        Table("riemannian-cifar", tuple(_rows(_CIFAR, "cifar")), ("cifar10", "cifar100"), ("cifar10", "cifar100")),
        Table("riemannian-svhn", tuple(_rows(_SVHN, "svhn")), ("svhn",), ("svhn",)),
        Table("opt-comparison", tuple(_opt_rows()), opt_data, ("cifar100",)),
    )
    return {table.name: table for table in made}


# --- which row a run is ---


def settings_of(method):
    """Returns the settings class of the program whose run folders say `method`; `Common` for an unknown one."""
    module = start.train_modules().get(method.partition("-")[0])
    return module.Settings if module else Common


def defaults(settings_class):
    """Returns {name: text} of what decides what is trained, apart from the seed, and has a default."""
    deciding = [
        field for field in dataclasses.fields(settings_class) if field.name in settings_class.names(FIXED, STEERS)
    ]
    return {f.name: str(f.default) for f in deciding if f.default is not None and f.name != "seed"}


def published_error(method, flags):
    """Returns the paper's test error, in percent, for a run with these flags ({name: text}), or None.

    A run that differs from the paper's command in anything but its seed, its place and the machine has none.
    """
    settings = settings_of(method)
    unset = dict.fromkeys(set(settings.names(FIXED, STEERS)) - {"seed", "padding_size"})
    resolved = {"batch_size": str(BATCH_SIZE), "crop_size": "32", "data": flags.get("data")}
    recipe = {**unset, **defaults(settings), **resolved}
    for row in (*_rows(_CIFAR, "cifar"), *_rows(_SVHN, "svhn")):
        fits = row.folder == method and flags.get("data") in row.paper and "load" not in flags
        if fits and not differing({**recipe, **values(row.flags)}, flags, settings.names(FREE, PLACE)):
            return row.paper[flags["data"]]
    return None


def differing(wanted, flags, ignored):
    """Returns [(name, value in `flags`, wanted value)] of the flags that are not as wanted; None is no value."""
    pairs = [(name, flags.get(name), value) for name, value in wanted.items() if name not in ignored]
    return [(name, value, expected) for name, value, expected in pairs if not same(value, expected)]


def same(first, second):
    """Returns whether two values of a flag are one: 0.10 is 0.1."""
    if first is None or second is None:
        return first is second
    try:
        return float(first) == float(second)
    except ValueError:
        return str(first) == str(second)
