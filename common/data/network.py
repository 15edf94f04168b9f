"""What downloads need of the network and of other processes: who answers, which redirects to follow, who goes first."""

import contextlib
import os
import socket
import threading
import time
import urllib.parse
import urllib.request

from common import files

_PROBE_SECONDS = 6.0


class RedirectError(Exception):
    """An address sends us to a place that we do not follow it to."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything less."""

    def redirect_request(self, request, file, code, message, headers, url):
        before, after = (urllib.parse.urlsplit(place).scheme for place in (request.full_url, url))
        if after != "https" and (before == "https" or after != "http"):
            raise RedirectError(f"redirect from {before} to {after} refused")
        return super().redirect_request(request, file, code, message, headers, url)


def opener():
    """Returns a urllib opener (with the proxies of the environment) that follows safe redirects only."""
    return urllib.request.build_opener(_SafeRedirects)


def reachable(urls):
    """Returns those of `urls` whose hosts accept a connection, and {url: problem} for the others.

    All are asked at once, each in a thread of its own: without a network, looking up a name may block for a minute,
    and nothing but leaving it behind ends that. This takes at most 6 seconds.
    """
    answers = {}
    threads = [threading.Thread(target=_probe, args=(url, answers), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _PROBE_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    problems = {url: answers.get(url, "no answer") for url in urls}
    return [url for url in urls if problems[url] is None], {url: text for url, text in problems.items() if text}


def _probe(url, answers):
    """Writes None into answers[url] if its host, or the proxy in front of it, accepts a connection, else why not."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=_PROBE_SECONDS - 1).close()
        answers[url] = None
    except (OSError, ValueError) as error:
        answers[url] = f"no connection to {parts.hostname} ({getattr(error, 'strerror', None) or error})"


@contextlib.contextmanager
def alone(folder, say):
    """Within it, no other process is within `alone(folder)`; waits for that. The lock ends with its process."""
    descriptor = os.open(folder, os.O_RDONLY) if os.name == "posix" else None  # Windows opens no folders
    try:
        if descriptor is not None:
            _wait_for(descriptor, folder, say)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _wait_for(descriptor, folder, say):
    """Returns with the lock; without one where there are none: the checksum tells a file that two have written."""
    waiting = False
    while files.try_lock(descriptor) is False:
        if not waiting:
            say(f"another process is downloading to {folder}; waiting for it")
        waiting = True
        time.sleep(0.5)
