"""--export_format=npz: two files are enough to compute what the evaluation does, in NumPy and in PyTorch."""

import dataclasses
import functools
import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from common.cli import devices
from common.cli.settings import OptSettings
from common.cli.start import train_modules
from common.compat import tf
from common.data.batches import Pipeline
from common.data.dataset import Dataset
from common.nn import cnn, resnet
from common.nn.layers import BatchNormConstants, Mode
from common.nn.structure import structure
from common.training import export
from tests.common.training.test_export import trained

TORCH = pathlib.Path(__file__).parents[2] / "examples" / "scores_in_torch.py"
CLASSES, SIDES, SIZE, CHANNELS = 7, (20, 26), 16, 2  # all different, so that a transposed axis is noticed
NETWORKS = {
    "cnn6": ("opt_ogd", {"widths": (5, 8, 6, 4)}),
    "resnet": ("grassmann", {"model": "resnet", "optimizer": "sgd"}),
}
SLOW = {"vgg11": ("grassmann", {"model": "vgg11", "optimizer": "sgd"})}
HAS_TORCH = importlib.util.find_spec("torch") is not None


def problem_of(name, sides=SIDES, size=SIZE):
    folder, flags = {**NETWORKS, **SLOW}[name]
    random = np.random.RandomState(3)
    images = random.randint(0, 256, [24, *sides, CHANNELS]).astype(np.uint8)
    labels = (np.arange(24) % CLASSES).astype(np.int32)
    names = tuple(f"kind {number}" for number in range(CLASSES))
    dataset = Dataset("synthetic", CLASSES, images, labels, images[:9], labels[:9], False, class_names=names)
    module = train_modules()[folder]
    settings = module.Settings(data="synthetic", device="cpu", vali_batch_size=4, **flags)
    problem = module.method().problem(settings, dataset)
    return dataclasses.replace(problem, pipeline=Pipeline((100.0, 140.0), (50.0, 70.0), crop_size=size))


def exported(problem, checkpoint, folder, fold):
    with tf.Graph().as_default():
        form = export.form_of("npz", fold)
        return list(export.export(problem, devices.choose("cpu"), checkpoint, str(folder), {"method": "m"}, form))


@pytest.fixture(scope="module", params=NETWORKS)
def case(request, tmp_path_factory):
    """(network, images, the evaluation's scores, {fold: folder})."""
    folder, problem = tmp_path_factory.mktemp("npz"), problem_of(request.param)
    checkpoint, _, scores = trained(problem, folder)
    places = {fold: folder / f"fold_{fold}" for fold in (False, True)}
    for fold, place in places.items():
        assert "on the same 9 test images, scores differ by at most" in exported(problem, checkpoint, place, fold)[1]
    return request.param, problem.dataset.test_images, scores, places


def loaded(place):
    with np.load(place / "model.npz", allow_pickle=False) as file:
        return json.loads((place / "model.json").read_text()), dict(file)


# --- an independent forward pass, in float64 ---


def padded(layer, x, value):
    top, bottom, left, right = layer["padding"]
    return np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=value)


def windows(layer, x):
    """[batch, rows, columns, channels, height, width]"""
    found = np.lib.stride_tricks.sliding_window_view(x, layer["size"], axis=(1, 2))
    return found[:, :: layer["stride"][0], :: layer["stride"][1]]


def in_numpy(model, arrays, images):
    given, crop = model["input"], model["input"]["crop"]
    images = images[:, crop["top"] :, crop["left"] :][:, : crop["height"], : crop["width"]].astype(np.float64)
    results = {given["name"]: (images - given["offset"]) / given["scale"]}
    for layer in model["layers"]:
        inputs = [results[name] for name in layer["inputs"]]
        own = {part: arrays[name].astype(np.float64) for part, name in layer["arrays"].items()}
        kind, x = layer["type"], inputs[0]
        if kind == "conv":
            seen = windows(layer, padded(layer, x, 0.0))
            x = np.einsum("nrcihw,hwio->nrco", seen, own["weight"]) + own.get("bias", 0)
        elif kind == "dense":
            x = x @ own["weight"] + own.get("bias", 0)
        elif kind == "batch_norm":
            x = (x - own["mean"]) / np.sqrt(own["variance"] + layer["epsilon"]) * own["gamma"] + own["beta"]
        elif kind == "max_pool":
            x = windows(layer, padded(layer, x, -np.inf)).max(axis=(4, 5))
        else:
            x = {
                "relu": lambda: np.maximum(x, 0), "add": lambda: x + inputs[1],
                "mean": lambda: x.mean(axis=(1, 2)), "flatten": lambda: x.reshape(len(x), -1),
            }[kind]()  # fmt: skip
        assert list(x.shape[1:]) == layer["shape"]
        results[layer["name"]] = x
    return x


@pytest.mark.parametrize("fold", [False, True])
def test_numpy_gives_the_scores_of_the_evaluation(case, fold):
    _, images, scores, places = case
    assert np.std(scores, axis=0).min() > 0.03  # they depend on the images
    np.testing.assert_allclose(in_numpy(*loaded(places[fold]), images), scores, atol=1e-4 * abs(scores).max())


def in_torch(place, images, tmp_path):
    """In a process of its own: torch and TensorFlow bring threads that do not go together."""
    np.save(tmp_path / "images.npy", images)
    program = (
        "import runpy, sys, numpy; out = sys.argv.pop(); del sys.argv[0]; "
        "numpy.save(out, runpy.run_path(sys.argv[0])['scores'])"
    )
    words = [TORCH, place, tmp_path / "images.npy", tmp_path / "scores.npy"]
    subprocess.run([sys.executable, "-c", program, *map(str, words)], check=True, capture_output=True)
    return np.load(tmp_path / "scores.npy")


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
@pytest.mark.parametrize("fold", [False, True])
def test_torch_gives_the_scores_of_the_evaluation(case, fold, tmp_path):
    _, images, scores, places = case
    np.testing.assert_allclose(in_torch(places[fold], images, tmp_path), scores, atol=1e-4 * abs(scores).max())


@pytest.mark.slow
@pytest.mark.parametrize("fold", [False, True])
def test_a_network_that_flattens_height_width_and_channels(fold, tmp_path):
    problem = problem_of("vgg11", (70, 66), 64)  # 2 x 2 x 512 are left
    checkpoint, _, scores = trained(problem, tmp_path)
    exported(problem, checkpoint, tmp_path / "out", fold)  # compares the scores itself
    if HAS_TORCH:
        found = in_torch(tmp_path / "out", problem.dataset.test_images, tmp_path)
        np.testing.assert_allclose(found, scores, atol=1e-4 * abs(scores).max())


def test_names_types_and_shapes(case):
    name, _, _, places = case
    for fold, place in places.items():
        model, arrays = loaded(place)
        assert sorted(path.name for path in place.iterdir()) == ["model.json", "model.npz"]
        assert list(arrays) == [array for layer in model["layers"] for array in layer["arrays"].values()]
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
        assert model["folded"] is fold and model["method"] == "m" and model["checkpoint"] == "model.ckpt-41"
        assert model["class_names"] == [f"kind {number}" for number in range(CLASSES)]
        assert model["input"] == {
            "name": "images", "shape": [*SIDES, CHANNELS], "crop": {"top": 2, "left": 5, "height": SIZE, "width": SIZE},
            "offset": [100.0, 140.0], "scale": [50.0, 70.0],
        }  # fmt: skip
    plain, folded = (loaded(places[fold])[1] for fold in (False, True))
    if name == "cnn6":
        convs = [f"conv{stage}_{index}" for stage in (1, 2, 3) for index in (0, 1)]
        others = {"fc6/weight", "score/weight"}
        normalized = {f"{conv}/bn/{part}" for conv in convs for part in ("gamma", "beta", "mean", "variance")}
        assert set(plain) == {f"{conv}/weight" for conv in convs} | normalized | others
        assert set(folded) == {f"{conv}/{part}" for conv in convs for part in ("weight", "bias")} | others
    else:
        assert plain["fc/output/weight"].shape == (64, CLASSES) and plain["fc/output/bias"].shape == (CLASSES,)
        # Normalizations of sums, and of the first conv, which the first block adds to its result, have nobody before.
        kept = {array[: -len("/gamma")] for array in folded if array.endswith("/gamma")}
        assert kept == {*(f"group{group}_block0/layer1_in_block/batch_norm" for group in (2, 3, 4)), "fc/batch_norm"}


def test_padding_of_odd_sides():
    mode = Mode(False, BatchNormConstants(0.9, 1e-3, True))
    wide = functools.partial(resnet.resnet, depth=10, widen_factor=1)
    paddings = {node.name: node.padding for node in structure(wide, 3, (9, 14, 2), mode)}
    assert paddings["group3_block0/layer1_in_block/conv"] == (1, 1, 0, 1)  # 9 -> 5, 14 -> 7
    assert paddings["group4_block0/layer1_in_block/conv"] == (1, 1, 1, 1)


def test_an_operation_that_no_layer_describes_is_an_error():
    def network(images, classes, kernels, mode):
        return cnn.cnn(tf.nn.tanh(images), classes, kernels, mode, (3, 3, 3, 3), 2)

    with pytest.raises(ValueError, match="the network's layers cannot be listed"):
        structure(network, 3, (8, 8, 2), Mode(False, BatchNormConstants(0.9, 1e-3, True)))


def test_numbers_that_are_not_finite_are_refused_and_leave_nothing(tmp_path):
    def spoilt(name, value):
        return np.full_like(value, np.nan) if name == "conv2_0/bn/pop_mean" else value

    problem = problem_of("cnn6")
    checkpoint, *_ = trained(problem, tmp_path, spoilt)
    with pytest.raises(ValueError, match="conv2_0/bn/mean has numbers that are not finite"):
        exported(problem, checkpoint, tmp_path / "out", False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", ["cnn6"], indirect=True)
def test_what_is_written_is_read_back(case, tmp_path, monkeypatch):
    """A damaged file is noticed, and nothing is left."""
    name, _, _, places = case
    checkpoint = str(places[False].parent / "model.ckpt-41")
    save, first = np.savez, "conv1_0/weight"

    def other_numbers(path, **arrays):
        save(path, **{**arrays, first: arrays[first].swapaxes(0, 1)})

    def other_names(path, **arrays):
        arrays["other"] = arrays.pop(first)
        save(path, **arrays)

    for damaged, words in ((other_numbers, "exported scores differ by"), (other_names, "model.npz has other names")):
        monkeypatch.setattr(np, "savez", damaged)
        with pytest.raises(ValueError, match=words):
            exported(problem_of(name), checkpoint, tmp_path / "out", False)
    assert list(tmp_path.iterdir()) == []


def test_the_flags_need_the_task():
    assert OptSettings(task="export", export_format="npz", fold=True).useless() == {}
    assert OptSettings(task="export", fold=True).useless() == {"fold": "--task=export --export_format=npz"}
    assert OptSettings(export_format="npz").useless() == {"export_format": "--task=export"}
