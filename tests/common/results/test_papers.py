"""The papers' tables: commands and figures, written here again from spec and README."""

import dataclasses
import pathlib
import re

import pytest

from common.results import papers

ROOT = pathlib.Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPTIMIZERS = ("sgd", "sgdg", "adamg")


def figures_of_readme():
    """{(network, data): [errors]} of the README's table of the paper's figures."""
    found = {}
    for cifar10_name, *cells in re.findall(r"^\| ([VW]\S+-\d+) \| ([^|]+) \| ([^|]+) \| (\S+) \| ([^|]+) \|$", README, re.M):
        for name, data, cell in ((cifar10_name, "cifar10", cells[0]), (cifar10_name, "cifar100", cells[1]), (cells[2], "svhn", cells[3])):
            found[name.lower().replace("vgg-", "vgg"), data] = [float(error) for error in cell.split("/")]
    return found


def test_the_figures_are_those_of_the_readme():
    ours = {}
    for name in ("riemannian-cifar", "riemannian-svhn"):
        for row in papers.TABLES[name].rows:
            network, _, optimizer = row.name.rpartition("-")
            for data, error in row.paper.items():
                ours.setdefault((network, data), [None] * 3)[OPTIMIZERS.index(optimizer)] = error
    assert ours == figures_of_readme() and len(ours) == 12


def test_the_commands_are_those_that_the_readme_prints():
    printed = re.findall(r"^python train.py (--model=resnet --depth=28 .*) --data=cifar10$", README, re.M)
    rows = {row.name: row for row in papers.TABLES["riemannian-cifar"].rows}
    assert [" ".join(rows[f"wrn-28-10-{optimizer}"].flags) for optimizer in OPTIMIZERS] == printed


def test_an_svhn_command():
    (row,) = [row for row in papers.TABLES["riemannian-svhn"].rows if row.name == "wrn-22-8-adamg"]
    assert papers.values(row.flags) == {
        "model": "resnet", "depth": "22", "widen_factor": "8", "optimizer": "adamg", "grassmann": "True",
        "learnRate": "0.001", "learnRateG": "0.005", "omega": "0.1", "grad_clip": "0.1", "weightDecay": "0.0005",
        "keep_prob": "0.6", "learnRateDecay": "0.1",
    }  # fmt: skip


def test_every_command_is_one_that_its_program_takes():
    import importlib

    for table in papers.TABLES.values():
        for row in table.rows:
            settings = importlib.import_module(f"{row.folder}.train").METHOD.settings_class
            types = {field.name: field for field in dataclasses.fields(settings)}
            assert set(papers.values(row.flags)) <= set(types), row


def test_the_rows_of_the_comparison():
    rows = [row.name for row in papers.TABLES["opt-comparison"].rows]
    assert rows[:8] == ["baseline", "upt", "opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "sopt_gs"]
    assert rows[8:] == (["opt_or"] if (ROOT / "opt_or").is_dir() else [])
    assert all("--widths=64,64,64,64" in row.flags and not row.paper for row in papers.TABLES["opt-comparison"].rows)


@pytest.fixture(scope="module")
def flags():
    """Those of flags.txt after the paper's command of VGG-13 with Adam-G, other seed and GPUs."""
    from grassmann.program import Settings

    settings = Settings(
        model="vgg13", optimizer="adamg", grassmann=True, learnRate=0.01, learnRateG=0.05, omega=0.1, grad_clip=0.1,
        weightDecay=0.0005, keep_prob=0.7, data="cifar100", batch_size=128, num_gpus=2, seed=3,
    )  # fmt: skip
    given = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {name: str(value) for name, value in given.items() if value is not None}


def test_a_run_of_the_papers_command_has_the_papers_figure(flags):
    assert papers.figure("grassmann", flags) == 24.89
    assert papers.figure("grassmann", {**flags, "data": "cifar10"}) == 6.05


@pytest.mark.parametrize(
    "other",
    [
        {"data": "digits"}, {"max_steps": "10"}, {"omega": "0.2"}, {"batch_size": "64"}, {"gammaDecay": "0.1"},
        {"load": "x"}, {"optimizer": "sgd"}, {"momentum": "0.5"}, {"precision": "float16"}, {"model": "vgg11"},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_with_another_flag_has_none(flags, other):
    assert papers.figure("grassmann", {**flags, **other}) is None
    assert papers.figure("opt_cp", flags) is None


def test_the_defaults_are_the_programs():
    from grassmann.program import CIFAR, Settings

    theirs = {field.name: field.default for field in dataclasses.fields(Settings)} | {"batch_size": CIFAR.batch_size}
    assert papers.DEFAULTS == {name: theirs[name] for name in papers.DEFAULTS}


def test_values_of_flags():
    assert papers.values(["--a=1", "--xla", "--nonesterov", "--a=2=3"]) == {"a": "2=3", "xla": "True", "nesterov": "False"}
    assert papers.same("0.10", "0.1") and papers.same(True, "True") and papers.same(None, None)
    assert not papers.same("0", None) and not papers.same("a", "b")
