"""The commands of README.md: where they stand, what each of them is, and how it is cut to seconds.

A script is a block of the README, or a command within a line of text; it consists of lines, and a line of commands
joined by `&&`, in parentheses or not. Every command needs a rule of RULES, and the first one that matches counts: it
says in which folder the command is meant where the README's text and not the command says it, what has to be there
before, and what is changed so that it ends within seconds. A new kind of command needs a new rule.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHODS = ("opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "opt_or", "sopt_gs", "grassmann")

_FIRST_WORDS = (
    r"\(?(cd|python3?|pip|pytest|tensorboard|git|bash|sh|source|export|torchrun|srun|curl|tar|\.|[A-Z_]+=\S+) "
)
_INLINE = r"\(?(cd \S+ && |python3? |pip |pytest$|pytest -|tensorboard |[A-Z_]+=\S+ python)"


def scripts(text):
    """Returns {"where: its first words": [line, ...]} of all scripts in a Markdown text."""
    found = {}

    def add(lines, offset):
        number = text.count("\n", 0, offset) + 1
        found[f"line {number}: {lines[0][:60]}"] = lines

    def block(match):
        label, content = match.groups()
        lines = [_without_comment(line).removeprefix("$ ") for line in content.replace("\\\n", " ").splitlines()]
        commands = [line for line in lines if line and (label == "bash" or re.match(_FIRST_WORDS, line + " "))]
        if label in ("", "bash", "sh", "console") and commands:
            add(commands, match.start())
        return "\n" * match.group().count("\n")

    rest = re.sub(r"^```(\w*)\n(.*?)^```", block, text, flags=re.MULTILINE | re.DOTALL)
    assert rest.count("\n") == text.count("\n")
    # Offsets on the way: a block became as many line ends, so lines are counted in `rest`.
    for match in re.finditer(r"`([^`]+)`", rest):
        line = " ".join(match.group(1).split())
        if re.match(_INLINE, line):
            number = rest.count("\n", 0, match.start()) + 1
            found[f"line {number}: {line[:60]}"] = [line]
    return found


def _without_comment(line):
    return re.sub(r"(^|\s+)#.*$", "", line).strip()


def commands(line):
    """Returns the commands of a line without `&&` and parentheses."""
    return [part.strip().strip("()").strip() for part in line.split("&&")]


# --- how commands are cut ---------------------------------------------------------------------------------------------


def as_it_is(command):
    return command


def left_out(command):
    """For what is checked by eye: a command that does nothing takes its place."""
    return "true"


def with_flags(*flags):
    return lambda command: " ".join([command, *flags])


def replaced(pairs, then=as_it_is):
    """Replaces texts, each of which has to be there, and cuts the result."""

    def cut(command):
        for old, new in pairs.items():
            assert old in command, f"{old!r} is no longer in {command!r}"
            command = command.replace(old, new)
        return then(command)

    return cut


def two_updates(command, *flags):
    """A program's run cut to two updates, on made-up images in place of those that would be downloaded."""
    command = re.sub(r"--data=(cifar10|cifar100|svhn)\b", "--data=synthetic", command)
    data = [] if "--data" in command or "--flagfile" in command else ["--data=synthetic"]
    opt = not re.search(r"--(model|flagfile|optimizer)=", command)
    network = ["--widths=4,4,4,4"] if opt else []
    return " ".join([command, *data, *network, "--max_steps=2", *flags])


def wide(command):
    """The paper's wide networks: one update of two images, which takes most of a minute all the same."""
    return two_updates(command, "--max_steps=1", "--batch_size=2", "--vali_batch_size=32")


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a command is tested.

    Attributes:
      pattern: what the whole command looks like.
      cut: `cut(command) -> command` that takes seconds.
      folder: where it is meant to be given, from the root of the clone; None where `cd` says it.
      before: a command that makes what it needs, run in the same folder.
      status: its exit status.
    """

    pattern: str
    cut: Callable = as_it_is
    folder: str | None = None
    before: str | None = None
    status: int = 0


_LOGS = "./logs/opt_hr_cnn6_digits_2026-01-01_12-00-00"
_A_RUN = (
    f"[ -d {_LOGS} ] || {{ python train.py --data=digits --widths=4,4,4,4 --max_steps=2 --train_dir=./logs/new && "
    f"mv ./logs/new/* {_LOGS}; }}"
)
_A_WIDE_RUN = (
    "python train.py --model=resnet --optimizer=sgd --data=synthetic --max_steps=1 "
    "--train_path=./logs/resnet_train_cifar100"
)
_TINY_RUN = "python opt_hr/train.py --data=synthetic --widths=4,4,4,4 --max_steps=2"
_TINY_TABLE = "python -m common.reproduce opt-comparison --data=synthetic --runs=1 --rows=baseline"
_SMALL_STEP = ["--batch_size=4", "--width=4", "--test_images=4", "--repeats=2", "--seconds=0.1"]
_SMALL_SCALING = [
    "--sizes=8,16", "--maps=cayley", "--batch_sizes=2,4", "--methods=ordinary", "--width=4", "--repeats=2"
]  # fmt: skip

RULES = (
    # Installs, checked by eye; that the extras exist is tested.
    Rule(r"python3 -m venv \.venv", left_out),
    Rule(r"\. \.venv/bin/activate", left_out),
    Rule(r"pip install (-q )?-e \S+", left_out),
    Rule(r"pytest( -n 2 --dist=loadfile| -m slow)?", left_out),  # this very suite
    # The shell.
    Rule(r"cd FOLDER", lambda command: "cd opt_hr"),
    Rule(r"cd \S+"),
    Rule(r"sha256sum -c \*\.sha256"),
    # The programs.
    Rule(r"python train\.py --help", folder="opt_hr", status=1),  # absl's way to end
    Rule(rf"python train\.py .*--load={re.escape(_LOGS)}", with_flags("--widths=4,4,4,4"), before=_A_RUN),
    Rule(rf"python train\.py --flagfile={re.escape(_LOGS)}/flags\.txt", before=_A_RUN),
    Rule(
        r"python train\.py .*--load=\./logs/mine/model\.ckpt-399 .*",
        replaced({"model.ckpt-399": "model.ckpt-1"}, then=lambda command: two_updates(command, "--max_steps=4")),
    ),
    Rule(
        r"python train\.py .*--load=\./logs/resnet_train_cifar100/model\.ckpt-78124",
        replaced({"ckpt-78124": "ckpt-0", "--depth=40 --widen_factor=10": ""}, then=two_updates),
        folder="grassmann",
        before=_A_WIDE_RUN,
    ),
    Rule(r"export TF_CONFIG=.*", left_out),  # would wait for a second machine, as the next two; tests/common/distributed has both
    Rule(r"python train\.py --worker_hosts=\S+ --task_index=[01] --num_gpus=2", left_out),
    Rule(r"python -m common\.launch .*", lambda command: two_updates(command, "--batch_size=8"), folder="."),
    Rule(r"python train\.py .*--widen_factor=(10|8) .*", wide),
    Rule(r"python train\.py .*--task=see --model=resnet .*", two_updates, folder="grassmann"),
    Rule(r"python train\.py .*--batch_size=1024 .*", lambda command: two_updates(command, "--batch_size=8")),
    Rule(r"python train\.py\b.*", two_updates),
    # Figures and plots.
    Rule(r"python -m common\.report opt_hr/logs", folder=".", before=f"{_TINY_RUN} --train_path=opt_hr/logs/tiny"),
    Rule(
        r"python -m common\.report RUN1 RUN2 .*",
        folder=".",
        before=f"{_TINY_RUN} --train_path=RUN1 && {_TINY_RUN} --base_lr=0.01 --train_path=RUN2",
    ),
    Rule(r"python -m common\.reproduce .* --dry_run", folder="."),
    Rule(
        r"python -m common\.reproduce opt-comparison --data=digits --runs=3",
        lambda command: f"{_TINY_TABLE} -- --widths=4,4,4,4 --max_steps=2 --batch_size=8",
        folder=".",
    ),
    Rule(
        r"python -m common\.reproduce .*",  # runs of hours or days: what would be run
        lambda command: command.replace(" -- ", " --dry_run -- ") if " -- " in command else f"{command} --dry_run",
        folder=".",
    ),
    Rule(r"python -m common\.readme", folder="."),
    Rule(
        r"python -m benchmarks\.maps",
        with_flags("--sizes=8", "--columns=4", "--maps=cayley", "--repeats=2"),
        folder=".",
    ),
    Rule(r"python -m benchmarks\.step", with_flags("--networks=cnn6", "--methods=opt_cp", *_SMALL_STEP), folder="."),
    Rule(
        r"python -m benchmarks\.profile",
        with_flags("--networks=cnn6", "--methods=ordinary", *_SMALL_STEP),
        folder=".",
    ),
    Rule(
        r"python -m benchmarks\.soak .*",
        lambda command: re.sub(r" \[.*\]", "", command) + " --steps=400 --json=soak.json",
        folder=".",
    ),
    Rule(r"saved_model_cli show .*"),  # comes with TensorFlow
    Rule(r"tensorboard --logdir=\./logs", left_out),  # serves until it is stopped
)


def rule_of(command):
    """Returns the rule of a command; AssertionError if there is none."""
    for rule in RULES:
        if re.fullmatch(rule.pattern, command):
            return rule
    raise AssertionError(f"no rule of tests/readme_commands.py covers this command of the README: {command}")


def shell(lines):
    """Returns the text of a script with every command cut, and the exit status it is to end with."""
    text, status = [], 0
    rules = [rule_of(command) for line in lines for command in commands(line)]
    folders = [rule.folder for rule in rules if rule.folder]
    if folders and not any(re.match(r"\(?cd ", line) for line in lines):
        text.append(f"cd {folders[0]}")
    for line in lines:
        for command in commands(line):
            rule = rule_of(command)
            status = rule.status
            line = line.replace(command, " && ".join([*([rule.before] if rule.before else []), rule.cut(command)]), 1)
        text.append(line)
    return "\n".join(text), status
