"""Free memory, read from files as Linux writes them."""

import pytest

from common import host_memory

MEMINFO = "MemTotal:       24000000 kB\nMemFree:         100 kB\nMemAvailable:    2000000 kB\n"


def machine(root, files):
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_of_the_machine(tmp_path):
    assert host_memory.free(machine(tmp_path, {})) == 2_000_000 * 1024


def test_unknown_off_linux(tmp_path):
    assert host_memory.free(str(tmp_path)) is None


@pytest.mark.parametrize(("limit", "used", "expected"), [
    ("1000000", "300000", 1_000_000 - 300_000 + 50_000),  # pages of files can be dropped
    ("1000000", "2000000", 0),
    ("max", "300000", 2_000_000 * 1024),
    ("9" * 13, "0", 2_000_000 * 1024),  # more than the machine has
])  # fmt: skip
def test_of_a_control_group(tmp_path, limit, used, expected):
    """The limit stands above the group that the process is in, as a batch system's does."""
    job = "sys/fs/cgroup/batch/job_7"
    files = {
        "proc/self/cgroup": "0::/batch/job_7/step\n",
        f"{job}/step/memory.max": "max\n",
        f"{job}/step/memory.current": "1\n",
        f"{job}/memory.max": limit + "\n",
        f"{job}/memory.current": used + "\n",
        f"{job}/memory.stat": "anon 5\ninactive_file 50000\n",
    }
    assert host_memory.free(machine(tmp_path, files)) == expected


def test_of_a_control_group_of_version_1(tmp_path):
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/box\n4:memory:/box\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "77\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "900000\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "400000\n",
        "sys/fs/cgroup/memory/box/memory.stat": "inactive_file 1\ntotal_inactive_file 20000\n",
    }
    assert host_memory.free(machine(tmp_path, files)) == 520_000
