"""Damaged and hostile files: each gives a data set or an error of one line, and touches nothing else.

A worker process reads them (see tests/fuzzing): what is run, what is written outside the folder, a crash, a hang and
memory beyond a bound all count as faults. Hypothesis makes the same files every time. SVHN's files are not among them:
scipy, which reads those, promises less.
"""

import gzip

import pytest

from tests.fuzzing import driver, files, mutations

CHANGED = {"cifar": "cifar-100-python/test", "tar": "cifar-100-python.tar.gz"}


def reader(tmp_path, name):
    packed = {CHANGED["tar"]: gzip.compress(files.cifar_tars()[0], mtime=0)}
    return driver.Reader(tmp_path, name, files.cifar_set() if name == "cifar" else packed, memory=64 << 20)


def fuzz(tmp_path, name, examples):
    damaged = mutations.damaged(files.cifar_batches()) if name == "cifar" else mutations.damaged_tar(files.cifar_tars())
    with reader(tmp_path, name) as made:
        driver.fuzz(made, damaged.map(lambda contents: {CHANGED[name]: contents}), examples, examples // 4)
        return made.counts


@pytest.mark.parametrize("name", CHANGED)
def test_damaged_files_are_data_or_an_error_of_one_line(tmp_path, name):
    fuzz(tmp_path, name, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_many_damaged_files_are_data_or_an_error_of_one_line(tmp_path, name):
    counts = fuzz(tmp_path, name, 600)
    assert counts["data"] >= 12, "some changes do no harm"


HOSTILE = {"cifar": files.hostile_pickles, "tar": files.hostile_archives}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_data_or_an_error_of_one_line(tmp_path, name):
    """Each of them, and all that fail in one message."""
    faults = []
    with reader(tmp_path, name) as made:
        for kind, contents in HOSTILE[name](str(tmp_path / "mark")).items():
            try:
                made.read({CHANGED[name]: contents})
            except AssertionError as error:
                faults.append(f"{kind}: {str(error)[-600:]}")
    assert not faults, "\n\n".join(faults)
    assert made.counts["error"] >= 15
