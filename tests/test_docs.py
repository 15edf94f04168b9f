"""README.md and docs/ are true: programs run, commands have flags that exist, links lead somewhere, tables are current.

`python tests/test_docs.py` writes the tables of flags.
"""

import contextlib
import dataclasses
import doctest
import importlib
import io
import pathlib
import re
import shlex
import subprocess

import pytest

from common import command, flags
from common.cli.start import train_modules
from common.compat import tf

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ["README.md", "benchmarks/README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
MODULES = train_modules()

# --- programs ---

# A program, and what it prints if that stands below it; a block that begins with a path is a file of docs/methods.md.
PROGRAM = re.compile(r"^```python\n(?!# \w+/)(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```python\n# (\w+/\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = [pytest.param(*match, id=page) for page, text in TEXTS.items() for match in PROGRAM.findall(text)]


@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_programs_run_and_print_what_is_shown(program, printed):
    if "sys.argv" in program:  # takes an exported network: tests/common/training/test_export.py runs it
        assert program in [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "examples").glob("*.py")]
        return
    with tf.Graph().as_default(), contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(program, "a page", "exec"), {"__name__": "__main__"})
    if printed:
        assert doctest.OutputChecker().check_output(printed, output.getvalue(), doctest.ELLIPSIS), output.getvalue()


def test_the_method_is_made_tested_and_trained(tmp_path, monkeypatch):
    for path, code in FILE.findall(TEXTS["docs/methods.md"]):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("opt_exp.test_exponential").test_values_and_gradients()
    trains(importlib.import_module("opt_exp.train"), [], tmp_path)


# --- commands ---


def commands(text):
    """Yields (folder, words) of the commands in a text: lines of bash blocks, and code that begins as a command."""
    text = re.sub(r"<!-- results.*?<!-- end -->", "", text, flags=re.DOTALL)  # there commands of the past are quoted
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`((?:cd \S+ && )?(?:python|pip|pytest) [^`]+)`", prose)
    for block in [*blocks, *(" ".join(code.split()) for code in inline)]:
        folder = "."
        for part in re.split(r"\n|&&|[()]", block.replace("\\\n", " ")):
            words = shlex.split(re.sub(r"^\s*[A-Z_]+=\S+ ", "", part), comments=True)
            folder = words[1] if words[:1] == ["cd"] else folder
            if words and words[0] != "cd":
                yield folder, words


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_flags_and_files_that_exist(page):
    for folder, words in commands(TEXTS[page]):
        assert folder.startswith("./logs") or (ROOT / folder).is_dir(), folder
        check(folder, words)


def check(folder, words):
    if words[:2] == ["pip", "install"]:
        extra = re.search(r"\[(\w+)\]", words[-1])
        assert not extra or f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
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
        assert not line.words and line.settings(), words
    elif words[0] == "python":
        assert (ROOT / folder / words[1]).is_file(), words
    else:
        assert words[0] in {"export", "git", "saved_model_cli", "sha256sum", "tensorboard", ".", "python3"}, words


# Flags that need a run, workers, or minutes.
NOT_ALONE = {"help", "task", "load", "flagfile", "worker_hosts", "num_gpus", "widen_factor"}
FAST = {("opt_hr", "--data=digits"), ("grassmann", "--grassmann=True --model=resnet --optimizer=sgdg")}
TRAINED = sorted(
    {
        (folder, shlex.join(sorted(words[2:])))
        for text in TEXTS.values()
        for folder, words in commands(text)
        if words[1].endswith("train.py") and not NOT_ALONE & {word.strip("-").partition("=")[0] for word in words}
    }
)


@pytest.mark.parametrize(
    ("folder", "flags"), [pytest.param(*each, marks=[] if each in FAST else pytest.mark.slow) for each in TRAINED]
)
def test_commands_train(folder, flags, tmp_path):
    trains(MODULES[folder], shlex.split(flags), tmp_path)


def trains(module, flags, tmp_path):
    """Runs a train.py for two updates of a tiny network and looks at its log."""
    for source in [flag for flag in flags if flag.startswith("--fixed=../")]:  # ../FOLDER/logs/RUN
        trains(MODULES[source.split("/")[1]], [], tmp_path / "source")
        flags = [f"--fixed={tmp_path}/source/run" if flag == source else flag for flag in flags]
    network = [] if "--model" in " ".join(flags) else ["--widths=4,4,4,4"]
    tiny = ["--data=synthetic", "--max_steps=2", "--batch_size=8", f"--train_path={tmp_path}/run"]
    with pytest.raises(SystemExit) as ended:
        module.main(module.Settings, module.method, [*flags, *tiny, *network])
    assert ended.value.code == 0 and "validation: " in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")


# --- links, names, tables ---


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_and_files_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https://)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, target
    for path in re.findall(r"`((?:tests|common|opt_\w+|grassmann|benchmarks)/[\w/]+\.py)", text):
        assert (ROOT / path).is_file(), path


def test_the_readme_is_short_and_what_is_committed_is_not_ignored():
    assert TEXTS["README.md"].count("\n") < 230
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert not subprocess.run(git, check=False, capture_output=True).stdout


def _table(settings_class):
    """Returns a Markdown table of a settings class: flag, default, meaning with bounds, on --resume."""
    lines = ["| flag | default | meaning | on --resume |", "|---|---|---|---|"]
    for field in dataclasses.fields(settings_class):
        default = "" if field.default is None else f"`{field.default}`"
        bounds = flags.bounds(field)
        meaning = field.metadata["help"] + (f" ({bounds})" if bounds else "")
        lines.append(f"| `--{field.name}` | {default} | {meaning} | {field.metadata['on_resume'].name.lower()} |")
    return "\n".join(lines) + "\n"


def with_flags(text):
    """Returns a page with the tables of flags filled in: of each folder those that the first table has not."""
    shared = _table(MODULES["opt_hr"].Settings).splitlines()

    def filled(place):
        head, rule, *lines = _table(MODULES[place[2]].Settings).splitlines()
        own = [line for line in lines if place[2] == "opt_hr" or line not in shared]
        return "\n".join([place[1], head, rule, *own, place[3]])

    return re.sub(r"(<!-- flags of (\w+) -->)\n.*?(<!-- end -->)", filled, text, flags=re.DOTALL)


def test_tables_of_flags_are_current():
    assert TEXTS["docs/flags.md"] == with_flags(TEXTS["docs/flags.md"]), "run `python tests/test_docs.py`"


if __name__ == "__main__":
    (ROOT / "docs" / "flags.md").write_text(with_flags(TEXTS["docs/flags.md"]), encoding="utf-8")
