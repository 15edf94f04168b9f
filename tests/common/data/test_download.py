"""Downloads against servers on the loopback interface."""

import contextlib
import hashlib
import http.server
import pathlib
import signal
import ssl
import subprocess
import sys
import threading
import time

import pytest

from common.data import download as module
from common.data import network
from common.data.download import DownloadError, download

ROOT = pathlib.Path(__file__).parents[3]
CONTENTS = bytes(range(256)) * 2000
MD5 = hashlib.md5(CONTENTS).hexdigest()
CERTIFICATE = pathlib.Path(__file__).with_name("loopback.pem")  # for 127.0.0.1, signed by nobody; used here only


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENTS, in the ways that its server's `manner` says, one a request; the last one goes on."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        manners = self.server.manners
        manner = manners.pop(0) if len(manners) > 1 else manners[0]
        self.server.ranges.append(self.headers.get("Range"))
        start = int(self.headers["Range"][6:-1]) if self.headers.get("Range") and manner != "no ranges" else 0
        if isinstance(manner, int):
            return self.send_error(manner)
        if manner == "circle":
            manner = self.server.url
        if manner == "mute":
            return self.server.end.wait(20)
        if "://" in manner:
            self.send_response(302)
            self.send_header("Location", manner)
            return self.end_headers()
        if start >= len(CONTENTS):
            return self.send_error(416)
        if manner == "chunks":
            return self._chunks(CONTENTS[start:])
        start -= 1000 if manner == "other range" else 0
        body = (b"x" * len(CONTENTS) if manner == "wrong" else CONTENTS)[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENTS) - 1}/{len(CONTENTS)}")
        if manner != "no length":
            claimed = {"claims more": len(body) + 1000, "claims less": len(body) - 1000, "claims nonsense": "many"}
            self.send_header("Content-Length", str(claimed.get(manner, len(body))))
        self.end_headers()
        if manner == "cut":
            body = body[: len(body) // 2]
        if manner == "slow":
            self._drip(body)
        elif manner == "silent":
            self.server.end.wait(20)
        else:
            self.wfile.write(body)

    def _chunks(self, body):
        """A chunk, and then the end without the last one."""
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"10000\r\n" + body[: 1 << 16] + b"\r\n")
        self.close_connection = True

    def _drip(self, body):
        with contextlib.suppress(OSError):
            for position in range(0, len(body), 20000):
                self.wfile.write(body[position : position + 20000])
                if self.server.end.wait(0.05):
                    return


@pytest.fixture
def serve(monkeypatch):
    """Starts a server with the given manners and returns it; its `url` is an address of the file."""
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(*manners, secure=False):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.manners, server.ranges, server.end = list(manners), [], threading.Event()
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = f"http{'s' if secure else ''}://127.0.0.1:{server.server_port}/file.bin"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.end.set()
        server.shutdown()
        server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(urls, target, md5=MD5):
    with pytest.raises(DownloadError) as raised:
        download(urls, target, md5)
    message = str(raised.value)
    assert "\n" not in message and f"download {urls[0]} and put it into {target.parent}" in message
    return message


@pytest.mark.parametrize("manner", ["whole", "no length"])
def test_a_file_arrives_in_a_new_folder(tmp_path, serve, manner, capfd):
    lines = []
    target = tmp_path / "new" / "folder" / "file.bin"
    assert download([serve(manner).url], target, MD5, lines.append) == target
    assert target.read_bytes() == CONTENTS and names(target.parent) == ["file.bin"]
    assert len(lines) == 1 and str(target) in lines[0]
    assert capfd.readouterr().err == ""  # no progress bar: this is not a terminal


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    download(["http://127.0.0.1:1/file.bin"], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == b"mine"


def test_a_wrong_sum_is_an_error_with_both_and_nothing_left(tmp_path, serve):
    message = refused([serve("wrong").url], tmp_path / "file.bin")
    assert MD5 in message and hashlib.md5(b"x" * len(CONTENTS)).hexdigest() in message
    assert names(tmp_path) == []


def test_a_wrong_sum_at_the_first_address_sends_us_to_the_second(tmp_path, serve):
    download([serve("wrong").url, serve("whole").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_cut_connection_is_resumed(tmp_path, serve):
    server = serve("cut", "cut", "whole")
    download([server.url], tmp_path / "file.bin", MD5)
    half = len(CONTENTS) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_part_of_an_earlier_run_is_resumed(tmp_path, serve):
    (tmp_path / "file.bin.part").write_bytes(CONTENTS[:1000])
    server = serve("whole")
    download([server.url], tmp_path / "file.bin", MD5)
    assert server.ranges == ["bytes=1000-"] and names(tmp_path) == ["file.bin"]


def test_a_complete_part_needs_only_its_name(tmp_path, serve):
    (tmp_path / "file.bin.part").write_bytes(CONTENTS)
    download([serve("whole").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


@pytest.mark.parametrize("part", [b"other contents", b"z" * (len(CONTENTS) + 5)])
def test_a_part_of_something_else_is_replaced(tmp_path, serve, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    download([serve("whole").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_server_without_ranges_starts_over(tmp_path, serve):
    (tmp_path / "file.bin.part").write_bytes(CONTENTS[:1000])
    download([serve("no ranges").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_the_second_address_helps_when_the_first_has_no_file(tmp_path, serve):
    first, second = serve(404), serve("whole")
    download([first.url, second.url], tmp_path / "file.bin", MD5)
    assert len(first.ranges) == 1 and (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_the_second_address_goes_on_where_the_first_was_slow(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "_SLOW_AFTER", 0.2)
    monkeypatch.setattr(module, "_SLOW_RATE", 1e9)
    first, second = serve("slow"), serve("whole")
    download([first.url, second.url], tmp_path / "file.bin", MD5)
    assert second.ranges[0] is not None and (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_two_slow_addresses_still_bring_the_file(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "_SLOW_AFTER", 0.2)
    monkeypatch.setattr(module, "_SLOW_RATE", 1e9)
    first = serve("slow", "whole")
    download([first.url, serve("slow").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_server_that_falls_silent_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)
    server = serve("silent")
    assert "timed out" in refused([server.url], tmp_path / "file.bin")
    assert len(server.ranges) == 3


def test_errors_of_the_server_are_tried_again(tmp_path, serve):
    download([serve(503, 500, "whole").url], tmp_path / "file.bin", MD5)
    server = serve(503)
    assert "HTTP status 503" in refused([server.url], tmp_path / "other.bin")
    assert len(server.ranges) == 3


def test_redirects_are_followed_unless_they_are_unsafe(tmp_path, serve):
    download([serve(serve("whole").url).url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS
    redirects = network._SafeRedirects()
    for before, after in (("https", "http"), ("https", "ftp"), ("http", "ftp")):
        request = network.urllib.request.Request(f"{before}://host/a")
        with pytest.raises(network.RedirectError, match=f"redirect from {before} to {after} refused"):
            redirects.redirect_request(request, None, 302, "Found", {}, f"{after}://host/b")
    request = network.urllib.request.Request("http://host/a")
    assert redirects.redirect_request(request, None, 302, "Found", {}, "https://host/b").full_url == "https://host/b"


def test_a_refused_redirect_is_an_error_of_the_address(tmp_path, serve):
    server = serve("ftp://127.0.0.1/file.bin")
    assert "redirect from http to ftp refused" in refused([server.url], tmp_path / "file.bin")
    assert len(server.ranges) == 1


def test_a_redirect_from_a_real_https_server_to_plain_http_is_refused(tmp_path, serve, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    plain = serve("whole")
    secure = serve(plain.url, secure=True)
    assert "redirect from https to http refused" in refused([secure.url], tmp_path / "file.bin")
    assert (len(secure.ranges), plain.ranges, names(tmp_path)) == (1, [], [])
    download([serve("whole", secure=True).url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, serve):
    server = serve("whole", secure=True)
    assert "certificate verify failed" in refused([server.url], tmp_path / "file.bin").lower()
    assert server.ranges == []


def test_redirects_in_a_circle_are_given_up_and_the_second_address_tried(tmp_path, serve):
    server = serve("circle")
    assert "redirects without an end" in refused([server.url], tmp_path / "file.bin")
    assert len(server.ranges) <= 11
    download([serve("circle").url, serve("whole").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_server_that_never_answers_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)
    server = serve("mute")
    assert "timed out" in refused([server.url], tmp_path / "file.bin")
    assert len(server.ranges) == 3


def test_a_server_that_drips_for_ever_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "_STALLED_AFTER", 0.1)
    monkeypatch.setattr(module, "_STALLED_RATE", 1e9)
    server = serve("slow")
    assert "bytes a second" in refused([server.url], tmp_path / "file.bin")
    assert len(server.ranges) == 3 and names(tmp_path) == ["file.bin.part"]


@pytest.mark.parametrize("manner", ["claims more", "chunks"])
def test_an_answer_that_ends_too_early_is_resumed(tmp_path, serve, manner):
    server = serve(manner, "whole")
    download([server.url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS and len(server.ranges) <= 2


def test_a_length_that_is_too_small_shows_in_the_sum(tmp_path, serve):
    assert f"expected {MD5}" in refused([serve("claims less").url], tmp_path / "file.bin")
    assert names(tmp_path) == []


def test_a_length_that_is_no_number_does_not_matter(tmp_path, serve):
    download([serve("claims nonsense").url], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_another_range_than_was_asked_for_is_no_part_of_the_file(tmp_path, serve):
    (tmp_path / "file.bin.part").write_bytes(CONTENTS[:5000])
    server = serve("other range", "whole")
    download([server.url], tmp_path / "file.bin", MD5)
    assert server.ranges == ["bytes=5000-"] * 2 and (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_no_network_is_found_out_quickly(tmp_path, monkeypatch):
    def never(*arguments, **options):
        time.sleep(60)
        raise TimeoutError

    monkeypatch.setattr(network, "_PROBE_SECONDS", 0.3)
    monkeypatch.setattr(network.socket, "create_connection", never)
    message = refused(["http://a.invalid/file.bin", "http://b.invalid/file.bin"], tmp_path / "file.bin")
    assert message.count("no answer") == 2


def test_a_closed_port_is_named(tmp_path):
    assert "no connection to 127.0.0.1" in refused(["http://127.0.0.1:1/file.bin"], tmp_path / "file.bin")


def test_a_proxy_is_asked_in_place_of_the_host(monkeypatch, serve):
    server = serve("whole")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert network.reachable(["http://host.invalid/file.bin"]) == (["http://host.invalid/file.bin"], {})


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "cannot write" in refused(["http://127.0.0.1:1/x"], tmp_path / "file" / "x")


def test_a_full_disk_is_an_error_that_keeps_the_part(tmp_path, serve, monkeypatch):
    def full(response, write, bar, hurry):
        write(response.read1(100))
        raise module._DiskError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    assert "No space left" in refused([serve("whole").url], tmp_path / "file.bin")
    assert names(tmp_path) == ["file.bin.part"]


DOWNLOADER = """
import sys
from common.data.download import download
from common.training.signals import Interrupted, Interruption

try:
    with Interruption():  # as common/cli/program.py has it round everything
        download([sys.argv[1]], *sys.argv[2:])
except Interrupted as interrupt:
    print("interrupted by", interrupt)
    sys.exit(128 + interrupt.signal)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_the_part_for_the_next_run(tmp_path, serve, number):
    server = serve("slow", "whole")
    command = [sys.executable, "-c", DOWNLOADER, server.url, str(tmp_path / "file.bin"), MD5]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    part = tmp_path / "file.bin.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (out.decode().strip(), err, process.returncode) == (f"interrupted by {number.name}", b"", 128 + number)
    kept = part.read_bytes()
    assert 0 < len(kept) < len(CONTENTS) and CONTENTS.startswith(kept) and names(tmp_path) == ["file.bin.part"]
    download([server.url], tmp_path / "file.bin", MD5)
    assert server.ranges == [None, f"bytes={len(kept)}-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_second_process_waits_and_finds_the_file(tmp_path, serve):
    server = serve("slow")
    lines = []

    def run():
        download([server.url], tmp_path / "file.bin", MD5, lines.append)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.ranges) == 1 and sum("another process" in line for line in lines) == 1
