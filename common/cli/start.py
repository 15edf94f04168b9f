"""How a train.py starts: flags first, TensorFlow after them, so that --help and a wrong flag are answered at once."""

import contextlib
import importlib
import os
import pathlib
import signal
import sys

from common import command, console, files, flags
from common.cli.settings import in_cluster
from common.data.names import check
from common.files import FLAGS
from common.flags import ANY, REFUSED, STEERS

_ENTRY = "from common.cli.start import main"  # what every train.py of this project says
_CHECKPOINT_TASKS = ("test", "see", "export")


def main(settings_class, method, arguments=None):
    """Runs a program and ends the process; expected errors are one line on standard error and status 1.

    Args:
      settings_class: its flags.
      method: `method() -> Program`, called when the flags are known to be right: it may import TensorFlow.
      arguments: the command line, without the program's name; None for that of the process.
    """
    console.prepare()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    sys.exit(command.status_of(lambda: _run(settings_class, method, arguments)))


def _run(settings_class, method, arguments):
    line, remarks = read(settings_class, arguments)
    try:
        settings = line.settings()
        settings.check_task()
    except ValueError as error:
        raise ValueError("; ".join([str(error), *remarks])) from None
    if line.only_check:
        return 0
    with _ending_at_once():
        from common.cli import program

        made = method()
    return console.finish(program.execute(made, settings, remarks), needed=settings.task in _CHECKPOINT_TASKS)


def read(settings_class, arguments):
    """Returns the `CommandLine` of a program and lines to say about it.

    Whatever begins at a checkpoint has from the flags.txt there what is not given here.
    Raises ValueError and OSError for what cannot be read.
    """
    line = command.CommandLine(settings_class, arguments)
    if line.words:
        raise ValueError(f"unexpected argument {line.words[0]!r}: flags are written --name=value")
    folder, names = _recorded(settings_class, line)
    if folder is None:
        return line, flags.remarks_on(line.gone)
    text, is_training = flags.recorded_in(folder), line.values["task"].value == "train"
    if text is None or not flags.parsed(text):
        missing = f"there is no {FLAGS} in {folder or '.'}, or no flag in it"
        advice = "give --data, --model and what else made the checkpoint's network, where it is not the default"
        lines = [] if is_training else [f"{missing}: {advice}"]
        return line, [*flags.remarks_on(line.gone), *lines]
    recorded, given = flags.parsed(text), line.given()
    if is_training and "data" in given and check(given["data"]) != recorded.get("data"):
        return line, flags.remarks_on(line.gone)  # on other images a run has a preset of its own
    names -= flags.outdated(settings_class, {**recorded, **given}, recorded)
    method, gone = flags.method_in(text), line.gone or flags.gone(text)
    of = os.path.join(folder, FLAGS) + (f", a run of {method}" if method else "")
    return command.CommandLine(settings_class, arguments, usual=flags.words(text, names), of=of), flags.remarks_on(gone)


def _recorded(settings_class, line):
    """Returns (the folder whose flags.txt has what a command line does not say, names of the flags that count there).

    The folder is None if none has. Of a run without a checkpoint, which starts afresh, flags.txt does not count.
    """
    task, resume, *paths = (line.values[name].value for name in ("task", "resume", "train_path", "load"))
    paths = [path and flags.local_path(f"--{name}", path) for name, path in zip(("train_path", "load"), paths)]
    folder, goes_on = files.beginning(task, resume, *paths)
    if folder is None:
        return None, set()
    names = {*settings_class.names(REFUSED, STEERS), *(settings_class.names(ANY) if goes_on else ["data_dir"])}
    if in_cluster(line.values["worker_hosts"].value):
        names.intersection_update(settings_class.shared_names())  # flags.txt is the chief's
    return folder, names


def train_modules(root=pathlib.Path(__file__).resolve().parents[2]):
    """Returns {folder: module} of the train.py in the folders beside `common`: each has `Settings` and `method`.

    Of an installed project that is where every package lies: a train.py of somebody else's is not imported.
    """
    scripts = [s for s in sorted(root.glob("*/train.py")) if _ENTRY in s.read_text("utf-8", errors="replace")]
    return {script.parent.name: importlib.import_module(f"{script.parent.name}.train") for script in scripts}


@contextlib.contextmanager
def _ending_at_once():
    """Within it, Ctrl-C ends the process: while TensorFlow is imported, an exception would surface as another one."""

    terminal = None
    with contextlib.suppress(OSError):  # it is closed
        terminal = os.dup(2)  # common.compat points 2 elsewhere while TensorFlow is imported

    def end(number, frame):
        with contextlib.suppress(OSError, TypeError):
            os.write(terminal, b"\ninterrupted while the program was starting; there was nothing to save\n")
        os._exit(128 + number)

    try:
        before = signal.signal(signal.SIGINT, end)
    except ValueError:  # not in the main thread, where there are no signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if terminal is not None:
            os.close(terminal)
