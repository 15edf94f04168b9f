"""PyTorch's CNN-6: it computes what the program does, and `--against=torch` puts the two side by side."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import compare, programs, records, step, torch_maps
from common.compat import tf
from common.graph import variables
from common.training import problem

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOB = programs.Job("cnn6", "ordinary", batch_size=4, test_images=4, width=4)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")

# In a process of its own: torch and TensorFlow bring threads that do not go together.
PROGRAM = """
import json, sys
import numpy as np
import torch
from benchmarks import torch_step

path, job = sys.argv[1], json.loads(sys.argv[2])
given = dict(np.load(path))
images, labels = torch.tensor(given["images"]), torch.tensor(given["labels"]).long()
training = torch_step.Training(job, images, labels)
parameters = {}
for number, layer in enumerate(layer for layer in training.network if isinstance(layer, torch_step.Conv)):
    parameters[f"kernel{number}"] = layer.kernel
for number, layer in enumerate(layer for layer in training.network if isinstance(layer, torch.nn.BatchNorm2d)):
    parameters |= {f"gamma{number}": layer.weight, f"beta{number}": layer.bias}
with torch.no_grad():
    for name, parameter in parameters.items():
        parameter.copy_(torch.tensor(given[name]))
losses = [training.step(), training.step()]
found = {name: parameter.detach().numpy() for name, parameter in parameters.items()}

distance = {}
for orthogonal_map in ("cayley", "householder", "matrix_exp"):
    network = torch_step.Training({**job, "orthogonal_map": orthogonal_map}, images, labels)
    conv = network.network[3]
    before, generator = conv.kernel.clone(), next(conv.rotation.parameters()).detach().clone()
    network.step()
    rotated = conv.kernel @ conv.rotation.weight.T
    assert torch.equal(conv.kernel, before) and not torch.equal(next(conv.rotation.parameters()), generator)
    distance[orthogonal_map] = (rotated @ rotated.T - before @ before.T).abs().max().item()
print(json.dumps(distance))
np.savez(path, losses=losses, **found)
"""


def steps_of_the_program():
    """Returns the values before two steps on one batch, with the batch; and the fits and values of the steps."""
    program, settings = programs.program_of(JOB)
    with tf.Graph().as_default(), tf.Session() as session:
        training = problem.build(program.problem(settings, programs.dataset(4, 4, 0)))
        session.run(tf.global_variables_initializer())
        training.stores[0].fill(session)
        images, labels = session.run([training.images, training.labels])
        given, batch = named(session), {training.images: images, training.labels: labels}
        fits = [session.run([training.metrics["fit"], training.train_op], batch)[0] for _ in range(2)]
        return given | {"images": images, "labels": labels}, fits, named(session)


def named(session):
    """Returns {name: value} of the trained variables as PROGRAM names them; kernels are [m, n]."""
    found, counts = {}, {"kernel": 0, "gamma": 0, "beta": 0}
    for variable in variables.trainable():
        value, name = session.run(variable), variable.op.name.split("/")[-1]
        kind = "kernel" if value.ndim == 4 else name
        found[f"{kind}{counts[kind]}"] = value.reshape(-1, value.shape[-1]).T if kind == "kernel" else value
        counts[kind] += 1
    return found


@needs_torch
def test_two_steps_are_those_of_the_program_and_rotations_keep_angles(tmp_path):
    given, fits, after = steps_of_the_program()
    path = tmp_path / "values.npz"
    np.savez(path, **given)
    words = [sys.executable, "-c", PROGRAM, path, json.dumps(torch_maps.step_of(JOB))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert max(json.loads(done.stdout).values()) < 1e-4
    found = dict(np.load(path))
    np.testing.assert_allclose(found.pop("losses"), fits, rtol=1e-5)
    assert len(found) == 8 + 6 + 6 and found.keys() == after.keys()
    for name, value in found.items():
        change = after[name] - given[name]
        assert np.linalg.norm(value - after[name]) < 1e-3 * np.linalg.norm(change), name


@pytest.mark.slow
def test_a_row_has_both_times_of_pytorch_and_the_ratios(monkeypatch):
    """Processes that measure nothing: each says how long a step takes."""
    milliseconds = {"compare.py": 300.0, "benchmarks.torch_step": 600.0, "compile": 400.0}

    class Process:
        def __init__(self, arguments):
            words = arguments[-1], pathlib.Path(arguments[0]).name, arguments[1]
            word = next(word for word in words if word in milliseconds)
            self._torch, self._seconds = word != "compare.py", milliseconds[word] / 1000.0
            self._job = json.loads(arguments[2])

        def answer(self):
            return {"map": self._job["orthogonal_map"]} if self._torch else {"nodes": 7}

        def ask(self, request):
            return {} if request == "memory" else self._seconds

        def sample(self):
            return self._seconds

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    monkeypatch.setattr(compare, "_Process", Process)
    monkeypatch.setattr(torch_maps.importlib.util, "find_spec", lambda name: name)
    settings = step.Settings(networks="cnn6", methods="opt_cp,opt_gs,opt_hr", against="torch", repeats=3)
    rows = [{**row, "device": "cpu"} for row in step.measure_steps(settings)]
    assert [(row["method"], row["other_map"]) for row in rows] == [
        ("ordinary", None), ("opt_cp", "cayley"), ("opt_gs", "matrix_exp"), ("opt_hr", "householder"),
    ]  # fmt: skip
    assert all((row["other_ratio"], row["compiled_ratio"]) == (0.5, 0.75) for row in rows[:-1])
    text = step.BENCHMARK.tables(rows)
    assert "cnn6, batch 128, float32, CPU, against torch" in text
    assert "| opt_cp | 300 (300..300) | cayley | 600 (600..600) | 400 (400..400) | 0.50 | 0.75 |" in text
    assert "| opt_hr | 300 (300..300) | householder | 600 (600..600) | - | 0.50 | - |" in text


@pytest.mark.parametrize(
    "found, flags, message",
    [
        (None, {}, "--against=torch: PyTorch is not installed here; run pip install torch"),
        ("x", {"networks": "resnet-16-2"}, "--against=torch --networks=resnet-16-2: only cnn6"),
        ("x", {"precision": "float16"}, "--against=torch --precision=float16: expected float32, tf32 or bfloat16"),
    ],
)
def test_what_pytorch_cannot_do_is_an_error(monkeypatch, found, flags, message):
    monkeypatch.setattr(torch_maps.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ValueError, match=message):
        list(step.measure_steps(step.Settings(**{"networks": "cnn6", "against": "torch", **flags})))


@needs_torch
@pytest.mark.slow
def test_the_command_runs_both(tmp_path):
    path = tmp_path / "x.json"
    small = ["--batch_size=4", "--width=4", "--repeats=2", "--seconds=0.1", f"--json={path}"]
    words = ["--networks=cnn6", "--methods=opt_hr", "--against=torch", *small]
    done = subprocess.run([sys.executable, "-m", "benchmarks.step", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = records.read(path)["rows"]
    assert [(row["method"], row["other_map"]) for row in rows] == [("ordinary", None), ("opt_hr", "householder")]
    assert all(row[name] > 0 for row in rows for name in ("ms", "other_ms", "compiled_ms"))
