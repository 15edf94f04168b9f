"""A run that is stopped and goes on ends with the same bits as one that is not: training is a function of the step."""

import dataclasses
import importlib
import os
import pathlib
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from common.cli import devices
from common.cli import start as starting
from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.runs import checkpoints
from common.runs.saver import CheckpointManager
from common.training import problem
from grassmann.program import Grassmann
from grassmann.program import Settings as GrassmannSettings
from tests import runs

ROOT = pathlib.Path(__file__).resolve().parents[3]
OPT = ("opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "opt_or", "sopt_gs")
GRASSMANN = ("sgd", "sgdg", "adamg")
HALF = 6  # updates


def program_of(name):
    """A method with small settings; S-OPT's episodes end after 4, 8 and 12 updates, so that the stop is within one.

    What follows the method is its --generator_optimizer.
    """
    common = {"data": "synthetic", "batch_size": 8, "max_steps": 2 * HALF}
    if name in GRASSMANN:
        options = {"learnRate": 0.01, "learnRateG": 0.05, "omega": 0.1, "grad_clip": 0.1, "weightDecay": 5e-4}
        network = {"model": "resnet", "keep_prob": 0.7, "crop_size": 16, "grassmann": True, "optimizer": name}
        return Grassmann(), GrassmannSettings(**common, **options, **network)
    name, *own = name.split()
    common |= {"generator_optimizer": own[0]} if own else {}
    method = importlib.import_module(f"{name}.train").method()
    episodes = {"episodes": 10, "episode_steps": 4} if name == "sopt_gs" else {}
    return method, method.settings_class(**common, **episodes, widths=(8, 8, 8, 8), base_lr=0.05)


class Run:
    """A session of its own over the one graph of a method."""

    def __init__(self, training, callbacks, initialize):
        self.training, self.session = training, devices.choose("cpu").session()
        self.callbacks = callbacks(self.session)
        self.session.run(initialize)
        training.stores[0].fill(self.session)

    def steps(self, first, last):
        for step in range(first, last):
            self.session.run(self.training.train_op)
            for callback in self.callbacks:
                callback.after_step(step, {})

    def values(self):
        return self.session.run({variable.op.name: variable for variable in variables.saved()})


def assert_no_sum_in_varying_order(run):
    """AddN of three and more adds first to whichever input's memory is free: a matter of timing."""
    ran, options = tf.RunMetadata(), tf.RunOptions(output_partition_graphs=True)
    run.session.run([run.training.train_op, run.training.metrics], options=options, run_metadata=ran)
    nodes = [node for graph in ran.partition_graphs for node in graph.node]
    assert len(nodes) > 100 and [node.name for node in nodes if node.op == "AddN" and node.attr["N"].i > 2] == []


COMPILED = ("opt_ogd --xla", "adamg --xla")
ON_MANIFOLD = ("opt_hr sgdg", "opt_gs adamg", "sopt_gs adamg")
FAST = ("opt_ogd", "sopt_gs adamg", "adamg")  # slots, episodes, powers: one of each kind


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST))
        for name in (*OPT, *GRASSMANN, *ON_MANIFOLD, *COMPILED)
    ],
)
def test_every_saved_variable_is_the_same_bit_for_bit(name, tmp_path):
    program, settings = program_of(name.removesuffix(" --xla"))
    dataset = synthetic.load(64, 16)
    settings = program.resolve(dataclasses.replace(settings, xla=name in COMPILED), dataset)
    training = problem.build(program.problem(settings, dataset))
    callbacks = lambda session: program.callbacks(settings, session, training)  # noqa: E731
    initialize = tf.global_variables_initializer()
    manager = CheckpointManager(str(tmp_path), 1)
    whole = Run(training, callbacks, initialize)
    start = whole.values()
    whole.steps(0, HALF)
    path = manager.save(whole.session, HALF - 1)
    middle = whole.values()
    whole.steps(HALF, 2 * HALF)
    rest = Run(training, callbacks, initialize)
    checkpoints.load(rest.session, path, variables.saved())
    rest.steps(HALF, 2 * HALF)
    expected, actual = whole.values(), rest.values()
    assert_no_sum_in_varying_order(rest)  # does a step more
    assert expected["global_step"] == 2 * HALF
    runs.assert_equal(actual, expected)
    trained = [variable.op.name for variable in variables.trainable()]
    assert any(not np.array_equal(start[variable], middle[variable]) for variable in trained)
    assert any(not np.array_equal(expected[variable], middle[variable]) for variable in trained)
    if name.startswith("sopt_gs"):
        assert not np.array_equal(expected["conv1_1/subset"], middle["conv1_1/subset"])


FLAGS = {
    "opt_gs": ("opt_gs", "--widths=8,8,8,8"),
    "sopt_gs": ("sopt_gs", "--widths=8,8,8,8", "--episodes=9", "--episode_steps=7"),
    "adamg": (
        "grassmann", "--model=resnet", "--optimizer=adamg", "--grassmann=True", "--learnRate=0.01", "--learnRateG=0.05",
        "--omega=0.1", "--grad_clip=0.1", "--weightDecay=0.0005", "--keep_prob=0.7", "--crop_size=16",
    ),
}  # fmt: skip


def finish(folder, *words):
    """Does in this process what a train.py does."""
    train = importlib.import_module(f"{folder}.train")
    line, _ = starting.read(train.Settings, ["--data=synthetic", "--batch_size=8", *words])
    assert run(train.method(), line.settings()) == 0


@pytest.fixture
def start():
    """`start(folder, words...)` starts a train.py; what still runs in the end is killed."""
    processes = []

    def begin(folder, *words):
        command = [sys.executable, "train.py", "--data=synthetic", "--batch_size=8", *words]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(command, cwd=ROOT / folder, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def step_of(line):
    return int(line.split()[1].strip(",")) if line.startswith("step ") and ", fit = " in line else -1


@pytest.mark.parametrize(
    "name, kills, steps", [("ordinary", 1, 20), *(pytest.param(name, 3, 60, marks=pytest.mark.slow) for name in FLAGS)]
)
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(name, kills, steps, tmp_path, start):
    """kill -9 at random moments: lost are at most the steps since the last checkpoint."""
    seed = int(os.environ.get("KILL_SEED", random.randrange(10**6)))
    print(f"KILL_SEED={seed}")
    moments = random.Random(seed)
    words = FLAGS.get(name, ("opt_gs", "--rotation=none", "--widths=4,4,4,4"))
    words = [*words, f"--max_steps={steps}", "--save_freq=5", "--report_freq=1", "--vali_freq=10", "--resume"]
    finish(*words, f"--train_path={tmp_path / 'whole'}")
    killed, reached = tmp_path / "killed", -1
    for _ in range(kills):
        process = start(*words, f"--train_path={killed}")
        wanted = moments.randrange(steps // 3)  # reports from the start of this process
        for line in process.stdout:
            reached = max(reached, step_of(line))
            wanted -= step_of(line) >= 0
            if wanted < 0:
                time.sleep(moments.random() * 0.05)
                process.kill()
                break
        reached = max([reached, *map(step_of, process.communicate(timeout=600)[0].splitlines())])
        last = max([int(path.stem.split("-")[1]) for path in killed.glob("model.ckpt-*.index")], default=-1)
        assert reached - last <= 5 + 1, (seed, reached, last)  # a report comes before the save of its step
    finish(*words, f"--train_path={killed}")
    expected, actual = [runs.contents(folder / f"model.ckpt-{steps - 1}") for folder in (tmp_path / "whole", killed)]
    runs.assert_equal(actual, expected, hint=f"KILL_SEED={seed}")
    assert runs.metrics(killed) == runs.metrics(tmp_path / "whole")
    left = [{path.name.split(".")[0] for path in folder.iterdir()} for folder in (killed, tmp_path / "whole")]
    assert left[0] == left[1]
