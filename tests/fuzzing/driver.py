"""Hands mutated files to a worker process and holds its answers to the rule: data, or an error of one line."""

import json
import os
import pathlib
import select
import shutil
import subprocess
import sys

from hypothesis import HealthCheck, given, settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
_HANG = 120.0  # seconds for one small file: not a matter of speed, but of ever ending on a busy machine


class Reader:
    """A worker, its box and the folder `data` in it, the only place that may change.

    Args:
      box: an empty folder.
      name: the worker's reader.
      valid: {file name: contents} of a whole valid data set.
      memory: bytes that the worker may take beyond what it needs for the valid set.
    """

    def __init__(self, box, name, valid, memory):
        self._box, self._name, self._valid, self._memory = pathlib.Path(box), name, valid, memory
        (self._box / "outside").write_text("untouched")
        self.counts = {"data": 0, "error": 0}
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stop()

    def _start(self):
        command = [sys.executable, "-m", "tests.fuzzing.worker", self._name, str(self._memory)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._fill(self._valid)
        assert self._ask()[0] == "data", "the valid set is read"

    def _stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _fill(self, files):
        folder = self._box / "data"
        shutil.rmtree(folder, ignore_errors=True)
        for name, contents in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(contents)

    def _ask(self):
        self._process.stdin.write(f"{self._box / 'data'}\n".encode())
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _HANG)[0]:
            return "fault", f"no answer within {_HANG:.0f} s"
        line = self._process.stdout.readline()
        return json.loads(line) if line else ("fault", f"the process died with status {self._process.wait()}")

    def read(self, changed):
        """Returns ("data" or "error", what) for the valid set with some files changed; AssertionError for a fault."""
        if self._process is None:
            self._start()
        self._fill({**self._valid, **changed})
        kind, text = self._ask()
        if kind == "fault":
            self._stop()
        assert kind != "fault", text
        assert sorted(path.name for path in self._box.iterdir()) == ["data", "outside"]
        assert (self._box / "outside").read_text() == "untouched"
        hidden = [path.name for path in (self._box / "data").iterdir() if path.name.startswith(".")]
        assert not hidden, "temporary files are left"
        self.counts[kind] += 1
        return kind, text


def fuzz(reader, damaged, examples, noticed):
    """Reads so many examples of a strategy of {file name: contents}, the same ones every time.

    `noticed` of them at least have to be errors: most changes are noticed.
    """

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(damaged)
    def read(changed):
        reader.read(changed)

    read()
    assert sum(reader.counts.values()) >= examples
    assert reader.counts["error"] >= noticed
