"""Locks between processes. The operating system frees a lock when its process ends, however it ends."""

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def try_lock(descriptor):
    """Locks an open file or folder. Returns True if it is ours now and False if another process has it.

    None is the answer of file systems that offer no locks, and of Windows.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None
