"""Downloads a file: resumed where it broke off, from a second address if need be, and checked before it gets its name.

Standard library only. While it is under way the file is called NAME.part; a part that an interrupt, a crash or a cut
connection leaves behind is where the next attempt goes on.
"""

import collections
import contextlib
import hashlib
import http.client
import os
import pathlib
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from common.data import network
from common.data.dataset import DataError

_TIMEOUT = 20.0  # seconds without a byte before an attempt counts as failed
_ATTEMPTS = 3  # failures without progress before an address is given up
_MOST_ATTEMPTS = 100  # of all kinds: an address that breaks off after every few bytes is given up too
_PAUSE = 1.0  # seconds between attempts
_SLOW_AFTER, _SLOW_RATE = 15.0, 100e3  # seconds; bytes per second below which another address is tried
_STALLED_AFTER, _STALLED_RATE = 60.0, 1e3  # the same, below which an attempt counts as failed
_PROGRESS = 1 << 14  # bytes that an attempt has to bring to count as progress
_MOST_BYTES = 1 << 32
_BLOCK = 1 << 16


class DownloadError(DataError):
    """A file could not be had from any address; the message is one line, with how to get it by hand."""


class _Refused(Exception):
    """An address does not have the file; asking again is no use."""


class _Broken(Exception):
    """An attempt failed; another may not."""


class _Stalled(_Broken):
    """What comes is so little that it would never end."""


def download(urls, target, md5, say=lambda line: None):
    """Downloads the file with the MD5 sum `md5` to `target` and returns its path; a file that is there is kept.

    Args:
      urls: addresses of one and the same file, tried in this order, and again after a failure or when one is slow.
      target: path of the file; its folder is made.
      md5: 32 hexadecimal digits.
      say: called with lines on what goes on. A progress bar goes to stderr if that is a terminal.

    Raises DownloadError, within seconds if there is no network at all. A part with a wrong sum is deleted; any other
    stays for the next attempt, also after a KeyboardInterrupt.
    """
    target = pathlib.Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with network.alone(target.parent, say):
            if not target.exists():
                _download(urls, target, md5, say)
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {error.strerror or error}; {_by_hand(urls, target)}") from error
    return target


def _download(urls, target, md5, say):
    part = target.with_name(target.name + ".part")
    queue, problems = network.reachable(urls)
    failures, slow = collections.Counter(), set()
    for _ in range(_MOST_ATTEMPTS):
        if not queue:
            break
        url, before = queue.pop(0), _size(part)
        say(f"downloading {url} to {target}" + (f", from byte {before} on" if before else ""))
        try:
            if _fetch(url, part, hurry=url not in slow and bool(queue)):
                _check(part, md5, resumed=before > 0)
                os.replace(part, target)
                return
            slow.add(url)
            problems[url] = "slow"
            queue.append(url)
        except _Refused as error:
            problems[url] = str(error)
        except _Broken as error:
            problems[url] = str(error)
            progress = _size(part) >= before + _PROGRESS and not isinstance(error, _Stalled)
            failures[url] = 0 if progress else failures[url] + 1
            if failures[url] < _ATTEMPTS:
                queue.append(url)
                time.sleep(_PAUSE)
    tried = "; ".join(f"{url}: {problem}" for url, problem in problems.items())
    raise DownloadError(f"cannot download {target.name} ({tried}); {_by_hand(urls, target)}")


def _by_hand(urls, target):
    return f"to get it by hand, download {urls[0]} and put it into {target.parent}"


def _fetch(url, part, hurry):
    """Appends what is missing to `part`. Returns True if it is complete, False if it comes slowly and we `hurry`."""
    start = _size(part)
    headers = {"User-Agent": "orthogonal-training", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        with network.opener().open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as response:
            if start and not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
                start = 0  # the server sends the whole file, or something else than was asked for
            if start == 0 and response.status == http.client.PARTIAL_CONTENT:
                raise _Broken("an answer to a question not asked")
            length = response.headers.get("Content-Length") or ""
            total = start + int(length) if length.isdigit() else None
            with _writer(part, start) as file, _bar(part, start, total) as bar:
                received = _copy(response, file, bar, hurry)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Nothing lies behind what we have: it is the whole file, or not a part of this file; the sum will tell.
            return True
        kind = _Refused if error.code < 500 else _Broken
        circle = ", redirects without an end" if error.code < 400 else ""
        raise kind(f"HTTP status {error.code}{circle}") from error
    except network.RedirectError as error:
        raise _Refused(str(error)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, _DiskError):
            raise
        raise _Broken(_one_line(error)) from error
    if received is None:
        return False
    if total is not None and start + received < total:
        raise _Broken(f"ended after {start + received} of {total} bytes")
    return True


class _DiskError(OSError):
    """The part cannot be written."""


@contextlib.contextmanager
def _writer(part, start):
    """Yields a function that appends blocks to `part` after its first `start` bytes."""
    try:
        with open(part, "ab", buffering=0) as file:  # unbuffered: what has come is kept, however we end
            file.truncate(start)

            def write(block):
                try:
                    while block:  # an unbuffered file may take less than it is given
                        block = block[file.write(block) :]
                except OSError as error:
                    raise _DiskError(error.errno, error.strerror) from error

            yield write
            os.fsync(file.fileno())
    except PermissionError as error:
        raise _DiskError(error.errno, error.strerror) from error


def _bar(part, start, total):
    """Returns a progress bar on stderr; it shows nothing if that is not a terminal."""
    name = part.name.removesuffix(".part")
    return tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None)


def _copy(response, write, bar, hurry):
    """Writes what comes and returns how many bytes it was, or None if it comes slowly and we `hurry`."""
    begin, received = time.monotonic(), 0
    while block := response.read1(_BLOCK):
        write(block)
        bar.update(len(block))
        received += len(block)
        if received > _MOST_BYTES:
            raise _Refused(f"more than {_MOST_BYTES} bytes")
        elapsed = time.monotonic() - begin
        if hurry and elapsed > _SLOW_AFTER and received < _SLOW_RATE * elapsed:
            return None
        if elapsed > _STALLED_AFTER and received < _STALLED_RATE * elapsed:
            raise _Stalled(f"slower than {_STALLED_RATE:.0f} bytes a second")
    return received


def _check(part, md5, resumed):
    """Deletes the part and raises unless it has the sum `md5`; one that grew in several attempts is worth another."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(part, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != md5:
        part.unlink()
        raise (_Broken if resumed else _Refused)(f"MD5 is {digest.hexdigest()}, expected {md5}")


def _size(part):
    return part.stat().st_size if part.exists() else 0


def _one_line(error):
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:120] or type(error).__name__
