"""Every flag of every program: which values it takes and which it refuses, before any data set is read.

The bounds stand here, written by hand. A new flag without an entry fails `test_the_tables_know_every_flag`: numbers go
into the table NUMBERS, strings with choices into CHOICES, other strings into TEXTS; flags that are True or False need
none.
"""

import dataclasses
import sys

import pytest

from common.cli.start import main, train_modules
from common.flags import type_of

MODULES = train_modules()
BASE = {"grassmann": {"model": "resnet", "optimizer": "sgdg"}}

LARGEST = 2**31 - 1
COUNT = [-1, 0, LARGEST + 1], [1, 2, LARGEST]
POSITIVE = [-1e-3, -0.0, 0.0, 1e-46, 1e-39], [1e-6, 0.1, 1.0, 1e6]
NOT_NEGATIVE = [-1.0, -1e-9], [0.0, 1e-9, 5e-4, 10.0]
SHARE_BELOW_1 = [-0.1, -1e-9, 1.0, 1.1, 1 - 1e-12], [0.0, 1e-9, 0.9, 0.999]
SHARE_UP_TO_1 = [-0.1, 0.0, 1e-46, 1 + 1e-9, 1.1], [1e-6, 0.5, 1.0]
# Flag: values that are refused, values that are taken.
NUMBERS = {
    "depth": ([-2, 0, 4, 9, 11, 12, 15, 17, LARGEST + 1], [10, 16, 22, 28, 40]),
    "widen_factor": COUNT,
    "vali_batch_size": COUNT,
    "max_steps": COUNT,
    "warmup_steps": ([-1, LARGEST + 1], [0, 1, LARGEST]),
    "momentum": SHARE_BELOW_1,
    "seed": ([-1, LARGEST + 1], [0, 1, LARGEST]),
    "report_freq": COUNT,
    "vali_freq": COUNT,
    "save_freq": COUNT,
    "max_to_keep": COUNT,
    "num_gpus": ([-1, 0, 3, 129, LARGEST + 1], [1, 2, 128]),  # 128 images are to be shared
    "batch_size": COUNT,
    "widths": (
        [(0, 1, 1, 1), (1, 1, 1, -1), (1, 1, 1), (1, 1, 1, 1, 1), (), (1, 1, 1, LARGEST + 1)],
        [(1, 1, 1, 1), (64, 64, 64, LARGEST)],
    ),
    "base_lr": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "bn_decay": SHARE_BELOW_1,
    "bn_batches": COUNT,
    "rotation_lr": POSITIVE,
    "generator_lr": POSITIVE,
    "episodes": COUNT,
    "episode_steps": COUNT,
    "sample_ratio": SHARE_UP_TO_1,
    "learnRate": POSITIVE,
    "learnRateG": POSITIVE,
    "learnRateDecay": POSITIVE,
    "adam_beta2": SHARE_BELOW_1,
    "adam_eps": POSITIVE,
    "grad_clip": POSITIVE,
    "omega": NOT_NEGATIVE,
    "weightDecay": NOT_NEGATIVE,
    "biasDecay": NOT_NEGATIVE,
    "gammaDecay": NOT_NEGATIVE,
    "betaDecay": NOT_NEGATIVE,
    "keep_prob": SHARE_UP_TO_1,
    "crop_size": ([-1, 0, 33, LARGEST + 1], [1, 31, 32]),
    "padding_size": ([-1, LARGEST + 1], [0, 1, 31]),
    "holdout": COUNT,
    "image_size": COUNT,
    "k": COUNT,
    "drift_bound": POSITIVE,
    "loss_scale": POSITIVE,
    "task_index": ([-1, LARGEST + 1], [0, 1, LARGEST]),
    "start_timeout": POSITIVE,
    "collective_timeout": POSITIVE,
}
CONTEXT = {"depth": {"model": "resnet"}}
CHOICES = {
    "task": {"train", "test", "see", "export"},
    "export_format": {"saved_model", "npz"},
    "nan_policy": {"stop", "skip"},
    "lr_scale": {"none", "linear"},
    "bn_statistics": {"moving", "precise"},
    "precision": {"float32", "bfloat16", "float16"},
    "data": {"auto", "cifar100", "cifar10", "svhn", "fashion_mnist", "digits", "synthetic"},
    "device": {"auto", "gpu", "cpu"},
    "rotation": {"method", "none", "free"},
    "map": {"gs", "hr", "ls", "cp"},
    "optimizer": {"sgd", "sgdg", "adamg"},  # of grassmann; OPTIMIZERS are the others'
    "generator_optimizer": {"momentum", "sgdg", "adamg"},
    "schedule": {"paper", "cosine", "constant"},
    "model": {"resnet", "vgg11", "vgg13", "vgg16", "vgg19"},  # and, but for grassmann, cnn6 and cnn9
}
OPTIMIZERS = {"momentum", "adam", "adamw"}
TEXTS = {
    "data_digest", "worker_hosts", "data_dir", "train_dir", "train_path", "load", "export_dir", "visible_devices",
    "map_algorithm", "fixed", "fixed_inputs", "generator_start",
}  # fmt: skip


KINDS = {
    (name, field.name): type_of(field)
    for name, module in MODULES.items()
    for field in dataclasses.fields(module.Settings)
}


def make(name, **options):
    return MODULES[name].Settings(**{**BASE.get(name, {}), **options})


NUMERIC = [case for case, kind in KINDS.items() if kind in (int, float, tuple)]
TEXTUAL = [case for case, kind in KINDS.items() if kind is str]


def test_the_tables_know_every_flag():
    for name, flag in [*NUMERIC, *TEXTUAL]:
        tables = [NUMBERS] if (name, flag) in NUMERIC else [CHOICES, TEXTS]
        there = any(flag in table for table in tables)
        assert there, f"{flag} of {name} has no entry in the tables above: add its bounds or choices"
    assert not {*NUMBERS, *CHOICES, *TEXTS} - {flag for _, flag in KINDS}, "an entry without a flag"


def refused(name, flag, value, **context):
    with pytest.raises(ValueError, match=f"--({flag}|num_gpus)") as error:
        make(name, **{**context, flag: value})
        pytest.fail(f"--{flag}={value} is taken by {name}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "flag"), NUMERIC)
def test_numbers_within_their_bounds_are_taken_and_others_refused(name, flag):
    kind, (bad, good) = KINDS[name, flag], NUMBERS[flag]
    never = [float("nan"), float("inf"), float("-inf"), "1", True]
    never += [1e39, -1e39] if kind is float else [2.5, 10**400]
    for value in [*bad, *(never if kind is not tuple else [("1", 1, 1, 1), (1.5, 1, 1, 1), (float("nan"), 1, 1, 1)])]:
        refused(name, flag, value, **CONTEXT.get(flag, {}))
    for value in good:
        assert getattr(make(name, **{**CONTEXT.get(flag, {}), flag: value}), flag) == value


@pytest.mark.parametrize(("name", "flag"), TEXTUAL)
def test_texts_are_of_their_choices_and_never_empty(name, flag):
    for value in ["", 1, True]:
        refused(name, flag, value)
    if flag in CHOICES:
        allowed = OPTIMIZERS if flag == "optimizer" and name != "grassmann" else CHOICES[flag]
        allowed = allowed | ({"cnn6", "cnn9"} if flag == "model" and name != "grassmann" else set())
        for value in allowed:
            make(name, **{flag: value})
        for value in ["none_of_them", *(value.upper() for value in allowed), *(value + " " for value in allowed)]:
            refused(name, flag, value)


@pytest.mark.parametrize("name", MODULES)
def test_switches_are_true_or_false(name):
    for flag in [flag for (program, flag), kind in KINDS.items() if program == name and kind is bool]:
        for value in ("True", 1, 0.0):
            refused(name, flag, value)


@pytest.mark.parametrize("value", ["a", "0,", ",0", "0;1", "0 1", "-2", "1.5"])
def test_visible_devices_are_numbers_of_devices(value):
    refused("grassmann", "visible_devices", value)
    for good in ("0", "0,1", "-1", "GPU-8932f937-d72c,1", "MIG-GPU-8932f937/1/0"):
        make("opt_gs", visible_devices=good)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("opt_gs", {"num_gpus": 3, "batch_size": 8}, "a batch of 8 cannot be split evenly over 3 devices"),
        ("grassmann", {"num_gpus": 2, "batch_size": 129}, "a batch of 129 cannot be split evenly over 2 devices"),
        ("opt_gs", {"num_gpus": 3}, "a batch of 128 cannot"),
        ("grassmann", {"model": "vgg11", "crop_size": 31}, "--crop_size=31: vgg11's five poolings need 32 pixels"),
        ("opt_ls", {"model": "resnet", "widths": (1, 1, 1, 1)}, "--widths: resnet has none"),
        ("opt_ls", {"widths": (4, 4, 4)}, "--widths has 3 numbers, expected four"),
        ("opt_ls", {"model": "resnet", "depth": 12}, "--depth=12: resnet has depth 6n [+] 4"),
    ],
)
def test_flags_that_do_not_go_together(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)


@pytest.fixture
def command(monkeypatch):
    """Runs a program's command line in this process, up to the program itself, which counts as a failure."""
    monkeypatch.setattr("common.cli.program.execute", lambda *arguments: pytest.fail("the program is run"))

    def run(name, *words):
        given = [f"--{flag}={value}" for flag, value in BASE.get(name, {}).items()]
        with pytest.raises(SystemExit) as end:
            main(MODULES[name].Settings, MODULES[name].method, [*given, *words])
        return end.value.code

    return run


BAD_WORDS = {
    "text for a whole number": "--batch_size=abc",
    "nothing for a whole number": "--batch_size=",
    "a fraction for a whole number": "--max_steps=1.5",
    "out of range": "--max_steps=0",
    "too large": f"--batch_size={10**30}",
    "many digits": f"--batch_size={'9' * 5000}",
    "a number beyond all numbers": "--momentum=1e999",
    "nothing for a number": "--momentum=",
    "no number": "--momentum=nan",
    "text for a number": "--momentum=much",
    "at its bound": "--momentum=1",
    "text for a switch": "--verbose=perhaps",
    "no choice": "--data=mnist",
    "empty choice": "--data=",
    "empty path": "--load=",
    "not together": "--num_gpus=3",
    "unknown flag": "--nosuch=1",
    "surplus word": "surplus",
    "no such file of flags": "--flagfile=/nowhere/flags.txt",
    "a file that is no text": f"--flagfile={sys.executable}",
}


@pytest.mark.parametrize("kind", BAD_WORDS)
@pytest.mark.parametrize("name", ["opt_gs", "grassmann"])
def test_bad_words_are_one_line_and_status_1_and_no_data_set_is_loaded(command, capsys, name, kind):
    assert command(name, BAD_WORDS[kind]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert BAD_WORDS[kind].strip("-").partition("=")[0] in captured.err and len(captured.err) < 1100
