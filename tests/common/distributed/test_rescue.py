"""What the chief saves when a worker ends while a checkpoint is being written."""

import contextlib
import types

import pytest

from common.runs.saver import SaveError
from common.training import callbacks


class CheckpointManager:
    """Saves unless its session is closed."""

    def __init__(self, error):
        self._error, self.saved = error, []

    def save(self, session, step):
        if session == "closed":
            raise self._error
        self.saved.append(step)
        return f"run/model.ckpt-{step}"


def save_with(manager):
    folder = types.SimpleNamespace(sync=lambda: None, say=lambda line: None)
    lock = types.SimpleNamespace(renew=lambda: None)
    clock = types.SimpleNamespace(pause=lambda seconds: None)
    return callbacks.Save(folder, "open", manager, 5, 100, clock, lock)


@pytest.mark.parametrize("error", [SaveError("cancelled"), RuntimeError("Attempted to use a closed Session.")])
def test_a_save_that_the_watchdog_broke_off_is_done_again(error):
    manager = CheckpointManager(error)
    save = save_with(manager)
    save.at(3)
    save.use("closed")
    with contextlib.suppress(RuntimeError):
        save.at(4)
    save.use("open")
    save.at(4)
    assert manager.saved == [3, 4] and save.fault is None and save.path == "run/model.ckpt-4"


def test_what_is_saved_is_not_saved_again():
    manager = CheckpointManager(None)
    save = save_with(manager)
    save.at(4)
    save.use("another")
    save.at(4)
    assert manager.saved == [4]
