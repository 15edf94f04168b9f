"""Settings from the command line and from code."""

import dataclasses

import pytest

from common import flags
from common.command import CommandLine


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    mode: str = flags.option("fast", "how", ("fast", "slow"))
    count: int | None = flags.option(None, "how many", minimum=1, maximum=9)
    rate: float = flags.option(0.5, "how quick", above=0)
    loud: bool = flags.option(False, "whether to shout", alias="noisy")
    sizes: tuple[int, ...] | None = flags.option(None, "how large", minimum=1)


def parse(*words):
    line = CommandLine(Settings, words)
    assert line.words == []
    return line.settings()


def test_defaults():
    assert parse() == Settings()


def test_every_kind_of_flag():
    given = parse("--mode=slow", "--count=3", "--rate=2e-1", "--noisy", "--sizes=1,2,3")
    assert given == Settings("slow", 3, 0.2, True, (1, 2, 3))


def test_text_gives_the_same_settings_through_a_flagfile(tmp_path):
    settings = Settings("slow", 3, 0.1 + 0.2, True, (4, 5))
    (tmp_path / "flags.txt").write_text(flags.text(settings))
    assert parse(f"--flagfile={tmp_path}/flags.txt") == settings
    assert "--count" not in flags.text(Settings())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--mode=quick", "--mode=quick: expected one of fast, slow"),
        ("--count=0", "--count=0: expected at least 1 and at most 9"),
        ("--count=10", "--count=10: expected at least 1 and at most 9"),
        ("--rate=0", "--rate=0.0: expected above 0"),
        ("--rate=nan", "--rate=nan: expected a finite number"),
        ("--rate=inf", "--rate=inf: expected a finite number"),
        ("--rate=1e39", "--rate=1e[+]39: expected a finite number, in float32"),
        ("--rate=1e-39", "--rate=1e-39: expected above 0, also when rounded to float32"),
        ("--rate=much", "--rate=much: expected a number;"),
        ("--count=1e3", "--count=1e3: expected a whole number;"),
        ("--count=", "--count=: expected a whole number;"),
        ("--sizes=1,x", "--sizes=1,x: expected whole numbers with commas between them"),
        ("--sizes=", "--sizes=: expected a whole number"),
        ("--sizes=1,0", r"--sizes=0: expected at least 1"),
    ],
)
def test_bad_values_are_named(word, message):
    with pytest.raises(ValueError, match=message):
        parse(word)


def test_bounds_hold_for_settings_made_in_code():
    with pytest.raises(ValueError, match="--count=-1"):
        Settings(count=-1)
