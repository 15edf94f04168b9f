"""Estimates of memory against bytes counted by hand, and the verdict on runs that do not fit."""

import dataclasses
import functools

import pytest

from benchmarks import tensorflow_maps
from common import devices, memory_guard, recipe
from common.compat import tf
from common.data import synthetic
from common.program import run
from common.training import memory
from opt_cp.cayley import cayley
from opt_gs.gram_schmidt import gram_schmidt
from opt_gs.train import METHOD
from opt_hr.householder import householder
from opt_ls.lowdin import lowdin
from tests.common.test_recipe import method_of, settings_of

FLOAT = 4
SLOW_METHODS = ["opt_cp", "opt_gs", "opt_hr", "sopt_gs"]


def test_the_peak_of_a_chain():
    """Each product needs its argument and its result; a sum writes into the buffer of what nobody else reads."""
    given = tf.placeholder(tf.float32, [10, 100])
    wide = tf.matmul(given, tf.zeros([100, 50]))  # 500 floats, of a constant of 5,000 that is not an argument
    wider = tf.matmul(wide, tf.ones([50, 80]))  # 800
    result = tf.reshape(wider, [800]) + 1.0
    constants = (100 * 50 + 50 * 80) * FLOAT
    assert 1300 * FLOAT <= memory.peak(memory.needed(result.op)) <= 1300 * FLOAT + constants + 100


def test_what_gram_schmidt_keeps():
    """Of n x n: S, and the coefficients below L's panels, less than half of one; it works with a few more."""
    kept, working, nodes = memory.map_memory(gram_schmidt, 288, 16)
    square = 288 * 288 * FLOAT
    assert 1.3 * square < kept < 1.8 * square
    assert square < working < 6 * square
    assert 200 < nodes < 2000
    assert memory.map_memory(tf.matmul, 288, 16) == (0, 0, 0)


def estimate(folder, dataset=None, replicas=1, enough=0, **options):
    dataset, method = dataset or synthetic.load(16, 8), method_of(folder)
    settings = method.resolve(settings_of(folder, **options), dataset)
    return memory.estimate(method.problem(settings, dataset), replicas, enough)


@pytest.mark.parametrize("folder", ["opt_gs", "sopt_gs"])
def test_a_small_network_against_bytes_counted_by_hand(folder):
    width, batch = 4, 16
    found = estimate(folder, widths=(width,) * 4, batch_size=batch)
    inputs = [27, 36, 36, 36, 36, 36, 64]  # n of conv1_0 ... conv3_1, of fc6
    turned = inputs if folder == "opt_gs" else [27, *[9] * 5, 16]
    fixed, generators = sum(n * width for n in inputs), sum(n * n for n in turned)
    norms, score = 6 * 2 * width, width * 10
    trained = generators + norms + score
    floats = fixed + 2 * trained + norms  # each trained variable has a momentum; averages are as many as gamma and beta
    indices = 0 if folder == "opt_gs" else sum(turned[1:])
    images = 16 * (3072 + 4) + 8 * (3072 + 4)
    assert found.variables == pytest.approx(FLOAT * (floats + indices) + images, rel=0.03)
    # Those of the fit and of the decay, and some scalars.
    assert found.gradients == pytest.approx(2 * FLOAT * trained, abs=2500)
    planes = [32 * 32, 16 * 16, 8 * 8]
    # Each conv keeps its result and what BN and ReLU make of it; each stage what the pool leaves.
    kept = sum(batch * width * (4 * plane + plane // 4) for plane in planes) + batch * (width + 10)
    largest = 2 * batch * width * planes[0]
    assert found.activations == pytest.approx(FLOAT * (kept + largest), rel=0.1)
    assert FLOAT * generators < found.maps < 12 * FLOAT * generators


@pytest.mark.parametrize("width", [4, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "folder", ["opt_ls", "opt_ogd", "opt_or", *[pytest.param(name, marks=pytest.mark.slow) for name in SLOW_METHODS]]
)
def test_the_quick_bound_is_a_bound(folder, width):
    exact = estimate(folder, widths=(width,) * 4, batch_size=16)
    bound = estimate(folder, widths=(width,) * 4, batch_size=16, enough=2**50)
    for field in dataclasses.fields(bound):
        assert getattr(bound, field.name) >= getattr(exact, field.name)
    assert bound.maps > 1.2 * exact.maps and bound.library > 1.2 * exact.library  # it is not the exact one
    assert estimate(folder, widths=(width,) * 4, batch_size=16, enough=bound.total - 1) == exact


def test_replicas_share_the_batch_and_have_a_copy_each_of_all_else():
    one, two = (estimate("opt_gs", replicas=count, widths=(4, 4, 4, 4), batch_size=16) for count in (1, 2))
    assert two.variables == 2 * one.variables and two.maps == 2 * one.maps
    assert two.activations == pytest.approx(one.activations, rel=0.02)


@pytest.mark.parametrize(("depth", "limit"), [(10, 1.2), pytest.param(28, 6.0, marks=pytest.mark.slow)])
def test_the_verdict_on_a_wide_network(depth, limit):
    """Full OPT of WRN-28-10 turns 5760 x 5760 matrices, 127 MiB a copy; S-OPT's are a sixteenth of that."""
    network = {"model": "resnet", "depth": depth, "widen_factor": 10, "widths": None, "batch_size": 8}
    full, stochastic = estimate("opt_gs", **network), estimate("sopt_gs", **network)
    convs = (depth - 4) // 3  # of a group
    groups = [(1, 144), (convs, 1440), (convs, 2880), (convs - 1, 5760)]
    squares = FLOAT * sum(count * n * n for count, n in groups)
    # P, its momentum, its gradient, and at least an S for each.
    assert 4 * squares < full.total < 12 * squares
    assert stochastic.total < limit * memory.GIB < full.total


def small(**options):
    dataset = synthetic.load(16, 8)
    options = {"widths": (4, 4, 4, 4), "batch_size": 16, "device": "cpu", **options}
    return METHOD, METHOD.resolve(settings_of("opt_gs", **options), dataset), dataset, devices.choose("cpu")


def test_what_does_not_fit_is_refused_in_one_line_with_what_would(monkeypatch):
    program, settings, dataset, chosen = small()
    asked = []
    needs = {"opt_gs": 9e9, "sopt_gs": 4e9, "opt_gs-none": 1e9}

    def of(task, replicas, enough):
        asked.append((task.parts, task.batch_size))
        total = 5e9 if task.batch_size < 8 else needs.get(task.parts, 7e9)
        return memory.Estimate(int(total - 4e9), 0, int(4e9), 0, 0)

    def problem(self, settings, dataset):
        return dataclasses.make_dataclass("Task", ["parts", "batch_size"])(self.of(settings).name, settings.batch_size)

    monkeypatch.setattr(memory, "estimate", of)
    monkeypatch.setattr(type(METHOD), "problem", problem)
    monkeypatch.setattr(devices.host_memory, "free", lambda: int(6e9))
    with pytest.raises(ValueError) as error:
        memory_guard.check(program, settings, dataset, chosen)
    line = str(error.value)
    assert line.startswith("this training takes about 8.38 GiB (variables 4.66, ") and "\n" not in line
    assert "and 5.59 GiB is free on CPU" in line
    assert "; would fit: --batch_size=4, sopt_gs, --rotation=none; " in line
    # Batches of 8 would have 7e9 bytes at least; those below 4 fit if 4 does.
    assert [batch for name, batch in asked if name == "opt_gs"] == [16, 4]
    memory_guard.check(program, dataclasses.replace(settings, memory_limit=9.0), dataset, chosen)
    memory_guard.check(program, dataclasses.replace(settings, memory_limit=0.0), dataset, chosen)
    with pytest.raises(ValueError, match="and 0.5 GiB is --memory_limit; would fit: none of the methods and batch"):
        memory_guard.check(program, dataclasses.replace(settings, memory_limit=0.5), dataset, chosen)
    monkeypatch.setattr(devices.host_memory, "free", lambda: None)  # nobody says what there is
    memory_guard.check(program, settings, dataset, chosen)


def test_only_methods_of_this_project_are_imported(tmp_path, monkeypatch):
    """Installed, the folders lie among all other packages, some of which may have a train.py too."""
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "train.py").write_text("METHOD = 1 / 0\n")
    (tmp_path / "opt_gs").mkdir()
    # The module that is found by this name is the real one.
    (tmp_path / "opt_gs" / "train.py").write_text("from common.program import main\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert recipe.methods(tmp_path) == {"opt_gs": METHOD}


def test_a_run_asks_before_its_graph_is_built(monkeypatch, tmp_path):
    monkeypatch.setattr(type(METHOD), "alternatives", lambda *arguments: iter(()))
    monkeypatch.setattr("common.training.problem.build", lambda *arguments: pytest.fail("the graph was built"))
    options = {"widths": (4, 4, 4, 4), "device": "cpu", "memory_limit": 0.001, "train_path": str(tmp_path / "run")}
    with pytest.raises(ValueError, match="this training takes about 0.* GiB is --memory_limit; would fit: none"):
        run(METHOD, settings_of("opt_gs", rotation="none", **options))
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("model*"))


MAPS = (cayley, gram_schmidt, householder, lowdin)
WAYS = [(rotate, way) for rotate in MAPS for way in tensorflow_maps.methods(rotate)]


@pytest.mark.parametrize("rotate, way", WAYS, ids=[f"{rotate.__name__}:{way}" for rotate, way in WAYS])
def test_the_bound_that_saves_an_estimate_is_above_every_way_of_every_map(rotate, way):
    kept, worked, nodes = memory.map_memory(functools.partial(rotate, method=way), 288, 64)
    assert kept + worked <= memory._ROUGH_MAP * 4 * 288 * (288 + 64) and nodes <= memory._ROUGH_NODES
