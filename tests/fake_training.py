"""Trainings that only write what a run would leave: for tests of common.reproduce."""

import pathlib
import signal

from common import reproduce
from common.results import rows
from tests import run_folders

# Errors on the holdout for each rate, in percent; None diverges.
ERRORS = {
    "baseline": {"0.005": 14.0, "0.01": 11.0, "0.02": 12.0, "0.04": None},
    "opt_cp": {"0.03": 9.5, "0.06": 9.25, "0.1": 9.0, "0.2": 8.5},
    "upt": dict.fromkeys(("0.01", "0.02", "0.04", "0.08")),
}


class Fake:
    """Trains by writing run folders, with `ERRORS` on the holdout and 20 + seed percent on the test set.

    Jobs called in `failing` leave none, and with the job number `stop_after` a signal comes. `ran` has their names.
    """

    def __init__(self, failing=(), stop_after=None):
        self.ran, self._failing, self._stop_after = [], failing, stop_after

    def __call__(self, job):
        self.ran.append(job.name)
        if job.name in self._failing:
            return 3, None
        flags = {"widths": None, **rows.values(job.arguments)}
        del flags["resume"]
        held = "holdout" in flags
        error = ERRORS[job.row.name][flags["base_lr"]] if held else 20.0 + int(flags["seed"])
        folder = pathlib.Path(job.path)
        run_folders.write(folder, job.row.method, errors=[] if error is None else [(2, 50.0), (4, error)], **flags)
        if error is None:
            (folder / "nonfinite.jsonl").write_text('{"step": 1, "dropped": false}\n')
            return 1, None
        if held:
            text = (folder / "metrics.jsonl").read_text()
            (folder / "metrics.jsonl").write_text(text.replace('"test"', '"holdout"'))
        return 0, signal.SIGINT if len(self.ran) == self._stop_after else None


def made(tmp_path, fake, *words, table="opt-comparison", **flags):
    """Returns the status of common.reproduce with two runs of two rows on digits, unless the flags say otherwise."""
    flags = {"data": "digits", "rows": "baseline,opt_cp", "runs": 2, "dir": str(tmp_path / "runs"), **flags}
    return reproduce.run([table, *words], reproduce.Settings(**flags), fake)
