"""Several processes train as one does, stop together, and survive none of their own without a word and a checkpoint."""

import json
import shutil
import signal

import numpy as np
import pytest

from common.compat import tf
from common.runs import checkpoints
from tests.common.distributed.workers import Workers

FOREVER = ("--max_steps=1000000", "--report_freq=1", "--vali_freq=1000000", "--save_freq=1000000")


def metrics(folder, split):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def values(folder):
    reader = tf.train.load_checkpoint(checkpoints.newest(str(folder)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def saved(folder):
    return len(checkpoints.listed(str(folder)))


def check_equal(folder, other):
    """Float32 variables, slots and averages of two runs differ by no more than their rounding."""
    expected, found = values(folder), values(other)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), err_msg=name)
    for one, two in zip(metrics(folder, "test"), metrics(other, "test"), strict=True):
        assert one["step"] == two["step"] and two["error"] == pytest.approx(one["error"], abs=1e-9)
        for name in ("cross_entropy", "error_5"):
            assert two[name] == pytest.approx(one[name], rel=1e-4), name


RUN = ("--max_steps=12", "--vali_freq=6", "--report_freq=3", "--vali_batch_size=50")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    with Workers(folder, 1, *RUN, f"--train_path={folder / 'run'}") as workers:
        assert workers.statuses() == {0: 0}, workers.output(0)
    return folder / "run"


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(tmp_path, alone):
    """256 test images in batches of 50 make six, for two workers three rounds each, the last one not full."""
    with Workers(tmp_path, 2, *RUN, f"--train_path={tmp_path / 'run'}", of={1: ["--train_path=/nowhere"]}) as workers:
        assert workers.statuses() == {0: 0, 1: 0}, workers.output(0) + workers.output(1)
        first, line = workers.output(1).splitlines()
        assert first.startswith("opt_gs-none, ") and first.endswith("batches of 8 images")
        assert line == f"{workers.name(1)} trains too; {workers.name(0)} reports and saves"
    check_equal(alone, tmp_path / "run")


@pytest.mark.slow
def test_a_signal_to_one_stops_all_and_another_number_goes_on(tmp_path, alone):
    flags = [*RUN, "--resume", f"--train_path={tmp_path / 'run'}", "--save_freq=1"]
    with Workers(tmp_path, 3, *flags, "--batch_size=24", *FOREVER) as workers:
        workers.wait_for("step 3, ")
        workers.processes[1].send_signal(signal.SIGTERM)
        assert set(workers.statuses().values()) == {128 + signal.SIGTERM}
        assert f"interrupted; {workers.name(0)} has saved a checkpoint" in workers.output(2)
        assert "interrupted by SIGTERM; go on with --resume" in workers.output(0)
    shutil.rmtree(tmp_path / "run")
    with Workers(tmp_path, 2, *flags, "--num_gpus=2") as workers:
        workers.wait_for("step 2, ")
        for process in workers.processes.values():
            process.send_signal(signal.SIGINT)
        statuses = workers.statuses()
    if set(statuses.values()) == {128 + signal.SIGINT}:
        with Workers(tmp_path, 1, *flags) as workers:
            assert workers.statuses() == {0: 0}, workers.output(0)
            assert "goes on from" in workers.output(0)
    check_equal(alone, tmp_path / "run")


LOST = [
    (3, 1, signal.SIGKILL, "has ended: nothing listens at its address"),
    (3, 0, signal.SIGKILL, "has ended: nothing listens at its address"),
    (2, 1, signal.SIGSTOP, "does not answer: it is stopped, or hangs"),
    (2, 0, signal.SIGSTOP, "does not answer: it is stopped, or hangs"),
]


@pytest.mark.slow
@pytest.mark.parametrize("count, victim, number, words", LOST, ids=["worker", "chief", "frozen", "frozen chief"])
def test_a_lost_worker_is_named_and_the_others_end_with_a_checkpoint(count, victim, number, words, tmp_path):
    run = tmp_path / "run"
    timeout = 20 if number == signal.SIGSTOP else 200
    flags = [*FOREVER, "--batch_size=24", f"--collective_timeout={timeout}", f"--train_path={run}"]
    flags += [] if victim else ["--save_freq=3"]  # of a chief that is lost there is what it saved on the way
    with Workers(tmp_path, count, *flags) as workers:
        workers.wait_for("step 5, ")
        assert saved(run) == 0 if victim else saved(run) > 0
        workers.processes[victim].send_signal(number)
        others = [index for index in range(count) if index != victim]
        for index in others:
            assert workers.processes[index].wait(300) == 1, workers.output(index)
            (error,) = workers.errors(index)
            assert error.startswith(f"{workers.name(victim)} {words}"), error
            assert not any(workers.name(other) in error for other in others), error
        if victim:
            assert saved(run) == 1 and "model.ckpt-" in workers.errors(0)[0]
            reported = metrics(run, "train")[-1]["step"]
            path = checkpoints.newest(str(run))
            assert path.endswith(f"model.ckpt-{reported}") and values(run)["global_step"] == reported + 1
            assert f"{path} is saved; start all workers again with --resume --train_path={run}" in workers.errors(0)[0]
            assert workers.errors(0)[0].split(";")[0] in (run / "log.txt").read_text()
        else:
            path = checkpoints.newest(str(run))
            assert values(run)["global_step"] == int(path.rsplit("-", 1)[1]) + 1 >= 3


@pytest.mark.slow
def test_workers_that_would_train_something_else_are_refused(tmp_path):
    """With other flags; test_consistency.py has other code and other data."""
    with Workers(tmp_path, 2, *FOREVER, of={1: ["--weight_decay=0.1"]}) as workers:
        assert workers.statuses() == {0: 1, 1: 1}, workers.output(0) + workers.output(1)
        for index in (0, 1):
            assert workers.errors(index) == [
                f"not the same as of {workers.name(0)}: --weight_decay of {workers.name(1)}. All workers need the same "
                "flags, code and data; give what flags.txt says to a worker that does not see the run folder"
            ]
    assert not list(tmp_path.rglob("model.ckpt*"))
