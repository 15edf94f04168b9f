"""Times, memory and the machine: how every number of the benchmarks is measured.

Times are wall-clock times of synchronous calls. Competitors alternate (`round_robin`), so that whatever else the
machine does hits all alike. A sample is the median of a few calls; reported are the median and the quartiles of
the samples.
"""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import time

import numpy as np

_SAMPLE_SECONDS = 0.02  # a sample of short calls has several of them ...
_MOST_CALLS = 30  # ... but no more than this
_PAUSE = 0.003  # between samples: threads of a library that spin after its work have gone to sleep by then
_MIB = 2.0**20


def sample(call, clock=time.perf_counter):
    """Returns one sample of the seconds of `call`: the median of its calls.

    A short call is done once without being timed (its data and threads have to wake up), then as often as fills
    20 ms. A long one is done once.
    """
    first = _seconds(call, clock)
    if first > _SAMPLE_SECONDS:
        return first
    calls = int(np.clip(_SAMPLE_SECONDS / max(first, 1e-9), 3, _MOST_CALLS))
    return float(np.median([_seconds(call, clock) for _ in range(calls)]))


def _seconds(call, clock):
    start = clock()
    call()
    return clock() - start


def round_robin(
    competitors, repeats, seconds=float("inf"), fewest=3, clock=time.perf_counter, pause=_PAUSE
):
    """Lets competitors alternate; returns {name: [seconds of each sample]}.

    Args:
      competitors: {name: function without arguments that takes one sample and returns its seconds}.
      repeats: samples of each competitor.
      seconds: a competitor whose samples have taken this long in all has no more of them,
      fewest: unless it has had fewer than this.
      clock: what measures the time that a sample takes altogether.
      pause: seconds between samples.
    """
    times, used = {name: [] for name in competitors}, dict.fromkeys(competitors, 0.0)
    for _ in range(repeats):
        for name, take_sample in competitors.items():
            if used[name] < seconds or len(times[name]) < fewest:
                start = clock()
                times[name].append(take_sample())
                used[name] += clock() - start
                time.sleep(pause)
    return times


def summary(seconds, prefix=""):
    """Returns {"ms", "ms_low", "ms_high", "samples"}: median and quartiles in milliseconds; keys prefixed."""
    low, median, high = np.percentile(1000.0 * np.asarray(seconds), [25, 50, 75])
    values = {"ms": float(median), "ms_low": float(low), "ms_high": float(high), "samples": len(seconds)}
    return {f"{prefix}{name}": value for name, value in values.items()}


def process_memory():
    """Returns the most MiB that this process has held in memory so far; None off Linux."""
    if not os.path.exists("/proc/self/status"):
        return None
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 / _MIB for line in file if line.startswith("VmHWM"))


def traced(session, fetches):
    """Runs `fetches` and returns TensorFlow's record of it: each operation, its device, times and memory."""
    from common.compat import tf

    options, metadata = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), tf.RunMetadata()
    session.run(fetches, options=options, run_metadata=metadata)
    return metadata


def tensor_memory(metadata):
    """Returns the MiB of the tensors that were alive at once, at the peak of a run that `traced` has recorded.

    TensorFlow's own record of what its allocators hand out and take back, without what graphs, kernels and the C
    library's heap keep for themselves: the same in every run, as far as operations run in the same order.
    """
    nodes = [node for device in metadata.step_stats.dev_stats for node in device.node_stats]
    found = [record for node in nodes for memory in node.memory for record in memory.allocation_records]
    found.sort(key=lambda record: record.alloc_micros)
    return float(np.cumsum([record.alloc_bytes for record in found], dtype=np.int64).max(initial=0)) / _MIB


def variable_memory(graph):
    """Returns the MiB of all variables of a graph."""
    from common.compat import tf

    handles = [operation for operation in graph.get_operations() if operation.type == "VarHandleOp"]
    shapes = [(tf.TensorShape(handle.get_attr("shape")), handle.get_attr("dtype")) for handle in handles]
    return sum(shape.num_elements() * dtype.size for shape, dtype in shapes) / _MIB


def nodes(graph):
    """Returns the number of nodes of a graph, those inside functions included."""
    definition = graph.as_graph_def()
    return len(definition.node) + sum(len(function.node_def) for function in definition.library.function)


def machine():
    """Returns what numbers depend on: processor, cores, system, versions, date and commit."""
    from common.compat import tf

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "torch": _version("torch"),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit():
    """The commit of this clone, with a + if its files differ from it; None without git."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    words = ["git", "describe", "--always", "--abbrev=10", "--dirty=+"]
    try:
        return subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
