"""One training step in two checkouts of the project, alternately: `python -m benchmarks.step --against=ROOT`.

Each checkout has a process of its own, which runs this file as a script. It builds the step through entry points that
all versions have: the folder's train.py, `program.problem(settings, dataset)`, `common.training.problem.build`.
"""

import dataclasses
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time

_HERE = os.path.dirname(os.path.abspath(__file__))


def both(job, root, repeats, seconds):
    """Returns the numbers of a `programs.Job` here, those of the checkout `root` as "other_...", and their ratios.

    Raises ValueError if `root` is no checkout, and `Failed` if a process ends early.
    """
    from benchmarks import measure, programs

    root = os.path.abspath(root)
    if not os.path.isfile(os.path.join(root, "common", "training", "problem.py")):
        raise ValueError(f"--against={root}: expected the root of a checkout of this project")
    folder, settings = programs.arguments_of(job)
    words = {"folder": folder, "settings": settings}
    with _Checkout(words, os.path.dirname(_HERE)) as ours, _Checkout(words, root) as other:
        firsts = {"": ours.answer(), "other_": other.answer()}
        samples = {"": ours.sample, "other_": other.sample}
        for take_sample in samples.values():  # the first one is not typical
            take_sample()
        times = measure.round_robin(samples, repeats, seconds)
        memory = {"": ours.ask("memory"), "other_": other.ask("memory")}
    found = {}
    for prefix, first in firsts.items():
        values = {**first, **memory[prefix], **measure.summary(times[prefix])}
        found |= {f"{prefix}{name}": value for name, value in values.items()}
    return {**found, "ms_ratio": found["ms"] / found["other_ms"]}


def cells(row):
    """Returns {column: text} of a row."""
    from benchmarks import records
    from common.results.tables import number

    def pair(name, form):
        return f"{number(row.get(name), form)} / {number(row.get(f'other_{name}'), form)}"

    return {
        "method": row["method"],
        "step, ms": records.times(row),
        "step there, ms": records.times(row, "other_"),
        "here / there": number(row.get("ms_ratio"), ".3f"),
        "nodes, here / there": pair("nodes", ",d"),
        "graph built, s": pair("build_s", ".1f"),
        "first step, s": pair("first_step_s", ".1f"),
        "tensors, MiB": pair("tensors_mib", ",.0f"),
        "process, MiB": pair("process_mib", ",.0f"),
    }


class _Checkout:
    """A process that has built a job's step with the code of a checkout."""

    def __init__(self, job, root):
        self._root, self._messages = root, tempfile.TemporaryFile("w+")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._messages, "text": True}
        self._process = subprocess.Popen([sys.executable, __file__, root, json.dumps(job)], cwd=root, **pipes)

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
            raise Failed(f"the process of {self._root} ended: {said[-1]}")
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


def _serve(root, folder, settings):
    """In the process of a checkout: answers the lines "sample" and "memory" with JSON."""
    sys.path[0] = root  # in place of the folder of this file
    spec = importlib.util.spec_from_file_location("measure_of_benchmarks", os.path.join(_HERE, "measure.py"))
    measure = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(measure)
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    tf = _load("common.compat").tf
    script = _load(f"{folder}.train")
    program = script.METHOD if hasattr(script, "METHOD") else script.method()
    settings = program.settings_class(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})
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
    print(json.dumps(first), file=answers, flush=True)
    for line in sys.stdin:
        if line == "sample\n":
            answer = measure.sample(step)
        else:
            grown = None if before is None else measure.process_memory() - before
            tensors = measure.tensor_memory(measure.traced(session, training.train_op))
            answer = {"process_mib": grown, "tensors_mib": tensors + measure.variable_memory(graph)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], **json.loads(sys.argv[2]))
