"""--fixed: training begins at the network of a source, with its errors and cross-entropy, whatever the methods are."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from common import flags
from common.cli import sources as cli_sources
from common.cli import start
from common.cli.program import run
from common.command import CommandLine
from common.compat import tf
from common.data import synthetic
from common.data.dataset import listed
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels
from common.runs import checkpoints
from common.training import problem
from common.training.evaluation import Evaluation
from tests.runs import begin

MODULES = start.train_modules()
TINY = ("--data=synthetic", "--batch_size=16", "--notensorboard")
OF_MODEL = {"cnn6": ["--widths=4,4,4,4"], "resnet": ["--model=resnet"]}


def settings_of(folder, *words):
    network = [] if "--model=resnet" in words else OF_MODEL["cnn6"]
    line = CommandLine(MODULES[folder].Settings, [*TINY, *network, *words])
    return MODULES[folder].method(), line.settings()


class Network:
    """A network at its start, with or without what trains it."""

    def __init__(self, folder, *words, dataset=None, train=False):
        program, settings = settings_of(folder, *words)
        dataset = dataset or synthetic.load(512, 256)
        self.settings = program.resolve(settings, dataset)
        task = program.problem(self.settings, dataset)
        self.program, self.task = program, task
        self.training = problem.build(task) if train else None
        self.evaluation = Evaluation(task, self.training.kernels[0] if train else None)
        self.kernels = self.evaluation.kernels
        self.session = tf.Session()
        self.callbacks = program.callbacks(self.settings, self.session, self.training) if train else []
        begin(self.session, *(self.training.stores if train else ()), self.evaluation.store)
        values, self.lines = program.start_values(self.settings, task, [self.kernels])
        checkpoints.assign(self.session, values)

    def metrics(self):
        return self.evaluation.metrics(self.session)

    def train(self):
        step = int(self.session.run(variables.global_step()))
        self.session.run(self.training.train_op)
        for callback in self.callbacks:
            callback.after_step(step, {})


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """`sources(folder, updates, model)` -> (run folder, metrics) of a network that is trained for so many updates.

    Without any its gammas, betas and batch averages are random.
    """
    found = {}

    def source(folder, updates=0, model="cnn6"):
        if (folder, updates, model) not in found:
            path = tmp_path_factory.mktemp(folder)
            with tf.Graph().as_default():
                tf.set_random_seed(0)
                network = Network(folder, f"--max_steps={updates or 12}", *OF_MODEL[model], train=updates > 0)
                for _ in range(updates):
                    network.session.run(network.training.train_op)
                if not updates:
                    random = np.random.RandomState(0)
                    spread = variables.with_role(Role.GAMMA, Role.BETA, Role.MOVING)
                    values = {variable: random.uniform(0.5, 1.5, variable.shape.as_list()) for variable in spread}
                    checkpoints.assign(network.session, values)
                tf.train.Saver(variables.saved()).save(network.session, str(path / "model.ckpt"), 11)
                found[folder, updates, model] = path, network.metrics()
            (path / "flags.txt").write_text(f"# {folder}\n{flags.text(network.settings)}")
        return found[folder, updates, model]

    return source


def slowly(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


TARGETS = [
    slowly("opt_cp", (), "opt_hr"), slowly("opt_hr", (), "opt_hr"), ("opt_gs", ("--rotation=none",), "opt_hr"),
    slowly("opt_gs", (), "opt_hr"), slowly("opt_ls", (), "opt_hr"), slowly("opt_ogd", (), "opt_hr"),
    slowly("opt_or", (), "opt_ogd"), slowly("sopt_gs", ("--map=hr",), "opt_hr"), slowly("opt_hr", (), "sopt_gs"),
    slowly("opt_gs", ("--rotation=free",), "opt_hr"), slowly("sopt_gs", (), "opt_ls"), slowly("sopt_gs", (), "sopt_gs"),
    *(slowly(folder, ("--model=resnet",), "opt_cp") for folder in ("opt_hr", "opt_ls", "sopt_gs")),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "words", "source"), TARGETS)
def test_a_network_begins_at_its_source(folder, words, source, sources, monkeypatch):
    score = {"cnn6": "score", "resnet": "fc/output"}["resnet" if "--model=resnet" in words else "cnn6"]
    path, expected = sources(source, model="cnn6" if score == "score" else "resnet")
    find, found = checkpoints.find, []
    monkeypatch.setattr(checkpoints, "find", lambda path: found.append(path) or find(path))
    network = Network(folder, f"--fixed={path}", *words)
    assert found == [str(path)]  # whose sums are added up once
    metrics = network.metrics()
    assert metrics.error == expected.error
    assert metrics.cross_entropy == pytest.approx(expected.cross_entropy, abs=1e-6)
    assert network.lines[0].endswith(f"{score}, the class scores, is kept")
    assert network.session.run(variables.global_step()) == 0
    for kernel in network.kernels.values():
        if kernel.rotate:
            rotation = network.session.run(kernels.rotation(kernel.rotate, kernel.generator))
            np.testing.assert_allclose(np.abs(rotation), np.eye(len(rotation)), atol=1e-6)


@pytest.mark.parametrize(("folder", "words"), [
    slowly("opt_hr", ()), ("opt_gs", ("--rotation=none",)), slowly("opt_ogd", ("--rotation_lr=1e-30",)),
    slowly("sopt_gs", ("--episode_steps=5",)), slowly("opt_or", ("--optimizer=adam",)),
])  # fmt: skip
def test_averages_go_on_from_where_they_are(folder, words, sources):
    path, expected = sources("opt_hr", updates=60)
    still = "--weight_decay=0", "--base_lr=1e-30", "--bn_decay=0.999"
    network = Network(folder, f"--fixed={path}", *still, *words, train=True)
    averages = variables.with_role(Role.MOVING)
    before, done = network.session.run(averages), 0
    for steps in (1, 3, 10):
        for _ in range(steps - done):
            network.train()
        done = steps
        assert network.metrics().cross_entropy == pytest.approx(expected.cross_entropy, abs=0.02)
    # Each update moves an average by a thousandth of the way to the batch's; begun anew, it would be the batches' own.
    moved = [np.abs(new - old).max() / np.abs(old).max() for new, old in zip(network.session.run(averages), before)]
    assert 0 < max(moved) < 0.05


@pytest.mark.slow
def test_other_classes_have_a_score_made_afresh(sources):
    path, _ = sources("opt_hr")
    others = "made afresh: its classes are others"
    for words, classes, why in ((), 7, others), (("--fresh_score",), 10, "--fresh_score"):
        with tf.Graph().as_default():
            network = Network("opt_gs", f"--fixed={path}", *words, dataset=synthetic.load(64, 32, classes=classes))
            assert why in network.lines[0]
            (score,) = [v for v in variables.with_role(Role.WEIGHT) if v.op.name == "score/filter"]
            assert score.shape.as_list() == [1, 1, 4, classes]


@pytest.mark.slow
def test_class_names_decide_about_the_score(sources, tmp_path, monkeypatch):
    path, _ = sources("opt_hr")
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    names = tuple(f"kind {number}" for number in range(10))
    dataset, line = synthetic.load(64, 32, classes=10), f"classes: {listed(names)}\n"
    (tmp_path / "log.txt").write_text(f"data set of ten classes\n{line}")
    assert cli_sources.read(str(tmp_path), dataset).classes == listed(names)  # of a run whose flags.txt has none
    (tmp_path / "log.txt").write_text("classes: 0 other\n")
    with (tmp_path / "flags.txt").open("a") as file:
        file.write(f"# {line}")
    source = cli_sources.read(str(tmp_path), dataset)
    assert source.classes == listed(names)
    monkeypatch.setattr(cli_sources, "read", lambda path, dataset: source)
    network = Network("opt_hr", f"--fixed={tmp_path}", dataset=dataset)
    for own, why in (names, "kept"), (names[::-1], "made afresh: its classes are others"), ((), "kept"):
        task = dataclasses.replace(network.task, dataset=dataclasses.replace(dataset, class_names=own))
        _, lines = network.program.start_values(network.settings, task, [network.kernels])
        assert lines[0].endswith(f"is {why}")


def test_widths_are_those_of_a_run_unless_given(sources):
    path, _ = sources("opt_hr")
    program, settings = settings_of("opt_cp", f"--fixed={path}")
    assert settings.widths == (4, 4, 4, 4)
    own = (4, 4, 4, 8)
    for widths, model, expected in (None, "cnn6", (4, 4, 4, 4)), (own, "cnn6", own), (None, "cnn9", None):
        asked = dataclasses.replace(settings, widths=widths, model=model)
        assert program.resolve(asked, synthetic.load(64, 32)).widths == expected
    with pytest.raises(ValueError, match="generator_start=unit: under --fixed opt_cp has no generators that start at"):
        program.check(dataclasses.replace(settings, generator_start="unit"))
    assert program.resolve(settings, synthetic.load(64, 32)).generator_start is None


@pytest.mark.parametrize(("word", "rate", "usual", "fixed"), [
    ("--seed=0", "base_lr", 0.1, 0.01), ("--rotation=none", "base_lr", 0.005, 0.01),
    ("--optimizer=adamw", "base_lr", 1e-3, 1e-4), ("--base_lr=0.5", "base_lr", 0.5, 0.5),
    ("--generator_optimizer=sgdg", "generator_lr", 0.05, 0.05),
])  # fmt: skip
def test_rates_under_fixed_are_its_own_but_that_on_the_manifold(word, rate, usual, fixed, sources):
    path, _ = sources("opt_hr")
    for more, expected in ((), usual), ((f"--fixed={path}",), fixed):
        program, settings = settings_of("opt_hr", word, *more)
        assert getattr(program.resolve(settings, synthetic.load(64, 32)), rate) == expected


def test_a_checkpoint_and_a_source_are_two_beginnings(sources, tmp_path):
    path, _ = sources("opt_hr")
    words = f"--fixed={path}", f"--load={path}/model.ckpt-11"
    with pytest.raises(ValueError, match="--fixed=.* and --load=.* are two beginnings: leave out --load to begin at"):
        run(*settings_of("opt_hr", *words, f"--train_path={tmp_path / 'new'}"))
    assert not (tmp_path / "new").exists()
    program, settings = settings_of("opt_hr", *words, '--fixed_inputs={"epsilon": 0.25}')
    assert program.resolve(settings, synthetic.load(64, 32)).fixed_inputs == '{"epsilon": 0.25}'
    noted = settings_of("opt_hr", f"--fixed={path}", '--fixed_inputs={"scale": 2}')[1]
    (tmp_path / "flags.txt").write_text(f"# opt_hr\n{flags.text(noted)}")
    program, settings = settings_of("opt_hr", words[0], f"--load={tmp_path}/model.ckpt-7")
    assert program.resolve(settings, synthetic.load(64, 32)).fixed_inputs == '{"scale": 2}'


@pytest.mark.parametrize("text", [
    "no", "[1]", '{"other": 1}', '{"epsilon": "1"}', '{"epsilon": 0}', '{"scale": [1, 0, 1]}', '{"offset": [1, 2]}',
    '{"offset": NaN}', '{"epsilon": [1]}', '{"scale": {}}',
])  # fmt: skip
def test_inputs_that_are_wrong_are_one_line(sources, text):
    path, _ = sources("opt_hr")
    program, settings = settings_of("opt_hr", f"--fixed={path}", f"--load={path}", f"--fixed_inputs={text}")
    with pytest.raises(ValueError, match="--fixed_inputs=.*: expected JSON as") as raised:
        program.resolve(settings, synthetic.load(64, 32))
    assert "\n" not in str(raised.value)


def test_a_source_of_another_program_is_one_line(sources, tmp_path):
    path, _ = sources("opt_hr")
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    for head, words in (
        ("# grassmann\n--model=resnet", "was trained by grassmann, expected an opt_ program"),
        ("# mystery\n", "was trained by mystery, expected an opt_ program"),
        ("# opt_hr\n--model=mystery", "the flags.txt of that run has --model=mystery: expected one of cnn6"),
    ):
        (tmp_path / "flags.txt").write_text(head)
        with pytest.raises(ValueError, match=f"^--fixed={tmp_path}.*{words}"):
            cli_sources.read(str(tmp_path), synthetic.load(64, 32))


@pytest.mark.slow
def test_what_a_source_of_another_network_lacks_is_listed(sources):
    path, _ = sources("opt_hr", model="resnet")
    words = "of another network: conv1_0/weight is not there; .*; and .* more"
    with tf.Graph().as_default(), pytest.raises(ValueError, match=words):
        Network("opt_hr", f"--fixed={path}")
    path, _ = sources("opt_hr")
    with pytest.raises(ValueError, match=r"--fixed=.*: .*fc6/fix is \[64, 4\] there and \[144, 4\] here.*[^.]$"):
        cli_sources.read(str(path), synthetic.load(64, 32, size=48))


def test_tensors_that_do_not_fit_are_listed(sources, tmp_path, capsys):
    path, _ = sources("opt_hr")
    program, settings = settings_of("opt_gs", f"--fixed={path}", "--widths=4,4,4,5", f"--train_path={tmp_path / 'new'}")
    with pytest.raises(ValueError, match=r"--fixed=.* is of another network: fc6/weight is \[4, 4, 4, 4\] there and"):
        run(program, settings)
    assert not (tmp_path / "new").exists()
    for wrong, words in ((tmp_path / "no", "there is no such checkpoint"), (tmp_path, "no checkpoint in this folder")):
        with pytest.raises(ValueError, match=f"--fixed={wrong}: .*{words}"):
            run(*settings_of("opt_gs", f"--fixed={wrong}"))


@pytest.mark.slow
def test_an_export_is_a_source_with_its_own_inputs_and_epsilon(tmp_path):
    random = np.random.RandomState(0)
    plan_of = Network("opt_gs", "--rotation=none")
    arrays = {f"{scope}/weight": random.randn(*kernel.tensor.shape) for scope, kernel in plan_of.kernels.items()}
    for layer in [f"conv{stage}_{index}/bn" for stage in (1, 2, 3) for index in (0, 1)]:
        arrays |= {f"{layer}/{part}": random.uniform(1, 2, 4) for part in ("gamma", "beta", "mean", "variance")}
    np.savez(tmp_path / "model.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})
    model = {"folded": False, "input": {"offset": [1.0, 2.0, 3.0], "scale": 50.0}, "class_names": [],
             "layers": [{"epsilon": 0.25}, {"type": "relu"}]}  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(model))
    for source in (tmp_path, tmp_path / "model.npz"):
        with tf.Graph().as_default():
            network = Network("opt_cp", f"--fixed={source}")
            program, _ = settings_of("opt_cp")
            task = program.problem(network.settings, synthetic.load(64, 32))
            assert (task.pipeline.offset, task.pipeline.scale) == ([1.0, 2.0, 3.0], 50.0)
            assert task.batch_norm.epsilon == 0.25 and not task.batch_norm.corrected
            kernel = network.kernels["conv2_0"].tensor
            np.testing.assert_allclose(network.session.run(kernel), arrays["conv2_0/weight"], rtol=1e-5)
            names = {variable.op.name: variable for variable in variables.with_role(Role.MOVING)}
            variance = network.session.run(names["conv3_1/bn/pop_var"])
            np.testing.assert_allclose(variance, arrays["conv3_1/bn/variance"], rtol=1e-6)
    for damaged in (b"", b"PK\3\4", (tmp_path / "model.npz").read_bytes()[:1000]):
        (tmp_path / "model.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=f"--fixed={tmp_path}: .*model.npz cannot be read"):
            Network("opt_cp", f"--fixed={tmp_path}")
    (tmp_path / "model.json").write_text(json.dumps(model | {"folded": True}))
    with pytest.raises(ValueError, match="export it without --fold"):
        Network("opt_cp", f"--fixed={tmp_path}")


@pytest.mark.slow
def test_a_run_goes_on_without_its_source(sources, tmp_path):
    path, _ = sources("opt_hr")
    moved, new = shutil.copytree(path, tmp_path / "source"), tmp_path / "new"
    program, settings = settings_of("opt_cp", f"--fixed={moved}", "--max_steps=3", f"--train_path={new}")
    assert run(program, settings) == 0
    log = (new / "log.txt").read_text()
    assert f"begins at the kernels of {moved}/model.ckpt-11" in log and "lr 0.01, " in log
    shutil.rmtree(moved)
    assert run(program, dataclasses.replace(settings, max_steps=5, resume=True)) == 0
    assert "goes on from" in (new / "log.txt").read_text()
