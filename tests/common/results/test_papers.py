"""The papers' tables: commands and test errors, written here again from the papers."""

import dataclasses
import types

import pytest

from common.cli.settings import Common, OptSettings
from common.results import papers, rows

OPTIMIZERS = ("sgd", "sgdg", "adamg")
# Test errors in percent of SGD / SGD-G / Adam-G, as published.
PUBLISHED = {
    "cifar10": {
        "vgg13": "5.88/5.87/6.05", "vgg19": "6.49/5.92/6.02", "wrn-28-10": "3.89/3.85/3.78",
        "wrn-40-10": "3.72/3.72/3.80",
    },
    "cifar100": {
        "vgg13": "26.17/25.29/24.89", "vgg19": "27.62/25.79/25.59", "wrn-28-10": "18.66/18.19/18.30",
        "wrn-40-10": "18.39/18.04/17.85",
    },
    "svhn": {
        "vgg13": "1.78/1.74/1.72", "vgg19": "1.94/1.81/1.77", "wrn-16-4": "1.64/1.67/1.61",
        "wrn-22-8": "1.64/1.63/1.55",
    },
}  # fmt: skip
WIDE = "--model=resnet --depth=28 --widen_factor=10"
MANIFOLD = (
    "--grassmann=True --learnRate=0.01 --learnRateG={} --omega=0.1 --grad_clip=0.1 --weightDecay=0.0005 --keep_prob=0.7"
)
DECAYS = "--weightDecay=0.0005 --biasDecay=0.0005 --gammaDecay=0.0005 --betaDecay=0.0005"


def test_the_errors_are_the_published_ones():
    ours = {data: {} for data in PUBLISHED}
    for name in ("riemannian-cifar", "riemannian-svhn"):
        for row in papers.tables()[name].rows:
            network, _, optimizer = row.name.rpartition("-")
            for data, error in row.paper.items():
                ours[data].setdefault(network, [None] * 3)[OPTIMIZERS.index(optimizer)] = error
    expected = {
        data: {network: [float(error) for error in errors.split("/")] for network, errors in rows.items()}
        for data, rows in PUBLISHED.items()
    }
    assert ours == expected


def test_the_commands_are_the_published_ones():
    rows = {row.name: " ".join(row.flags) for row in papers.tables()["riemannian-cifar"].rows}
    assert rows["wrn-28-10-sgd"] == f"{WIDE} --optimizer=sgd --learnRate=0.1 {DECAYS} --keep_prob=0.7"
    assert rows["wrn-28-10-sgdg"] == f"{WIDE} --optimizer=sgdg {MANIFOLD.format(0.2)}"
    assert rows["wrn-28-10-adamg"] == f"{WIDE} --optimizer=adamg {MANIFOLD.format(0.05)}"


def test_an_svhn_command():
    (row,) = [row for row in papers.tables()["riemannian-svhn"].rows if row.name == "wrn-22-8-adamg"]
    assert rows.values(row.flags) == {
        "model": "resnet", "depth": "22", "widen_factor": "8", "optimizer": "adamg", "grassmann": "True",
        "learnRate": "0.001", "learnRateG": "0.005", "omega": "0.1", "grad_clip": "0.1", "weightDecay": "0.0005",
        "keep_prob": "0.6", "learnRateDecay": "0.1",
    }  # fmt: skip


def test_every_command_is_one_that_its_program_takes_and_rates_are_chosen_among_four():
    for table in papers.tables().values():
        for row in table.rows:
            flags = rows.values([*row.flags, *sum(row.rates, ())])
            assert set(flags) <= set(rows.settings_of(row.folder).names()), row
            assert len(row.rates) == (4 if table.steps else 0), row
        assert len({row.title for row in table.rows if row.title}) in (0, len(table.rows))


def test_the_rows_of_the_comparison():
    rows = [row.name for row in papers.tables()["opt-comparison"].rows]
    assert rows == ["baseline", "upt", "opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "opt_or", "sopt_gs"]
    assert all("--widths=64,64,64,64" in row.flags and not row.paper for row in papers.tables()["opt-comparison"].rows)


def test_a_new_folder_with_a_train_script_is_a_row(monkeypatch):
    new, other = types.SimpleNamespace(Settings=OptSettings), types.SimpleNamespace(Settings=Common)
    monkeypatch.setattr(rows.start, "train_modules", lambda: {"grassmann": other, "opt_new": new})
    assert [(row.name, row.folder) for row in papers.tables()["opt-comparison"].rows] == [
        ("baseline", "opt_new"),
        ("upt", "opt_new"),
        ("opt_new", "opt_new"),
    ]


@pytest.fixture(scope="module")
def flags():
    """Those of flags.txt after the paper's command of VGG-13 with Adam-G, other seed and GPUs."""
    from grassmann.settings import Settings

    settings = Settings(
        model="vgg13", optimizer="adamg", grassmann=True, learnRate=0.01, learnRateG=0.05, omega=0.1, grad_clip=0.1,
        weightDecay=0.0005, keep_prob=0.7, data="cifar100", batch_size=128, num_gpus=2, seed=3,
    )  # fmt: skip
    given = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {name: str(value) for name, value in given.items() if value is not None}


def test_a_run_of_the_papers_command_has_the_papers_error(flags):
    assert papers.published_error("grassmann", flags) == 24.89
    assert papers.published_error("grassmann", {**flags, "data": "cifar10", "bn_decay": "0.99"}) == 6.05


@pytest.mark.parametrize(
    "other",
    [
        {"data": "digits"}, {"max_steps": "10"}, {"omega": "0.2"}, {"batch_size": "64"}, {"gammaDecay": "0.1"},
        {"load": "x"}, {"optimizer": "sgd"}, {"momentum": "0.5"}, {"precision": "float16"}, {"model": "vgg11"},
        {"bn_decay": "0.9"},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_with_another_flag_has_none(flags, other):
    assert papers.published_error("grassmann", {**flags, **other}) is None
    assert papers.published_error("opt_cp", flags) is None


def test_values_of_flags():
    assert rows.values(["--a=1", "--xla", "--nonesterov", "--a=2=3"]) == {
        "a": "2=3",
        "xla": "True",
        "nesterov": "False",
    }
    assert rows.same("0.10", "0.1") and rows.same(None, None)
    assert not rows.same("0", None) and not rows.same("a", "b")
