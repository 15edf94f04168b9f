"""How much memory this process may still take, as Linux says it."""

import os

_UNLIMITED = 2**60  # version 1 of control groups writes a huge number where there is no limit


def free(root="/"):
    """Returns the bytes that are free: of the machine, or of the control group (container, batch job) if that is less.

    Pages of files that can be dropped count as free. None where the system does not say. `root` is where proc and sys
    are looked for.
    """
    bounds = [_available(root), *_groups(root)]
    return min((bound for bound in bounds if bound is not None), default=None)


def _available(root):
    fields = dict(line.split(":", 1) for line in _lines(root, "proc/meminfo") if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _groups(root):
    """Yields what is left of each limit on this process: of its own group and of those that hold it."""
    for line in _lines(root, "proc/self/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        base, parts = "sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup", path.strip("/").split("/")
        for count in range(len(parts) + 1):
            folder = os.path.join(base, *parts[:count])
            limit, used = (_number(root, os.path.join(folder, name)) for name in names)
            if limit is not None and used is not None and limit < _UNLIMITED:
                yield max(0, limit - used + _droppable(root, folder))


def _droppable(root, folder):
    fields = dict(line.split() for line in _lines(root, os.path.join(folder, "memory.stat")))
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))


def _number(root, path):
    lines = _lines(root, path)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _lines(root, path):
    try:
        with open(os.path.join(root, path), encoding="ascii") as file:
            return file.read().splitlines()
    except OSError:
        return []
