"""Downloads a published file: resumed where it broke off, from the next address if need be, checked, then named.

While it is under way the file is called NAME.part; what an interrupt or a cut connection leaves of it is where the next
attempt goes on.
"""

import dataclasses
import hashlib
import http.client
import os
import pathlib
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from common import files
from common.console import one_line
from common.data.dataset import DataError

_TIMEOUT = 20.0  # seconds without a byte
_ATTEMPTS = 3  # in a row that bring nothing, before an address is given up
_PAUSE = 1.0  # seconds between attempts
_BLOCK = 1 << 16
_PROGRESS = 1 << 14  # bytes that an attempt has to bring to count as progress
_MOST_BYTES = 1 << 32


@dataclasses.dataclass(frozen=True)
class Published:
    """One published file: its name, its addresses in the order to try them, its MD5 sum."""

    file: str
    urls: tuple
    md5: str


# The first host is the published one; it has been slow since 2026, and the second has the same files.
_TORONTO = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_STANFORD = ("http://ufldl.stanford.edu/housenumbers/",)
_ZALANDO = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)


def _published(hosts, *files):
    return tuple(Published(file, tuple(host + file for host in hosts), md5) for file, md5 in files)


PUBLISHED = {
    "cifar10": _published(_TORONTO, ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")),
    "cifar100": _published(_TORONTO, ("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85")),
    "svhn": _published(
        _STANFORD,
        ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ("extra_32x32.mat", "a93ce644f1a588dc4d68dda5feec44a7"),
    ),
    "fashion_mnist": _published(
        _ZALANDO,
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}


class DownloadError(DataError):
    """A file could not be had from any address; the message is one line, with how to get it by hand."""


class _Failed(Exception):
    """An attempt failed, and whether it is worth another."""

    def __init__(self, problem, again):
        super().__init__(problem)
        self.again = again


def download(source, folder, say=lambda line: None):
    """Downloads a `Published` into a folder, which is made, and returns the file's path; a file that is there is kept.

    A progress bar goes to stderr if that is a terminal; `say` is called with lines on what goes on. Another process
    that downloads into the folder is waited for. A part with a wrong sum is deleted; any other stays for the next
    attempt. Raises DownloadError.
    """
    target = pathlib.Path(folder) / source.file
    by_hand = f"to get it by hand, download {source.urls[0]} and put it into {target.parent}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _wait_for(target.parent, say)
        try:
            problems = [] if target.exists() else _download(source, target, say)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {error.strerror or error}; {by_hand}") from error
    if problems:
        raise DownloadError(f"cannot download {source.file} ({'; '.join(problems)}); {by_hand}")
    return target


def _wait_for(folder, say):
    """Returns a descriptor whose lock no other process has; where there are no locks the sum will tell."""
    descriptor, waiting = os.open(folder, os.O_RDONLY), False
    while files.try_lock(descriptor) is False:
        if not waiting:
            say(f"another process is downloading to {folder}; waiting for it")
        waiting = True
        time.sleep(0.5)
    return descriptor


def _download(source, target, say):
    """Returns the problems of all addresses; none of them if `target` is there now."""
    part = target.with_name(target.name + ".part")
    problems = []
    for url in source.urls:
        failures, most = 0, _size(part)
        while failures < _ATTEMPTS:
            before = _size(part)
            say(f"downloading {url} to {target}" + (f", from byte {before} on" if before else ""))
            try:
                _fetch(url, part)
                _check(part, source.md5, resumed=before > 0)
                os.replace(part, target)
                return []
            except _Failed as error:
                problem = error
            if not problem.again:
                break
            failures = 0 if _size(part) >= most + _PROGRESS else failures + 1
            most = max(most, _size(part))  # a server may begin anew each time, and break off at any byte
            time.sleep(_PAUSE)
        problems.append(f"{url}: {problem}")
    return problems


def _fetch(url, part):
    """Appends to `part` what it lacks, or begins anew if the server ignores from which byte on that is."""
    start = _size(part)
    headers = {"User-Agent": "orthogonal-training"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing lies behind what we have: it is whole, or of another file; the sum will tell
        raise _Failed(f"HTTP status {error.code}", again=error.code >= 500) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Failed(_reason(error), again=start > 0) from error
    with response, open(part, "ab", buffering=0) as file:  # unbuffered: what has come is kept, however this ends
        if not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            start = 0
        file.truncate(start)
        length = response.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdigit() else None
        name = part.name.removesuffix(".part")
        with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None) as bar:
            while block := _next_block(response):
                bar.update(len(block))
                while block:  # an unbuffered file may take less than it is given
                    block = block[file.write(block) :]
                if file.tell() > _MOST_BYTES:
                    raise _Failed(f"more than {_MOST_BYTES} bytes", again=False)
        os.fsync(file.fileno())
        if total is not None and file.tell() < total:
            raise _Failed(f"ended after {file.tell()} of {total} bytes", again=True)


def _next_block(response):
    try:
        return response.read1(_BLOCK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Failed(_reason(error), again=True) from error


def _check(part, md5, resumed):
    """Deletes the part and raises unless it has the sum `md5`; one that grew in several attempts is worth another."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(part, "rb") as file:
        page = ", an HTML page" if file.read(100).lstrip().startswith(b"<") else ""
        file.seek(0)
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != md5:
        part.unlink()
        raise _Failed(f"MD5 is {digest.hexdigest()}{page}, expected {md5}", again=resumed)


def _size(part):
    return part.stat().st_size if part.exists() else 0


def _reason(error):
    return one_line(getattr(error, "reason", None) or error)[:120]
