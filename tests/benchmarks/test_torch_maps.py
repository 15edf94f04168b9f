"""torch's maps: those that compute what ours do are the same, all are orthogonal."""

import json
import subprocess
import sys

import pytest

from benchmarks import torch_maps

# In a process of its own: torch and TensorFlow bring threads that do not go together.
PROGRAM = """
import json
from benchmarks import reference, torch_maps
torch_maps.prepare()
inputs, errors = reference.inputs(9, 5, 0), {}
generator, weights, upstream = [value.astype("float64") for value in inputs]
for name, (_, known, _) in torch_maps.competitors().items():
    case = torch_maps.Case(name, inputs)
    case.forward()
    result, of_generator = case.results()
    errors[name] = [reference.relative(result.T @ result, weights.T @ weights)]
    if known:
        rotation, gradient = getattr(reference, known)(generator)
        expected = gradient(weights, upstream)
        errors[name] += [reference.relative(result, rotation @ weights), reference.relative(of_generator, expected)]
print(json.dumps(errors))
"""


@pytest.mark.skipif(not torch_maps.competitors(), reason="torch is not installed")
def test_rotations_and_gradients():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    errors = json.loads(done.stdout)
    assert set(errors) == set(torch_maps.competitors())
    for name, values in errors.items():
        assert max(values) < 1e-3, name
