"""README.md and docs/ are true: programs run, commands have flags that exist, links lead somewhere, tables are current.

`python tests/test_docs.py` writes the tables of flags.
"""

import contextlib
import doctest
import importlib
import io
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from common import command
from common.cli.start import train_modules

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
MODULES = train_modules()
# A program that is shown, and what it prints, if that is shown; blocks with a name are files of docs/methods.md.
PROGRAM = re.compile(r"^```python\n(?!# \w+/)(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```python\n# (\w+/\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = [(name, *match) for name, text in TEXTS.items() for match in PROGRAM.findall(text)]
SHELL = {"export", "git", "nohup", "saved_model_cli", "sha256sum", "tensorboard", ".", "python3"}


@pytest.mark.parametrize(("page", "program", "printed"), PROGRAMS, ids=lambda value: value[:30])
def test_programs_run_and_print_what_is_shown(page, program, printed):
    if "sys.argv" in program:  # takes an exported network: see tests/common/training/test_export.py
        assert program in [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "examples").glob("*.py")]
        return
    from common.compat import tf

    with tf.Graph().as_default(), contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(program, page, "exec"), {"__name__": "__main__"})
    if printed:
        assert doctest.OutputChecker().check_output(printed, output.getvalue(), doctest.ELLIPSIS), output.getvalue()


def commands(text):
    """Yields (folder, words) of the commands in a text: lines of bash blocks, and code that begins as a command."""
    text = re.sub(r"<!-- results.*?<!-- end -->", "", text, flags=re.DOTALL)  # there commands of the past are quoted
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`((?:cd \S+ && )?(?:python|pip|pytest) [^`]+)`", prose)
    for block in [*blocks, *(" ".join(code.split()) for code in inline)]:
        folder = "."
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|[()]", line):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words[:1] == ["cd"]:
                    folder = words[1]
                elif words:
                    yield folder, words


COMMANDS = {
    (name, folder, shlex.join(words)): None for name, text in TEXTS.items() for folder, words in commands(text)
}


@pytest.mark.parametrize(("page", "folder", "line"), COMMANDS)
def test_commands_have_flags_and_files_that_exist(page, folder, line):
    assert folder.startswith("./logs") or (ROOT / folder).is_dir()
    check(folder, shlex.split(line))


def check(folder, words):
    if words[0] == "pip":
        (extra,) = re.findall(r"\[(\w+)\]", words[-1]) or ["gpu"]
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    elif words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
    elif words[:2] == ["python", "-m"]:
        module = importlib.import_module(words[2])
        if words[2] == "common.launch":
            check(folder, words[words.index("--") + 1 :])
            words = words[: words.index("--")]
        if hasattr(module, "Settings"):
            command.CommandLine(module.Settings, words[3:]).settings()
    elif words[0] == "python" and words[1].endswith("train.py"):
        flags = [word for word in words[2:] if not word.startswith(("--flagfile", "--help"))]
        line = command.CommandLine(MODULES[(pathlib.Path(folder) / words[1]).parent.name].Settings, flags)
        assert not line.words and line.settings()
    elif words[0] == "python":
        assert (ROOT / folder / words[1]).is_file()
    else:
        assert words[0] in SHELL


LINKS = [(name, target) for name, text in TEXTS.items() for target in re.findall(r"\]\(([^)\s]+)\)", text)]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_links_lead_somewhere(page, target):
    if target.startswith("https://"):
        return
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    assert not anchor or anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_files_that_are_named_exist():
    for name, text in TEXTS.items():
        for path in re.findall(r"`((?:tests|common|opt_\w+|grassmann|benchmarks)/[\w/]+\.py)", text):
            assert (ROOT / path).is_file(), f"{name}: {path}"


def test_what_is_committed_is_not_ignored_and_the_readme_is_short():
    git = ["git", "-C", str(ROOT), "ls-files", "-ci", "--exclude-standard"]
    assert not subprocess.run(git, check=False, capture_output=True).stdout
    assert TEXTS["README.md"].count("\n") < 220


# --- tables of flags ---


def with_flags(text):
    """Returns a page with the tables of flags filled in: each folder's own ones, apart from those of the first."""
    shared = command.table(MODULES["opt_hr"].Settings).splitlines()

    def filled(place):
        lines = command.table(MODULES[place[2]].Settings).splitlines()
        own = lines if place[2] == "opt_hr" else [*lines[:2], *(line for line in lines[2:] if line not in shared)]
        return "\n".join([place[1], *own, place[3]])

    return re.sub(r"(<!-- flags of (\w+) -->)\n.*?(<!-- end -->)", filled, text, flags=re.DOTALL)


def test_tables_of_flags_are_current():
    assert TEXTS["docs/flags.md"] == with_flags(TEXTS["docs/flags.md"]), "run `python tests/test_docs.py`"


# --- the method of docs/methods.md ---


def test_the_method_is_made_tested_and_trained(tmp_path, monkeypatch, capsys):
    for path, code in FILE.findall(TEXTS["docs/methods.md"]):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("opt_exp.test_exponential").test_values_and_gradients()
    train = importlib.import_module("opt_exp.train")
    flags = ["--data=synthetic", "--widths=4,4,4,4", "--batch_size=8", "--max_steps=3", f"--train_path={tmp_path}/run"]
    with pytest.raises(SystemExit) as ended:
        train.main(train.Settings, train.method, flags)
    assert ended.value.code == 0 and "err = " in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")


# --- commands that train, at tiny size ---

NOT_ALONE = r"--(task|load|flagfile|wor|widen|num_gpus|help)"  # needs a run, other processes, or minutes
TRAINED = sorted(
    {(folder, line) for _, folder, line in COMMANDS if "train.py" in line and not re.search(NOT_ALONE, line)}
)
TINY = ("--data=synthetic", "--max_steps=2", "--batch_size=8", "--vali_batch_size=64")


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "line"), TRAINED)
def test_commands_train(folder, line, tmp_path):
    network = [] if "--model" in line else ["--widths=4,4,4,4"]
    words = [sys.executable, *shlex.split(line)[1:], *TINY, *network, f"--train_path={tmp_path}/run"]
    subprocess.run(words, cwd=ROOT / folder, check=True, capture_output=True, timeout=600)


if __name__ == "__main__":
    page = ROOT / "docs" / "flags.md"
    page.write_text(with_flags(page.read_text(encoding="utf-8")), encoding="utf-8")
