"""A program that was written for the original's modules trains with ours, and as float64 NumPy says."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.oracles import riemannian_steps

ROOT = pathlib.Path(__file__).parents[2]
STEPS, OMEGA, DECAY, RATE, RATE_G = 4, 0.1, 0.01, 0.05, 0.2
SHAPES = {"conv/weight": (3, 3, 1, 4), "bn/gamma": (4,), "bn/beta": (4,), "fc/weight": (4, 3), "fc/bias": (3,)}
EUCLIDEAN = {"bn/gamma", "bn/beta", "fc/weight", "fc/bias"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What guide_program.py prints. It finds the folder grassmann through PYTHONPATH, and nothing else of ours."""
    program = ROOT / "tests" / "grassmann" / "guide_program.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "grassmann"), "CUDA_VISIBLE_DEVICES": ""}
    folder = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [sys.executable, str(program)], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def start_of(name, shape):
    return 0.5 * np.random.RandomState(len(name)).randn(*shape)


def loss_of(values):
    images, labels = np.random.RandomState(0).randn(16, 5, 5), np.arange(16) % 3
    patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    features = np.einsum("bijkl,klm->bijm", patches, values["conv/weight"][:, :, 0])
    mean, variance = features.mean(axis=(0, 1, 2)), features.var(axis=(0, 1, 2))
    features = values["bn/gamma"] * (features - mean) / np.sqrt(variance + 1e-5) + values["bn/beta"]
    logits = np.maximum(features, 0.0).mean(axis=(1, 2)) @ values["fc/weight"] + values["fc/bias"]
    fit = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(16), labels])
    matrix = values["conv/weight"].reshape(-1, 4)
    orthogonality = np.sum((matrix.T @ matrix - np.eye(4)) ** 2)
    return fit + DECAY / 2 * np.sum(values["fc/weight"] ** 2) + OMEGA / 2 * orthogonality


def gradient_of(values, name, step=1e-5):
    """Central differences: exact to 1e-9."""
    gradient = np.zeros(SHAPES[name])
    for index in np.ndindex(*SHAPES[name]):
        ends = []
        for sign in (1, -1):
            moved = values[name].copy()
            moved[index] += sign * step
            ends.append(loss_of({**values, name: moved}))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def expected_losses(optimizer):
    values = {name: start_of(name, shape) for name, shape in SHAPES.items()}
    velocity = dict.fromkeys(EUCLIDEAN, 0.0)
    tau, v = np.zeros(SHAPES["conv/weight"]), 0.0
    losses = []
    for t in range(1, STEPS + 1):
        losses.append(loss_of(values))
        gradients = {name: gradient_of(values, name) for name in SHAPES}
        for name in EUCLIDEAN:
            velocity[name] = 0.9 * velocity[name] + gradients[name]
            values[name] = values[name] - RATE * (gradients[name] + 0.9 * velocity[name])
        pair = values["conv/weight"], gradients["conv/weight"]
        if optimizer == "sgdg":
            values["conv/weight"], tau = riemannian_steps.sgd_g(*pair, tau, RATE_G, 0.9, grad_clip=0.1)
        else:
            values["conv/weight"], tau, v = riemannian_steps.adam_g(*pair, tau, v, t, RATE_G, grad_clip=0.1)
    return losses


@pytest.mark.parametrize("optimizer", ["sgdg", "adamg"])
def test_losses_are_those_of_numpy(results, optimizer):
    np.testing.assert_allclose(results[optimizer]["losses"], expected_losses(optimizer), rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgdg", "adamg"])
def test_state_of_the_program(results, optimizer):
    result = results[optimizer]
    assert result["kind"] == "RefVariable" and result["count"] == STEPS
    started, loaded, trained = result["norms"]
    np.testing.assert_allclose(started, 1.0, atol=1e-6)
    assert max(abs(norm - 1.0) for norm in loaded) > 0.1, "neurons that were loaded are of any norm"
    np.testing.assert_allclose(trained, 1.0, atol=1e-6)
    np.testing.assert_array_equal(result["unused"], start_of("unused/weight", (2, 2)).astype("float32"))
    slots = {"sgdg": {"SgdgOptimizer": [3, 3, 1, 4]}, "adamg": {"Adamg": [3, 3, 1, 4], "Adamg_1": [1, 1, 1, 4]}}
    expected = {name: list(shape) for name, shape in SHAPES.items()} | {"unused/weight": [2, 2], "global_step": []}
    expected |= {f"{name}/Momentum": list(SHAPES[name]) for name in EUCLIDEAN}
    expected |= {f"conv/weight/{slot}": shape for slot, shape in slots[optimizer].items()}
    expected |= {"beta1_power": [], "beta2_power": []} if optimizer == "adamg" else {}
    assert result["names"] == expected
