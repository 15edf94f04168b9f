"""Times, memory and the machine: how every figure of the benchmarks is measured.

Times are wall-clock times of synchronous calls. Competitors take turns (`round_robin`), so that whatever else the
machine does hits all alike; the figure of a turn is the median of its calls, and what is reported is the median and the
quartiles over the turns.
"""

import ctypes
import datetime
import importlib.metadata
import os
import platform
import subprocess
import time

import numpy as np

_TURN_SECONDS = 0.02  # a turn of short calls has several of them ...
_MOST_CALLS = 30  # ... but no more than this
_PAUSE = 0.003  # between turns: threads of a library that spin after its work have gone to sleep by then
_MIB = 2.0**20
_MMAP_THRESHOLD = -3  # mallopt's number for it


def turn(call, clock=time.perf_counter):
    """Returns the seconds of one turn of `call`: the median of its calls.

    A call that is over at once is done first without being timed (its data and threads have to wake up), then as often
    as fills the turn. A long one is done once.
    """
    first = _seconds(call, clock)
    if first > _TURN_SECONDS:
        return first
    calls = int(np.clip(_TURN_SECONDS / max(first, 1e-9), 3, _MOST_CALLS))
    return float(np.median([_seconds(call, clock) for _ in range(calls)]))


def _seconds(call, clock):
    start = clock()
    call()
    return clock() - start


def round_robin(turns, repeats, seconds=float("inf"), fewest=3, clock=time.perf_counter):
    """Lets competitors take turns; returns {name: [seconds of each turn]}.

    Args:
      turns: {name: function without arguments that takes one turn and returns its seconds}.
      repeats: turns of each competitor.
      seconds: a competitor whose turns have taken this long in all has no more of them,
      fewest: unless it has had fewer than this.
      clock: what measures the time that a turn takes altogether.
    """
    times, used = {name: [] for name in turns}, dict.fromkeys(turns, 0.0)
    for _ in range(repeats):
        for name, take_turn in turns.items():
            if used[name] < seconds or len(times[name]) < fewest:
                start = clock()
                times[name].append(take_turn())
                used[name] += clock() - start
                time.sleep(_PAUSE)
    return times


def summary(seconds, prefix=""):
    """Returns {"ms", "ms_low", "ms_high", "turns"}: median and quartiles of turns in milliseconds; keys prefixed."""
    low, median, high = np.percentile(1000.0 * np.asarray(seconds), [25, 50, 75])
    return {
        f"{prefix}ms": float(median),
        f"{prefix}ms_low": float(low),
        f"{prefix}ms_high": float(high),
        f"{prefix}turns": len(seconds),
    }


def peak_memory(call):
    """Returns by how many MiB the memory that this process holds grows while `call` runs, at the highest.

    Linux's own count of resident pages (VmHWM, set back before the call, less VmRSS before it): it includes whatever a
    library allocates, by whichever allocator. Memory that an earlier call left behind in an allocator hides growth, so
    this belongs into a fresh process, after `give_freed_memory_back`. None where /proc does not exist.
    """
    if not os.path.exists("/proc/self/status"):
        call()
        return None
    _reset_peak()
    before = resident_memory()["VmRSS"]
    call()
    return max(0.0, resident_memory()["VmHWM"] - before)


def give_freed_memory_back():
    """Makes this process hand every larger block back to the system when it is freed (glibc keeps up to 32 MiB)."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 16)
        libc.malloc_trim(0)
    except (OSError, AttributeError):  # another C library: its allocator does as it likes
        pass


def resident_memory():
    """Returns {"VmRSS", "VmHWM"}: what this process has in memory now, and the most it had, in MiB; None off Linux."""
    if not os.path.exists("/proc/self/status"):
        return {"VmRSS": None, "VmHWM": None}
    with open("/proc/self/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return {name: int(fields[name].split()[0]) * 1024 / _MIB for name in ("VmRSS", "VmHWM")}


def _reset_peak():
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:  # not permitted here: the peak then counts from the start of the process
        pass


def machine():
    """Returns what figures depend on: processor, cores, system, versions, date and commit."""
    from common.compat import tf

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        **{name: version for name in ("torch", "geotorch") if (version := _version(name))},
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
    """The commit of this clone, with a + if files differ from it, its own results aside; None without git."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        name = subprocess.run(
            ["git", "describe", "--always", "--abbrev=10"], cwd=root, capture_output=True, text=True, check=True
        )
        own = [":!benchmarks/results", ":!benchmarks/README.md"]
        words = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", *own]
        changes = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return name.stdout.strip() + ("+" if changes.stdout.strip() else "")
