"""Downloads from servers on the loopback interface."""

import hashlib
import http.server
import resource
import threading

import pytest

from common.data import download as module
from common.data.download import PUBLISHED, DownloadError, Published, download

CONTENTS = bytes(range(256)) * 400
MD5 = hashlib.md5(CONTENTS).hexdigest()
HALF = len(CONTENTS) // 2


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENTS in the ways that its server's `manners` say, one a request; the last one goes on."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        manners = self.server.manners
        manner = manners.pop(0) if len(manners) > 1 else manners[0]
        self.server.ranges.append(self.headers.get("Range"))
        start = int(self.headers["Range"][6:-1]) if self.headers.get("Range") and manner != "no ranges" else 0
        if isinstance(manner, int):
            return self.send_error(manner)
        if manner == "mute":
            return self.server.end.wait(20)
        if "://" in manner:
            self.send_response(302)
            self.send_header("Location", manner)
            return self.end_headers()
        if start >= len(CONTENTS):
            return self.send_error(416)
        start -= 1000 if manner == "other range" else 0
        pages = {"wrong": b"x" * len(CONTENTS), "page": b"\n<!DOCTYPE html><html>please log in</html>"}
        body = pages.get(manner, CONTENTS)[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENTS) - 1}/{len(CONTENTS)}")
        if manner != "no length":
            claimed = {"claims less": len(body) - 1000, "claims nonsense": "many"}
            self.send_header("Content-Length", str(claimed.get(manner, len(body))))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if manner == "cut" else body[:20000] if manner == "silent" else body)
        if manner == "silent":
            self.wfile.flush()
            self.server.end.wait(20)


@pytest.fixture
def serve(monkeypatch):
    """Starts a server with the given manners and returns it; its `url` is an address of the file."""
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(*manners):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.manners, server.ranges, server.end = list(manners), [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.end.set()
        server.shutdown()
        server.server_close()


def get(folder, *servers, say=lambda line: None):
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    return download(Published("file.bin", urls, MD5), folder, say)


def arrives(folder, *servers):
    assert get(folder, *servers) == folder / "file.bin"
    assert (folder / "file.bin").read_bytes() == CONTENTS and names(folder) == ["file.bin"]


def refused(folder, *servers, left=()):
    with pytest.raises(DownloadError) as raised:
        get(folder, *servers)
    message = str(raised.value)
    assert "\n" not in message and "to get it by hand, download http" in message and f"into {folder}" in message
    assert names(folder) == list(left)
    return message


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("manner", ["whole", "no length", "claims nonsense"])
def test_a_file_arrives_in_a_new_folder(tmp_path, serve, manner, capfd):
    lines, folder = [], tmp_path / "new" / "folder"
    get(folder, serve(manner), say=lines.append)
    assert (folder / "file.bin").read_bytes() == CONTENTS and names(folder) == ["file.bin"]
    assert len(lines) == 1 and str(folder / "file.bin") in lines[0]
    assert capfd.readouterr().err == ""  # no progress bar: this is not a terminal


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    get(tmp_path, "http://127.0.0.1:1/file.bin")
    assert (tmp_path / "file.bin").read_bytes() == b"mine"


def test_a_wrong_sum_is_an_error_with_both_and_nothing_is_left(tmp_path, serve):
    server = serve("wrong")
    message = refused(tmp_path, server)
    assert MD5 in message and hashlib.md5(b"x" * len(CONTENTS)).hexdigest() in message
    assert len(server.ranges) == 1
    assert f"expected {MD5}" in refused(tmp_path, serve("claims less"))


def test_a_page_in_place_of_the_file_is_named(tmp_path, serve):
    assert f", an HTML page, expected {MD5}" in refused(tmp_path, serve("page"))
    arrives(tmp_path, serve("page"), serve("whole"))


def test_a_cut_connection_is_resumed(tmp_path, serve):
    server = serve("cut", "cut", "whole")
    arrives(tmp_path, server)
    assert server.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + HALF // 2}-"]


@pytest.mark.parametrize("part", [CONTENTS, b"other contents", b"z" * (len(CONTENTS) + 5)])
@pytest.mark.parametrize("manner", ["whole", "no ranges"])
def test_a_part_that_is_complete_or_of_something_else_does_not_matter(tmp_path, serve, part, manner):
    (tmp_path / "file.bin.part").write_bytes(part)
    arrives(tmp_path, serve(manner))


def test_another_range_than_was_asked_for_is_no_part_of_the_file(tmp_path, serve):
    (tmp_path / "file.bin.part").write_bytes(CONTENTS[:5000])
    server = serve("other range", "whole")
    arrives(tmp_path, server)
    assert server.ranges == ["bytes=5000-", None]


def test_the_second_address_goes_on_where_the_first_broke_off(tmp_path, serve):
    first, second = serve("cut", 404), serve("whole")
    arrives(tmp_path, first, second)
    assert second.ranges == [f"bytes={HALF}-"]


def test_a_server_that_ignores_the_range_and_breaks_off_early_and_late_by_turns_is_given_up(tmp_path, serve):
    class Cut(Handler):
        def do_GET(self):
            self.server.ranges.append(None)
            if len(self.server.ranges) > 9:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENTS)))
            self.end_headers()
            self.wfile.write(CONTENTS[: HALF if len(self.server.ranges) % 2 else HALF // 2])

    server = serve("cut")
    server.RequestHandlerClass = Cut
    message = refused(tmp_path, server, left=["file.bin.part"])
    assert f"ended after {HALF // 2} of {len(CONTENTS)} bytes" in message and len(server.ranges) == 4


def test_errors_of_the_server_are_tried_again_and_missing_files_are_not(tmp_path, serve):
    missing, busy = serve(404), serve(503)
    message = refused(tmp_path, missing, busy)
    assert "HTTP status 404" in message and "HTTP status 503" in message
    assert (len(missing.ranges), len(busy.ranges)) == (1, 3)
    arrives(tmp_path, missing, serve(503, 500, "whole"))


def test_silence_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)
    mute, silent = serve("mute"), serve("silent", "mute")
    message = refused(tmp_path, mute, silent, left=["file.bin.part"])
    assert message.count("timed out") == 2
    assert mute.ranges == [None] and silent.ranges == [None] + ["bytes=20000-"] * 3


def test_redirects_are_followed_within_http(tmp_path, serve):
    assert "HTTP status 302" in refused(tmp_path, serve("file:///etc/passwd"))
    arrives(tmp_path, serve(serve("whole").url))


def test_a_closed_port_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 60)
    assert "Connection refused" in refused(tmp_path, "http://127.0.0.1:1/file.bin", "http://127.0.0.1:2/file.bin")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot write .*file.bin: Not a directory"):
        get(tmp_path / "file" / "folder", "http://127.0.0.1:1/file.bin")


def test_a_disk_that_takes_no_more_is_an_error_that_keeps_the_part(tmp_path, serve):
    server, limits = serve("whole"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        message = refused(tmp_path, server, left=["file.bin.part"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write" in message and "File too large" in message
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENTS[:50_000] and len(server.ranges) == 1
    arrives(tmp_path, server)


def test_an_interrupt_leaves_the_part_for_the_next_run(tmp_path, serve, monkeypatch):
    blocks = [CONTENTS[:30_000]]

    def interrupted(response):
        if blocks:
            return blocks.pop()
        raise KeyboardInterrupt

    server = serve("whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_next_block", interrupted)
        get(tmp_path, server)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENTS[:30_000]
    arrives(tmp_path, server)
    assert server.ranges == [None, "bytes=30000-"]


def test_a_second_process_waits_and_finds_the_file(tmp_path, serve, monkeypatch):
    """Two threads are as two processes to these locks, which belong to open descriptors."""
    server, waits = serve("whole"), threading.Event()
    fetch = module._fetch

    def slow(url, part):
        assert waits.wait(20)
        fetch(url, part)

    monkeypatch.setattr(module, "_fetch", slow)

    def say(line):
        if "another process" in line:
            waits.set()

    threads = [threading.Thread(target=get, args=(tmp_path, server), kwargs={"say": say}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.ranges == [None] and names(tmp_path) == ["file.bin"]


def test_every_published_file_has_an_address_and_a_sum():
    for source in sum(PUBLISHED.values(), ()):
        assert len(source.md5) == 32 and int(source.md5, 16)
        assert all(url.startswith("http") and url.endswith("/" + source.file) for url in source.urls)
    for name in ("cifar10", "cifar100"):
        assert len(PUBLISHED[name][0].urls) == 2 and all(url.startswith("https:") for url in PUBLISHED[name][0].urls)
