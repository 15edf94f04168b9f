"""A disk that is full for as long as a test wants."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk(size):
    """Within it no file of this process gets longer than `size` bytes: a limit of the kernel stands for a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
