"""Every command of the README runs, long ones cut to two updates (see tests/readme_commands.py)."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from common.cli.start import train_modules
from common.command import CommandLine
from tests.readme_commands import METHODS, README, ROOT, commands, rule_of, scripts, shell, two_updates

MODULES = train_modules()
SCRIPTS = scripts(README)
COMMANDS = [(where, command) for where, lines in SCRIPTS.items() for line in lines for command in commands(line)]


def test_commands_are_found_wherever_they_stand():
    text = (
        "Run `python a.py\n--b` or `train.py`, `--c=1` and `cd x && python y.py`.\n```bash\ncd d  # why\n"
        "python e.py \\\n  --f\n# alone\n```\n```\nG  output 3\npython g.py\n```\n```python\npip install h\n```\n"
        "| `pip install i` |\n```\n$ python j.py\nerror: k\n```\n"
    )
    assert list(scripts(text).values()) == [
        ["cd d", "python e.py    --f"],
        ["python g.py"],
        ["python j.py"],
        ["python a.py --b"],
        ["cd x && python y.py"],
        ["pip install i"],
    ]
    assert commands("a && (cd b && c --d)") == ["a", "cd b", "c --d"]


def test_every_command_of_the_readme_has_a_rule():
    assert len(COMMANDS) > 40
    for _, command in COMMANDS:
        rule_of(command)
    with pytest.raises(AssertionError, match="no rule .* covers .*: python -m common.unheard_of"):
        rule_of("python -m common.unheard_of")


def test_cutting():
    assert two_updates("python train.py --data=cifar100") == (
        "python train.py --data=synthetic --widths=4,4,4,4 --max_steps=2"
    )
    assert shell(["cd opt_hr", "python train.py --data=digits"]) == (
        "cd opt_hr\npython train.py --data=digits --widths=4,4,4,4 --max_steps=2", 0
    )  # fmt: skip


def folder_of(where, command):
    """The folder in which a command is given: that of the `cd` before it, or its rule's."""
    text, _ = shell(SCRIPTS[where])
    before = text[: text.index(rule_of(command).cut(command))]
    open_ones = re.sub(r"\([^()]*\)", "", before)  # a `cd` in parentheses ends with them
    return re.findall(r"\bcd (?:\.\./)?(\w+|\.)", open_ones)[-1]


@pytest.mark.parametrize("where", SCRIPTS)
def test_folders_modules_and_flags_exist(where):
    """Cheaply what the slow test shows: the flags of each program are known, and their values are taken."""
    for command in [command for line in SCRIPTS[where] for command in commands(line)]:
        for extra in re.findall(r"pip install .*\[(\w+)\]", command):
            assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8"), command
        for module in re.findall(r"python -m ((?:common|benchmarks)[\w.]*)", command):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), command
        if command.startswith("cd ") and "logs" not in command:
            folder = rule_of(command).cut(command).removeprefix("cd ").removeprefix("../")
            assert (ROOT / folder).is_dir(), command
        if "train.py" in command and "--help" not in command and "--flagfile" not in command:
            folder = re.search(r"(\w*)/?train\.py", command).group(1) or folder_of(where, command)
            assert folder in METHODS, f"in which folder? {command}"
            check_flags(command, MODULES[folder].Settings)


def check_flags(command, settings_class):
    """Reads the flags of a command as a program does."""
    arguments = command.split()
    start = [argument.endswith("train.py") for argument in arguments].index(True)
    line = CommandLine(settings_class, arguments[start + 1 :])
    assert not line.words, f"more than flags: {command}"
    line.settings()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what is under version control, and of what is about to be."""
    path = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    yield path
    shutil.rmtree(path, ignore_errors=True)  # checkpoints of wide networks


@pytest.mark.slow
@pytest.mark.parametrize("where", SCRIPTS)
def test_it_runs(where, clone):
    if "benchmarks" in where:
        pytest.importorskip("matplotlib")
    text, status = shell(SCRIPTS[where])
    paths = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=clone, env={**os.environ, "PATH": paths}, capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip
    assert done.returncode == status, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr, done.stderr
