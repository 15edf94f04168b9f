"""Which processes train together: flags, TF_CONFIG, and what is wrong with them."""

import json
import re
import subprocess
import sys

import pytest

from common.cli.program import run
from common.distributed import cluster
from opt_gs.train import method
from tests.common.distributed.workers import ROOT

METHOD = method()
HOSTS = ("a:2222", "10.0.0.7:2223", "[::1]:2224")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


def describe(monkeypatch, jobs, kind="worker", index=0):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}}))


def test_a_process_on_its_own():
    assert cluster.find() == cluster.ALONE
    assert (cluster.ALONE.count, cluster.ALONE.is_chief, cluster.ALONE.others) == (1, True, {})
    assert cluster.find("a:2222", 0, 5.0) == cluster.Cluster(timeout=5.0)


def test_flags_name_all_workers_in_order():
    found = cluster.find(",".join(HOSTS), 1, 7.0)
    assert found == cluster.Cluster(HOSTS, 1, 7.0)
    assert (found.count, found.is_chief, found.others) == (3, False, {0: HOSTS[0], 2: HOSTS[2]})
    assert found.name(1) == "worker 1 (10.0.0.7:2223)"


@pytest.mark.parametrize("kind, index, number", [("worker", 1, 1), ("chief", 0, 0), ("worker", 0, 1)])
def test_tf_config(monkeypatch, kind, index, number):
    """With a chief's job, that process is worker 0 and the others follow."""
    chief = number != index or kind == "chief"
    jobs = {"chief": [HOSTS[0]], "worker": HOSTS[1:]} if chief else {"worker": HOSTS}
    describe(monkeypatch, jobs, kind, index)
    assert cluster.find() == cluster.Cluster(HOSTS, number)


def test_tf_config_and_flags_have_to_agree(monkeypatch):
    describe(monkeypatch, {"worker": HOSTS}, index=2)
    assert cluster.find(",".join(HOSTS), 2).index == 2
    with pytest.raises(ValueError, match="--task_index=1 and TF_CONFIG .worker 2 of a:2222.* disagree: leave one"):
        cluster.find(",".join(HOSTS), 1)


@pytest.mark.parametrize(
    "hosts, index, message",
    [
        ("a:1,b:2", None, "--worker_hosts needs --task_index"),
        (None, 0, "--task_index=0 needs --worker_hosts"),
        ("a:1,b:2", 2, "--task_index=2: expected 0 to 1, as --worker_hosts names 2 workers"),
        ("a:1,b:2", -1, "--task_index=-1: expected 0 to 1"),
        ("a:1,b", 0, "'b' is no address of worker 1; expected HOST:PORT"),
        ("a:1,b:70000", 0, "'b:70000' is no address of worker 1; expected HOST:PORT with a port of 1 to 65535"),
        ("a:1,b:0", 0, "'b:0' is no address"),
        ("a:1,,b:2", 0, "'' is no address"),
        ("http://a:1,b:2", 0, "'http://a:1' is no address"),
        ("a:1,b:2,a:1", 0, "a:1 is there twice"),
    ],
)
def test_flags_that_are_wrong(hosts, index, message):
    with pytest.raises(ValueError, match=message) as caught:
        cluster.find(hosts, index)
    assert "\n" not in str(caught.value)


TASK = ', "task": {"type": "worker", "index": 0}}'


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "TF_CONFIG is no JSON"),
        ("3", "TF_CONFIG is 3, expected an object"),
        ('{"cluster": ["a:1", "b:2"]}', 'TF_CONFIG\'s cluster is ["a:1", "b:2"], expected an object'),
        ('{"cluster": {"worker": 3}}', 'TF_CONFIG\'s worker is 3, expected a list'),
        ('{"cluster": {"worker": "a:1,b:2"}}', 'TF_CONFIG\'s worker is "a:1,b:2", expected a list'),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "TF_CONFIG has no task None None"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": null}', "TF_CONFIG has no task None None"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}', "no task 'worker' 2"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": "x"}}', "no task 'worker' 'x'"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": true}}', "no task 'worker' True"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": ["worker"], "index": 0}}', "no task ['worker'] 0"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "chief", "index": 0}}', "no task 'chief' 0"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "ps", "index": 0}}', "has the job 'ps'"),
        ('{"cluster": {"chief": ["a:1", "b:2"]}, "task": {"type": "chief", "index": 0}}', "has 2 chiefs"),
        ('{"cluster": {"worker": ["a:1", "b"]}' + TASK, "'b' is no address of worker 1"),
        ('{"cluster": {"worker": ["a:1", null, "b:1"]}' + TASK, "None is no address of worker 1"),
        ('{"cluster": {"worker": ["a:1", " ", "b:1"]}' + TASK, "'' is no address of worker 1"),
        ('{"cluster": {"worker": {"0": "a:1", "2": "b:1"}}' + TASK, "no address for worker 1, but for 0, 2;"),
        ('{"cluster": {"worker": {"0": "a:1", "x": "b:1"}}' + TASK, "no address for worker 1, but for 0, x;"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}' + TASK, "a:1 is there twice"),
        ('{"sparseCluster": {"worker": {"0": "a:1"}}' + TASK, "TF_CONFIG has a sparseCluster"),
    ],
)
def test_tf_config_that_is_wrong(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        cluster.find()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "  \n", "null", "{}", '{"environment": "cloud"}', '{"cluster": null}', '{"cluster": {}, "task": null}',
        '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}', '{"cluster": {"worker": null}}',
        '{"cluster": {"worker": ["a:1"], "ps": []}, "task": {"type": "worker", "index": 0}, "sparseCluster": null}',
    ],
)  # fmt: skip
def test_tf_config_without_a_second_worker(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.find() == cluster.ALONE


@pytest.mark.parametrize(
    "jobs",
    [
        '{"worker": ["a:1", "b:2"], "ps": [], "chief": null, "evaluator": []}',
        '{"worker": [" a:1", "b:2 "]}',
        '{"worker": {"1": "b:2", "0": "a:1"}}',
        '{"chief": {"0": "a:1"}, "worker": {"0": "b:2"}, "ps": {}}',
    ],
)
def test_tf_config_with_what_is_empty_blank_or_numbered(monkeypatch, jobs):
    index = 0 if "chief\": {" in jobs else 1
    monkeypatch.setenv("TF_CONFIG", f'  {{"cluster": {jobs}, "task": {{"type": "worker", "index": "{index}"}}}}\n')
    assert cluster.find() == cluster.Cluster(("a:1", "b:2"), 1)


def test_only_training_takes_several_processes(tmp_path):
    settings = METHOD.settings_class(task="see", data="synthetic", worker_hosts="a:1,b:2", task_index=0)
    with pytest.raises(ValueError, match="--task=see needs one process only"):
        run(METHOD, settings)


def test_a_batch_has_to_divide_by_all_devices(tmp_path):
    settings = METHOD.settings_class(
        data="synthetic", batch_size=18, num_gpus=2, worker_hosts="a:1,b:2", task_index=1, train_dir=str(tmp_path)
    )
    with pytest.raises(ValueError, match="batch of 18 cannot be split evenly over 4 devices of 2 workers"):
        run(METHOD, settings)


def test_it_is_read_without_tensorflow():
    code = "import sys, common.distributed.cluster; sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
