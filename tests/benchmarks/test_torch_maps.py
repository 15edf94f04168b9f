"""torch's maps: those that compute what ours do are the same, the others have gradients that agree with themselves."""

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
inputs, errors = reference.inputs(9, 9, 0), {}
generator, weights, upstream = [value.astype("float64") for value in inputs]
for name, competitor in torch_maps.competitors().items():
    case = torch_maps.Case(name, inputs)
    if competitor.reference:
        rotation, gradient = getattr(reference, competitor.reference)(generator)
        expected = gradient(weights, upstream)
    else:
        rotation, expected = case.rotation(), torch_maps.own_reference(name, inputs)
    case.forward()
    errors[name] = [
        reference.relative(case.gradient(), expected),
        reference.relative(case.rotation(), rotation),
        reference.orthogonality(case.rotation()),
    ]
print(json.dumps(errors))
"""


@pytest.mark.skipif(not torch_maps.competitors(), reason="torch is not installed")
def test_rotations_and_gradients():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    errors = json.loads(done.stdout)
    assert set(errors) == set(torch_maps.competitors())
    for name, values in errors.items():
        assert max(values) < 1e-3, name
