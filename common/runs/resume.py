"""Where a run begins: at the start, at a checkpoint of another run, or where a run in the same folder was stopped."""

import contextlib
import dataclasses
import os

from common import files, flags
from common.console import say
from common.files import FLAGS
from common.flags import Resume
from common.runs import checkpoints, saver
from common.runs.folder import check_unused, has_saved, holds_run, new_path
from common.runs.lock import RunLock
from common.runs.lock import holder as lock_holder


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a program begins.

    Attributes:
      checkpoint: whose values the variables get, or None.
      folder: where the run writes to; None for a new folder, whose name is not known yet.
      lock: the `RunLock` of the folder.
      goes_on: whether the run is that of the folder, so that its metrics continue.
      lines: what has been said about it: they belong to the log.
      steered_from: the settings that the checkpoint was trained with, if training goes on otherwise; else None.
    """

    checkpoint: str | None = None
    folder: str | None = None
    lock: RunLock | None = None
    goes_on: bool = False
    lines: tuple[str, ...] = ()
    steered_from: object = None


@contextlib.contextmanager
def beginning(settings):
    """Yields the `Start` that settings ask for; a run's folder is locked as long as it lasts.

    Raises ValueError if another process trains there, if there is a run and nothing says to go on with it, and if what
    is to be loaded is missing or damaged.
    """
    lines = []

    def note(line):
        lines.append(line)
        say(line)

    if settings.task != "train":
        yield Start(checkpoints.find(settings.load, note) if settings.load else None)
        return
    if settings.train_path is None:
        yield Start(_loaded(settings, note), lines=tuple(lines))
        return
    check_unused(settings.train_path)
    with RunLock(settings.train_path, note) as lock:
        saver.tidy(settings.train_path)
        checkpoint = checkpoints.newest(settings.train_path, note) if settings.resume else None
        goes_on = checkpoint is not None
        if not goes_on:
            if settings.resume:
                _check_none_is_gone(settings.train_path)
                note(f"--resume: there is no checkpoint in {settings.train_path} yet; the run starts afresh")
            checkpoint = _loaded(settings, note)
            goes_on = checkpoint is not None and _same(os.path.dirname(checkpoint), settings.train_path)
        if not goes_on and not settings.resume and holds_run(settings.train_path):
            raise ValueError(
                f"{settings.train_path} holds a run already; go on with --resume, or choose another --train_path"
            )
        yield Start(checkpoint, settings.train_path, lock, goes_on, tuple(lines))


def _check_none_is_gone(folder):
    if has_saved(folder):
        raise ValueError(
            f"the checkpoints of the run in {folder} are gone, and starting afresh would replace its metrics; put the "
            "checkpoints back, or choose another --train_path"
        )


@contextlib.contextmanager
def in_folder(program, settings, start):
    """Yields `start` with a locked folder: for a run without a --train_path a new one, now that it has a name."""
    if start.folder is not None:
        yield start
        return
    with RunLock(new_path(settings.train_dir, program.run_name(settings)), say, new=True) as lock:
        yield dataclasses.replace(start, folder=lock.folder, lock=lock)


def check_method(program, settings):
    """Raises ValueError if the run that settings go on with or load is of another method.

    Variables of other methods may be called the same.
    """
    text, method = begun_by(settings) or "", program.method(settings)
    trained_by = flags.method_in(text)
    if trained_by not in (None, method) and flags.parsed(text):
        raise ValueError(
            f"the run in {_folder_of(settings)} was trained by {trained_by}, not by {method}; use the folder, "
            "--rotation and (in sopt_gs) --map that it was trained with"
        )


def check(program, settings, start):
    """Returns lines on how the flags differ from those in flags.txt beside the checkpoint.

    Raises ValueError if the run goes on there and flags differ that make another run of it.
    """
    before = flags_beside(start.checkpoint)
    if before is None:
        return []
    if not flags.parsed(before):
        return [f"{FLAGS} beside {start.checkpoint} holds no flags: nothing is compared with them"]
    if settings.task != "train":
        return []
    lines = flags.remarks_on(flags.gone(before))
    changed = {group: [] for group in Resume}
    for field, old, new in flags.differences(settings, before):
        group = field.metadata["on_resume"]
        hint = f" ({field.metadata['help']})" if group is Resume.STEERS else ""
        old, new = (flags.short(text or "none") for text in (old, new))
        values = {"name": field.name, "old": old, "new": new, "settings": settings}
        changed[group].append(field.metadata["differs"].format(**values) + hint)
    if start.goes_on and changed[Resume.REFUSED]:
        raise ValueError(
            f"the run in {start.folder} cannot go on with other flags or images than its own "
            f"({'; '.join(changed[Resume.REFUSED])}): give its own flags ({FLAGS} has them) and images, or "
            "begin another run from its checkpoint with "
            f"--load={start.checkpoint} --train_path=NEW"
        )
    loud = changed[Resume.REFUSED] + changed[Resume.STEERS]
    lines += [f"FLAGS CHANGED, TRAINING IS ANOTHER ONE FROM HERE ON: {'; '.join(loud)}"] if loud else []
    return lines + ([f"flags changed: {'; '.join(changed[Resume.ANY])}"] if changed[Resume.ANY] else [])


def text(program, settings, start, classes=""):
    """Returns the flags.txt of a run: its method, what made it, its classes, and the checkpoint that it began at.

    A run that goes on keeps the checkpoint that it began at.
    """
    before = flags_beside(start.checkpoint) if start.goes_on else None
    origin = settings.load if before is None else flags.origin(before)
    head = f"# {program.method(settings)}\n{flags.origin_line(origin)}{flags.classes_line(classes)}"
    return f"{head}{flags.text(settings)}"


def begun_by(settings):
    """Returns the flags.txt of the run that settings go on with or load, or None; any process of a cluster may ask.

    A run without a checkpoint starts afresh: its flags.txt does not count.
    """
    folder = _folder_of(settings)
    return None if folder is None else flags.recorded_in(folder)


def _folder_of(settings):
    return files.beginning(settings.task, settings.resume, settings.train_path, settings.load)[0]


def _loaded(settings, note):
    """Returns the checkpoint that --load means, or None."""
    if settings.load is None:
        return None
    folder = checkpoints.folder_of(settings.load)
    if folder is not None and not (settings.train_path and _same(folder, settings.train_path)):
        holder = lock_holder(folder)
        if holder:
            raise ValueError(
                f"--load={settings.load}: {holder} trains there, and its checkpoints come and go; name one of them "
                "(model.ckpt-STEP), or wait"
            )
    return checkpoints.find(settings.load, note)


def _same(first, second):
    return os.path.realpath(first) == os.path.realpath(second)


def flags_beside(checkpoint):
    """Returns what flags.txt beside a checkpoint says, or None."""
    return None if checkpoint is None else flags.recorded_in(os.path.dirname(checkpoint))
