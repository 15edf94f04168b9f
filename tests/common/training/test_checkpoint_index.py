"""What is looked at in the index of a checkpoint before TensorFlow reads it."""

import struct

import pytest

from common.training import checkpoint_index
from tests.fuzzing import files, mutations

PATH = "model.ckpt-7"


@pytest.fixture
def made(tmp_path):
    return tmp_path, files.checkpoint_set(tmp_path)


def test_what_tensorflow_writes_passes(made):
    checkpoint_index.check(str(made[0] / PATH))


def change(made, before, after):
    """Writes the index with some bytes of its entries changed, and the sum that belongs to them."""
    folder, there = made
    table = there[f"{PATH}.index"]
    block = mutations.first_block(table)
    assert block.count(before) == 1 and len(before) == len(after)
    (folder / f"{PATH}.index").write_bytes(mutations.with_first_block(table, block.replace(before, after)))
    with pytest.raises(ValueError) as error:
        checkpoint_index.check(str(folder / PATH))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sizes_that_do_not_go_with_the_data(made):
    """In a BundleEntryProto 0x28 is the tag of the size, 0x20 that of the offset; the bias has 3 floats."""
    assert "which is not what is there" in change(made, b"\x20\x08\x28\x0c", b"\x20\x7f\x28\x0c")
    assert "which is not what is there" in change(made, b"\x20\x08\x28\x0c", b"\x20\x08\x28\x10")
    assert "which is not what is there" in change(made, b"\x12\x04\x12\x02\x08\x03", b"\x12\x04\x12\x02\x08\x05")


def test_entries_that_do_not_hold_together(made):
    assert "does not hold together" in change(made, b"\x20\x08\x28\x0c", b"\x27\x08\x28\x0c")
    assert "impossible" in change(made, b"\x08\x01\x12\x04", b"\x08\x00\x12\x04")


def test_tables_that_are_none(made):
    folder, there = made
    table = there[f"{PATH}.index"]
    far = b"\xff\xff\xff\xff\x0f" * 4 + bytes(20) + struct.pack("<Q", 0xDB4775248B80FB57)
    for contents in (b"", b"x" * 100, table[:-1], table[:-48] + far):
        (folder / f"{PATH}.index").write_bytes(contents)
        with pytest.raises(ValueError):
            checkpoint_index.check(str(folder / PATH))
