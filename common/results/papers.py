"""The tables: the command of each row, and the test error that a paper has for it.

Riemannian batch normalization: Cho & Lee, NIPS 2017, test errors in percent, medians of five runs. The comparisons of
the OPT methods have no such numbers: the paper's networks are others. This is the one file that names folders.
"""

import dataclasses
import itertools

from common.cli import start
from common.cli.settings import BATCH_SIZE, FILELESS, OptSettings
from common.flags import ANY, CALL, REFUSED, STEERS
from common.results import fewshot
from common.results.rows import Row, Table, defaults, differing, settings_of, values

# --- Riemannian batch normalization ---

_DECAYS = ("--weightDecay=0.0005", "--biasDecay=0.0005", "--gammaDecay=0.0005", "--betaDecay=0.0005")
_RATES = {  # of SGD, SGD-G and Adam-G
    "cifar": (("0.1",), ("0.01", "0.2"), ("0.01", "0.05")),
    "svhn": (("0.01",), ("0.001", "0.02"), ("0.001", "0.005")),
}
_ENDS = {"cifar": ("--keep_prob=0.7",), "svhn": ("--keep_prob=0.6", "--learnRateDecay=0.1")}
_TWO_GPUS = ("--vali_batch_size=200", "--num_gpus=2")
_VGG11, _VGG13, _VGG19 = ("--model=vgg11",), ("--model=vgg13",), ("--model=vgg19",)


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


def _learn_rates(*rates):
    return tuple(f"--{name}={rate}" for name, rate in zip(("learnRate", "learnRateG"), rates))


def _optimizers(sgd=(), sgdg=(), adamg=()):
    """Yields (name, flags) of the paper's optimizers, with these rates."""
    yield "sgd", ("--optimizer=sgd", *_learn_rates(*sgd), *_DECAYS)
    others = ("--omega=0.1", "--grad_clip=0.1", "--weightDecay=0.0005")
    for name, rates in (("sgdg", sgdg), ("adamg", adamg)):
        yield name, (f"--optimizer={name}", "--grassmann=True", *_learn_rates(*rates), *others)


def _rows(networks, recipe):
    """The rows of a table of the paper: every network with each optimizer."""
    optimizers = enumerate(_optimizers(*_RATES[recipe]))
    for (network, model, machine, errors), (index, (name, flags)) in itertools.product(networks, optimizers):
        paper = {data: of_data[index] for data, of_data in errors.items()}
        yield Row(f"{network}-{name}", "grassmann", (*model, *flags, *_ENDS[recipe], *machine), paper)


_FASHION_RATES = {  # learnRate, learnRateG
    "sgd": (("0.01",), ("0.03",), ("0.1",), ("0.3",)),
    "sgdg": (("0.03", "0.2"), ("0.03", "0.5"), ("0.1", "0.5"), ("0.1", "1.0")),
    "adamg": (("0.03", "0.05"), ("0.03", "0.1"), ("0.1", "0.1"), ("0.1", "0.2")),
}


def _riemannian_fashion():
    networks = ("wrn-16-1", _wide(16, 1)), ("vgg11", _VGG11)
    for (network, model), (name, flags) in itertools.product(networks, _optimizers()):
        if network == "vgg11":
            flags = [flag for flag in flags if "gammaDecay" not in flag]  # its batch normalization has no gamma
        rates = tuple(_learn_rates(*rates) for rates in _FASHION_RATES[name])
        share = 0.25 if network == "vgg11" else 1.0  # an update costs three times as much
        yield Row(f"{network}-{name}", "grassmann", (*model, *flags), rates=rates, kind=network, share=share)


# --- OPT ---

_ON_SPHERES = ("opt_gs", "opt_hr")  # P's rows or columns may be points on G(1, n)
_FROM_NORMAL = ("--generator_start=paper",)  # P ~ N(0, 1); the others begin at the identity
_PUBLISHED = {
    **dict.fromkeys(("opt_cp", "opt_gs", "opt_hr", "opt_ls"), _FROM_NORMAL),
    "opt_ogd": ("--map_algorithm=published",), "opt_or": (), "sopt_gs": (),
}  # fmt: skip
_EXAMPLE = "opt_hr"  # of the orthogonal methods, where one is enough
_OPT_DATA = ("fashion_mnist", *FILELESS)
_HOLDOUT = {"fashion_mnist": 10_000, "digits": 287, "synthetic": 100}
_NARROW = "32,32,32,32"


def _rates(name, *rates):
    return tuple((f"--{name}={rate}",) for rate in rates)


_BASELINE_RATES = _rates("base_lr", 0.005, 0.01, 0.02, 0.04)
_OPT_RATES = _rates("base_lr", 0.03, 0.06, 0.1, 0.2)
_OWN_RATES = {
    "upt": _rates("base_lr", 0.01, 0.02, 0.04, 0.08),
    "sopt_gs": _rates("base_lr", 0.1, 0.2, 0.4, 0.8),
    "opt_ogd": _rates("rotation_lr", 0.02, 0.05, 0.1, 0.2),
    "opt_or": _rates("base_lr", 0.003, 0.01, 0.03, 0.1),
}
_SPHERE_RATES = _rates("generator_lr", 0.02, 0.05, 0.1, 0.2)


def _opt_folders():
    return [name for name, module in start.train_modules().items() if issubclass(module.Settings, OptSettings)]


def _opt_rows(folders, flags=()):
    """The two baselines, which are the same from every folder, and every method with the OPT programs' flags."""
    yield Row("baseline", folders[0], (*flags, "--rotation=none"))
    yield Row("upt", folders[0], (*flags, "--rotation=free"))
    yield from (Row(name, name, flags) for name in folders)


def _opt_fashion():
    """Both baselines; every method with this project's preset and as published, and with P on spheres if it can be."""
    folders = _opt_folders()
    for row in _opt_rows(folders):
        rates, kind = (_OPT_RATES, "preset") if row.name in folders else (_BASELINE_RATES, "")
        label = settings_of(row.folder).title(row.method, {})
        yield dataclasses.replace(row, label=label, rates=_OWN_RATES.get(row.name, rates), kind=kind)
    for name, own in _PUBLISHED.items():
        flags = ("--bn_decay=0.999", "--warmup_steps=0", *own)
        rates = _OWN_RATES.get(name, _rates("base_lr", 0.05, 0.1, 0.2, 0.4))
        yield Row(f"{name}-published", name, flags, label=name, rates=rates, kind="as published")
    for name in _ON_SPHERES:
        flags = ("--generator_optimizer=sgdg",)
        yield Row(f"{name}-sgdg", name, flags, label=f"{name} on G(1, n)", rates=_SPHERE_RATES, kind="preset")


def _finetune():
    """A network trained on half of the classes goes over to the other half; some images a class."""
    scratch = ("--rotation=none",)
    begins = {"begins_at": "pretrained"}
    tuning = _rates("base_lr", 0.01, 0.03, 0.1, 0.3)
    kinds = {
        "orthogonal": (("--fresh_score",), tuning, begins),
        "ordinary": ((*scratch, "--fresh_score"), tuning, begins),
        "scratch": (scratch, _rates("base_lr", 0.01, 0.02, 0.04, 0.08), {}),
    }
    labels = {"orthogonal": f"{_EXAMPLE} --fixed", "ordinary": "ordinary fine-tuning", "scratch": "from scratch"}
    batch = "--batch_size=128"
    yield Row("pretrained", _EXAMPLE, (*scratch, batch), label="trained on classes 0-4", rates=_BASELINE_RATES,
              kind=None, data=fewshot.FIRST)  # fmt: skip
    for count, (name, (flags, rates, others)) in itertools.product(fewshot.COUNTS, kinds.items()):
        yield Row(f"{name}-{count}", _EXAMPLE, (*flags, batch), label=labels[name], kind=f"{count} images a class",
                  rates=rates, share=0.25, data=fewshot.name(count), **others)  # fmt: skip


def tables():
    """Returns {name: `Table`}."""
    paper_rows = tuple(_opt_rows(_opt_folders(), ("--widths=64,64,64,64",)))
    fashion = {"data": _OPT_DATA, "default": ("fashion_mnist",), "steps": 2000, "holdout": _HOLDOUT}
    made = (
        Table("riemannian-cifar", tuple(_rows(_CIFAR, "cifar")), ("cifar10", "cifar100"), ("cifar10", "cifar100")),
        Table("riemannian-svhn", tuple(_rows(_SVHN, "svhn")), ("svhn",), ("svhn",)),
        Table("opt-comparison", paper_rows, ("cifar100", "cifar10", *FILELESS), ("cifar100",)),
        Table("opt-fashion", tuple(_opt_fashion()), widths=_NARROW, **fashion),
        Table("riemannian-fashion", tuple(_riemannian_fashion()), **fashion),
        Table("finetune-fashion", tuple(_finetune()), ("fashion_mnist",), ("fashion_mnist",), 2000, _NARROW),
    )  # fmt: skip
    return {table.name: table for table in made}


def published_error(method, flags):
    """Returns the paper's test error, in percent, for a run with these flags ({name: text}), or None.

    A run that differs from the paper's command in anything but its seed, its folder and the machine has none.
    """
    settings = settings_of(method)
    flags = {**defaults(settings), **flags}  # what an earlier program did not say
    unset = dict.fromkeys(set(settings.names(REFUSED, STEERS)) - {"seed", "padding_size"})
    resolved = {"batch_size": str(BATCH_SIZE), "crop_size": "32", "data": flags.get("data")}
    recipe = {**unset, **defaults(settings), **resolved}
    for row in (*_rows(_CIFAR, "cifar"), *_rows(_SVHN, "svhn")):
        fits = row.folder == method and flags.get("data") in row.paper and "load" not in flags
        if fits and not differing({**recipe, **values(row.flags)}, flags, settings.names(ANY, CALL)):
            return row.paper[flags["data"]]
    return None
