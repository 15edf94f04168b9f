"""One device, two devices, two and four processes and two of both give the same weights after ten steps."""

import concurrent.futures
import dataclasses
import os
import sys

import numpy as np
import pytest

from common.compat import tf
from common.distributed.cluster import ALONE, Cluster
from tests.common.distributed import driver
from tests.common.distributed.workers import free_addresses, started

# Of each variable, relative to its largest value; that of a variable which is all zeros is absolute. In float32 it is
# relative to 1 at least, and slots do not count: test_replica_equality.py says why.
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A function of (processes, devices) that runs them once and returns {which: pattern of their files}."""
    folder = tmp_path_factory.mktemp("equality")

    def of(processes, count):
        names = [f"{processes}x{count}-{index}" for index in range(processes)]
        if not list(folder.glob(f"*-{names[0]}.npz")):
            port = free_addresses(1)[0].rsplit(":", 1)[1]
            workers = [
                started([sys.executable, driver.__file__, folder, *map(str, (processes, count, index, port))])
                for index in range(processes)
            ]
            try:
                assert [worker.wait(1200) for worker in workers] == [0] * processes
            finally:
                for worker in workers:
                    worker.kill()
        return {name: folder / f"{{}}-{name}.npz" for name in names}

    return of


def test_two_workers_in_one_process():
    """Each is a thread with a server, a graph and a session of its own."""
    program, settings = driver.CASES["opt_gs"]
    settings = dataclasses.replace(settings, rotation="none")
    addresses = tuple(free_addresses(2))
    clusters = [ALONE, Cluster(addresses, 0), Cluster(addresses, 1)]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        jobs = [threads.submit(driver.trained, program, settings, tf.float64, cluster, 1, 3) for cluster in clusters]
    alone, *found = [job.result() for job in jobs]
    for values in found:
        check(alone, values, 1, "float64", "plain")


@pytest.mark.slow
@pytest.mark.parametrize("processes, count", [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_weights_after_ten_steps(processes, count, results):
    (alone,) = results(1, 1).values()
    for case in driver.ALL:
        expected = np.load(str(alone).format(case))
        for path in results(processes, count).values():
            check(expected, np.load(str(path).format(case)), count, case.split("-")[1], case)


def check(expected, found, count, dtype, where):
    assert len(found) == 2 + count * (len(expected) - 2), where
    for name in expected:
        if dtype == "float32" and os.path.dirname(name) in expected:
            continue
        largest = np.abs(expected[name]).max()
        bound = TOLERANCES[dtype] * (max(largest, 1.0) if dtype == "float32" else largest or 1.0)
        copies = [] if name.startswith("the ") else [f"replica_{replica}/{name}" for replica in range(1, count)]
        for copy in [name, *copies]:
            np.testing.assert_allclose(found[copy], expected[name], rtol=0, atol=bound, err_msg=f"{where}: {copy}")
