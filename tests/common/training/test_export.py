"""Exported networks, loaded by a process that has TensorFlow and nothing of this project."""

import collections
import dataclasses
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from common.cli.program import run
from common.compat import tf
from common.data import datasets
from common.graph import variables
from common.graph.variables import Role
from common.runs.checkpoints import assign
from common.training import saved_model
from common.training.evaluation import Evaluation
from tests import runs

CNN = {"widths": (4, 4, 4, 4)}
GRASSMANN = {"model": "resnet", "grassmann": True, "keep_prob": 0.7}
# Name: folder, flags.
FAST = {
    "opt_ogd": ("opt_ogd", CNN),  # the quickest to build; every map is among the slow ones
    "ordinary": ("opt_hr", {**CNN, "rotation": "none"}),
    "grassmann": ("grassmann", {**GRASSMANN, "crop_size": 24}),
}
SLOW = {
    "opt_hr": ("opt_hr", CNN),
    "baseline": ("opt_hr", {**CNN, "rotation": "none"}),
    "opt_gs": ("opt_gs", CNN),
    "opt_ls": ("opt_ls", CNN),
    "opt_cp": ("opt_cp", CNN),
    "opt_or": ("opt_or", CNN),
    "sopt_gs": ("sopt_gs", CNN),
    "free": ("opt_hr", {**CNN, "rotation": "free"}),
    "cnn9": ("opt_hr", {"model": "cnn9", **CNN}),
    "wide resnet": ("opt_gs", {"model": "resnet", "widen_factor": 2, "rotation": "none"}),
    "rotated resnet": ("opt_hr", {"model": "resnet"}),
    "vgg11": ("opt_hr", {"model": "vgg11", "rotation": "none"}),
    "vgg13 on the manifold": ("grassmann", {**GRASSMANN, "model": "vgg13"}),
}
CLASSIFY = pathlib.Path(__file__).parents[2] / "examples" / "classify_digits.py"
LOADER = """
import runpy, sys
sys.modules["common"] = None  # whatever is on the path, this project cannot be imported
import numpy as np
import tensorflow as tf
example, images, *folders = sys.argv[1:]
images = np.load(images)
for folder in folders:
    network = tf.saved_model.load(folder).signatures["serving_default"]
    parts = [network(images=tf.constant(images[first : first + 100])) for first in range(0, len(images), 100)]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    told = []
    for shape in [(4, 3, 32, 32), (4, 3072), (1, 64, 64, 3), (32, 32, 3), (2, 32, 32, 1), (3072,)]:
        try:
            network(images=tf.zeros(shape, tf.uint8))
        except tf.errors.InvalidArgumentError as error:
            told.append(str(shape) * ("images: expected [batch, 32, 32, 3], uint8" in str(error)))
    none = network(images=tf.zeros([0, 32, 32, 3], tf.uint8))
    sizes = [none[name].shape.as_list() for name in sorted(none)]
    types = sorted(node.type for node in network.graph.get_operations())
    np.savez(folder + ".npz", told=told, empty=str(sizes), types=types, **values)
sys.argv = [example, folders[0]]
runpy.run_path(example)
"""


def program_of(name):
    folder, options = {**FAST, **SLOW}[name]
    program = importlib.import_module(f"{folder}.train").method()
    return program, program.settings_class(task="export", data="synthetic", device="cpu", **options)


def unlike_the_start(name, shape, role, random):
    """A value that a trained network might have."""
    if role in (Role.GAMMA, Role.MOVING) and not name.endswith("mean"):
        return random.uniform(0.5, 2.0, shape)
    # Where the generator is itself the rotation, it must not make kernels large: scores are compared to 1e-4.
    return random.normal(0.0, shape[0] ** -0.5 if role in (Role.GENERATOR, Role.ROTATION) else 0.1, shape)


def trained(problem, folder, change=lambda name, value: value):
    """Makes a checkpoint; returns its path and the evaluation's metrics and scores."""
    random, scores = np.random.RandomState(1), []
    with tf.Graph().as_default(), tf.Session() as session:
        evaluation = Evaluation(problem)
        runs.begin(session, evaluation.store)
        changed = variables.with_role(Role.GAMMA, Role.BETA, Role.MOVING, Role.BIAS, Role.GENERATOR, Role.ROTATION)
        for variable in changed:
            value = unlike_the_start(variable.op.name, variable.shape.as_list(), variables.role_of(variable), random)
            if variables.role_of(variable) is Role.ROTATION:
                value = np.linalg.qr(value)[0]
            assign(session, {variable: change(variable.op.name, value)})
        metrics = evaluation.metrics(session, scores=scores)
        path = tf.train.Saver(variables.saved()).save(session, str(folder / "model.ckpt"), global_step=41)
    return path, metrics, scores[0]


def exported(cases, folder):
    """Exports each case and loads all in a fresh process: {name: (metrics, scores, what the process saw, folder)}."""
    np.save(folder / "images.npy", datasets.load("synthetic").test_images)
    expected = {}
    for name in cases:
        place = folder / name.replace(" ", "_")
        (folder / f"{place.name}_run").mkdir()
        program, settings = program_of(name)
        problem = program.problem(settings, datasets.load("synthetic"))
        path, *expected[name] = trained(problem, folder / f"{place.name}_run")
        if name == "opt_ogd":
            place.mkdir()  # empty: that is as good as none
        assert run(program, dataclasses.replace(settings, load=path, export_dir=f"{place}/")) == 0
        expected[name].append(place)
    places = [str(place) for _, _, place in expected.values()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(
        [sys.executable, "-I", "-c", LOADER, str(CLASSIFY), str(folder / "images.npy"), *places],
        cwd=folder, env={**environment, "CUDA_VISIBLE_DEVICES": "-1"}, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    assert re.fullmatch(r"\d+\.\d\d% of 1797 digits are right, the first ones are \[(\d ?){5}\]\n", said)
    return {
        name: (metrics, scores, np.load(f"{place}.npz"), place) for name, (metrics, scores, place) in expected.items()
    }


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    return exported(FAST, tmp_path_factory.mktemp("exported"))


def check_scores(metrics, scores, seen, least=0.03):
    labels = datasets.load("synthetic").test_labels
    np.testing.assert_allclose(seen["scores"], scores, atol=1e-4)
    assert np.std(scores, axis=0).min() > least  # they depend on the images
    np.testing.assert_array_equal(seen["class"], np.argmax(scores, axis=1))
    np.testing.assert_allclose(np.mean(seen["class"] != labels), metrics.error, rtol=1e-12)
    scores = seen["scores"].astype(float)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(seen["probabilities"], powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def check_types(seen):
    """Only what an ordinary network consists of: no map, no statistics, no variable."""
    assert set(seen["types"]) <= {
        "Placeholder", "Cast", "Const", "Reshape", "Sub", "Mul", "StridedSlice", "Conv2D", "BiasAdd", "Relu", "MaxPool",
        "Mean", "MatMul", "AddV2", "Identity", "NoOp", "Softmax", "ArgMax",
        # The check of the images' shape:
        "All", "Assert", "Equal", "LogicalAnd", "Pack", "Pad", "Rank", "Shape", "Unpack", "EnsureShape",
    }  # fmt: skip


@pytest.mark.parametrize("name", FAST)
def test_a_process_without_this_project_gets_the_scores_of_the_evaluation(name, fast):
    metrics, scores, seen, _ = fast[name]
    check_scores(metrics, scores, seen)
    check_types(seen)


def test_images_of_another_shape_are_an_error_and_none_at_all_an_empty_answer(fast):
    *_, seen, _ = fast["ordinary"]
    wrong = [(4, 3, 32, 32), (4, 3072), (1, 64, 64, 3), (32, 32, 3), (2, 32, 32, 1), (3072,)]
    assert seen["told"].tolist() == list(map(str, wrong))
    assert str(seen["empty"]) == "[[0], [0, 10], [0, 10]]"


def test_a_rotated_network_is_node_by_node_an_ordinary_one(fast):
    rotated, ordinary = (collections.Counter(fast[name][2]["types"].tolist()) for name in ("opt_ogd", "ordinary"))
    assert rotated == ordinary
    assert (rotated["Conv2D"], rotated["BiasAdd"], rotated["Mul"]) == (8, 6, 1)  # the product is the images' scale


def check_products(seen, sums):
    """Batch normalization goes into the layer before unless that is used elsewhere; sums have no layer before."""
    assert seen["types"].tolist().count("Mul") == sums + 1  # one is the images' scale


def test_the_first_conv_of_a_network_that_adds_it_to_the_first_block_keeps_its_scale(fast):
    check_products(fast["grassmann"][2], 4)  # WRN-10-1: groups 2, 3, 4 and the end


@pytest.mark.slow
def test_every_method_and_network(tmp_path):
    seen = exported(SLOW, tmp_path)
    for name, (metrics, scores, values, _) in seen.items():
        check_scores(metrics, scores, values, 3e-3 if name.startswith("vgg13") else 0.03)  # the deepest
        check_types(values)
    check_products(seen["wide resnet"][2], 3)  # WRN-10-2: group 2 has a projection of the first conv
    check_products(seen["vgg11"][2], 0)
    for name in ("opt_hr", "opt_gs", "opt_ls", "opt_cp", "opt_or", "sopt_gs", "free"):
        assert seen[name][2]["types"].tolist() == seen["baseline"][2]["types"].tolist()


def test_the_folder_says_what_it_holds(fast):
    metrics, _, _, place = fast["grassmann"]
    about = json.loads((place / "assets.extra" / "model.json").read_text())
    assert (about["method"], about["network"]) == ("grassmann", "WRN-10-1")
    assert (about["data"], about["classes"]) == ("synthetic", 10)
    assert about["checkpoint"] == "model.ckpt-41" and about["flags"]["keep_prob"] == "0.7"
    assert not {"export_dir", "load", "data_dir", "device"} & set(about["flags"])
    assert about["test"]["images"] == 256 and about["test"]["error_percent"] == 100 * metrics.error
    assert sorted(about["outputs"]) == ["class", "probabilities", "scores"]
    assert not list(place.parent.glob("*.tmp"))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"load": None}, "--task=export needs --load=PATH"),
        ({"export_dir": None}, "--task=export needs --export_dir=FOLDER"),
        ({"export_dir": "full"}, "full is there and no empty folder"),
        ({"export_dir": "full", "export_format": "npz"}, "full is there and no empty folder"),
        ({"export_dir": "file/inside"}, "^--export_dir=file/inside: cannot write to .*/file: Not a directory; name"),
        ({"export_dir": "file"}, "file is there and no empty folder"),
        ({"export_dir": "/proc/none/new"}, "^--export_dir=/proc/none/new: cannot write to /proc: No such file"),
        ({"task": "train"}, "--export_dir=new goes with --task=export"),
    ],
)
def test_what_cannot_be_exported_is_said_before_data_are_read(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    program, settings = program_of("ordinary")
    flags = {"load": "nowhere", "export_dir": "new", "data": "cifar10", "data_dir": "nowhere", **options}
    with pytest.raises(ValueError, match=words) as error:
        run(program, dataclasses.replace(settings, **flags))
    assert "\n" not in str(error.value) and not (tmp_path / "new").exists()


def test_numbers_that_are_not_finite_and_too_many_are_refused():
    with pytest.raises(ValueError, match="conv1_0 has numbers that are not finite"):
        saved_model.check({"conv1_0": np.array([1.0, np.nan])}, {}, {})
    with pytest.raises(ValueError, match="bn has numbers that are not finite"):
        saved_model.check({}, {}, {"bn": (None, np.array([np.inf]))})
    with pytest.raises(ValueError, match="the network has 600000000 weights; a graph may hold 500000000"):
        saved_model.check({"wide": np.broadcast_to(np.zeros([]), [600_000_000])}, {}, {})


def test_the_other_form_is_asked_for_by_flags(fast, tmp_path, capsys):
    program, settings = program_of("ordinary")
    checkpoint = str(fast["ordinary"][3].parent / "ordinary_run" / "model.ckpt-41")
    npz = dataclasses.replace(settings, export_format="npz", fold=True, load=checkpoint)
    assert run(program, dataclasses.replace(npz, export_dir=str(tmp_path / "out"))) == 0
    assert json.loads((tmp_path / "out" / "model.json").read_text())["folded"]
    assert "; 18 layers, 14 arrays\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="out is there and no empty folder"):
        run(program, dataclasses.replace(npz, export_dir=str(tmp_path / "out")))
