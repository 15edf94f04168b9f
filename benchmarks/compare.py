"""One training step here and elsewhere, alternately: `python -m benchmarks.step --against=ROOT`, `--against=torch`.

Each competitor has a process of its own. That of a checkout runs this file as a script. It builds the step through
entry points that all versions have: the folder's train.py, `program.problem(settings, dataset)`,
`common.training.problem.build`. PyTorch's is torch_step.py.
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time

_HERE = os.path.dirname(os.path.abspath(__file__))
_PAUSE = 0.25  # between samples: threads of OpenMP may spin for 0.2 s after their work
TORCH = "torch"
_NOT_COMPILED = "householder"  # torch.compile of PyTorch 2.14 was not done with CNN-6's in seven minutes


def both(job, against, repeats, seconds):
    """Returns the numbers of a `programs.Job` here, those of competitors under their prefixes, and ratios to them.

    Competitors are "other_", the checkout `against` or eager PyTorch, and "compiled_", PyTorch under torch.compile.
    Raises ValueError if they cannot be had, and `Failed` if a process ends early.
    """
    from benchmarks import measure, programs

    folder, settings = programs.arguments_of(job)
    root, words = os.path.dirname(_HERE), json.dumps({"folder": folder, "settings": settings})
    commands = {"": [__file__, root, words], **_commands(job, against, words)}
    with contextlib.ExitStack() as stack:
        processes = {prefix: stack.enter_context(_Process(command)) for prefix, command in commands.items()}
        firsts = {prefix: process.answer() for prefix, process in processes.items()}
        for process in processes.values():  # the first sample is not typical
            process.sample()
        samples = {prefix: process.sample for prefix, process in processes.items()}
        times = measure.round_robin(samples, repeats, seconds, pause=_PAUSE)
        memory = {prefix: process.ask("memory") for prefix, process in processes.items()}
    found = {}
    for prefix, first in firsts.items():
        values = {**first, **memory[prefix], **measure.summary(times[prefix])}
        found |= {f"{prefix}{name}": value for name, value in values.items()}
    return found | {f"{prefix}ratio": found["ms"] / found[f"{prefix}ms"] for prefix in processes if prefix}


def _commands(job, against, words):
    """Returns {prefix: arguments of Python} of the competitors."""
    if against == TORCH:
        from benchmarks import torch_maps

        wanted = torch_maps.step_of(job)
        arguments = ["-m", "benchmarks.torch_step", json.dumps(wanted)]
        compiled = {} if wanted["orthogonal_map"] == _NOT_COMPILED else {"compiled_": [*arguments, "compile"]}
        return {"other_": arguments, **compiled}
    root = os.path.abspath(against)
    if not os.path.isfile(os.path.join(root, "common", "training", "problem.py")):
        raise ValueError(f"--against={root}: expected the root of a checkout of this project, or {TORCH}")
    return {"other_": [__file__, root, words]}


def cells(row):
    """Returns {column: text} of a row."""
    from benchmarks import records
    from common.results.tables import EMPTY, number

    def pair(name, form):
        return f"{number(row.get(name), form)} / {number(row.get(f'other_{name}'), form)}"

    if row["against"] == TORCH:
        return {
            "method": row["method"],
            "step here, ms": records.times(row),
            "PyTorch's map": row.get("other_map") or EMPTY,
            "PyTorch eager, ms": records.times(row, "other_"),
            "torch.compile, ms": records.times(row, "compiled_"),
            "here / eager": number(row.get("other_ratio"), ".2f"),
            "here / torch.compile": number(row.get("compiled_ratio"), ".2f"),
        }
    return {
        "method": row["method"],
        "step, ms": records.times(row),
        "step there, ms": records.times(row, "other_"),
        "here / there": number(row.get("other_ratio"), ".3f"),
        "nodes, here / there": pair("nodes", ",d"),
        "graph built, s": pair("build_s", ".1f"),
        "first step, s": pair("first_step_s", ".1f"),
        "tensors, MiB": pair("tensors_mib", ",.0f"),
        "process, MiB": pair("process_mib", ",.0f"),
    }


class _Process:
    """A process that has built a step: Python with these arguments, which `serve`s."""

    def __init__(self, arguments):
        self._name, self._messages = " ".join(arguments[:2]), tempfile.TemporaryFile("w+")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._messages, "text": True}
        self._process = subprocess.Popen([sys.executable, *arguments], cwd=os.path.dirname(_HERE), **pipes)

    def ask(self, request):
        """Sends a line, and returns the answer to it."""
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self):
        """Returns the next line that the process prints, from JSON."""
        from benchmarks.processes import Failed

        line = self._process.stdout.readline()
        if not line:
            self._messages.seek(0)
            said = self._messages.read().strip().splitlines() or ["it said nothing"]
            raise Failed(f"the process of {self._name} ended: {said[-1]}")
        return json.loads(line)

    def sample(self):
        """Returns one sample of the seconds of a step."""
        return self.ask("sample")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.kill()
        self._process.communicate()
        self._messages.close()


def _load(name):
    """Returns a module of the checkout, or None if it has none of that name."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _build(root, folder, settings):
    """In the process of a checkout: what `serve` asks for."""
    sys.path[0] = root  # in place of the folder of this file
    os.chdir(root)
    spec = importlib.util.spec_from_file_location("measure_of_benchmarks", os.path.join(_HERE, "measure.py"))
    measure = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(measure)
    tf = _load("common.compat").tf
    script = _load(f"{folder}.train")
    program = script.METHOD if hasattr(script, "METHOD") else script.method()
    settings = program.settings_class(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})
    tf.config.experimental.enable_tensor_float_32_execution(getattr(settings, "precision", None) == "tf32")
    images = _load("common.data.synthetic").load(max(1024, settings.batch_size), 16, classes=100, seed=settings.seed)
    images = dataclasses.replace(images, name="cifar100", mirror=True)
    devices = _load("common.devices") or _load("common.cli.devices")  # the first version's, and today's
    chosen = devices.choose(settings.device)
    with tf.Graph().as_default() as graph:
        session = chosen.session()
        before, start = measure.process_memory(), time.perf_counter()
        training = _load("common.training.problem").build(program.problem(settings, images), chosen.names)
        first = {"build_s": time.perf_counter() - start, "nodes": measure.nodes(graph)}
        session.run(tf.global_variables_initializer())
        for store in training.stores:
            store.fill(session)
        step = session.make_callable(training.train_op)
        step()
        first["first_step_s"] = time.perf_counter() - start

    def memory():
        grown = None if before is None else measure.process_memory() - before
        tensors = measure.tensor_memory(measure.traced(session, training.train_op))
        return {"process_mib": grown, "tensors_mib": tensors + measure.variable_memory(graph)}

    return first, lambda: measure.sample(step), memory


def serve(build):
    """Builds a step, and answers the lines "sample" and "memory" with JSON.

    Args:
      build: `build() -> (first answer, function that takes a sample, function that returns the memory)`.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    first, sample, memory = build()
    print(json.dumps(first), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(sample() if line == "sample\n" else memory()), file=answers, flush=True)


if __name__ == "__main__":
    serve(functools.partial(_build, sys.argv[1], **json.loads(sys.argv[2])))
