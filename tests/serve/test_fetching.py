"""Addresses that clients name: fetched when public, refused when they lead inside."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.fetching import fetch, is_public, public_address
from polarlight.serve.inputs import from_data_uri
from polarlight.serve.objects import ContentTooLarge
from polarlight.serve.options import Options

INSIDE = Options(allow_private_addresses=True, fetch_bytes=1000, fetch_s=0.5)
PATIENT = replace(INSIDE, fetch_s=10)


class Files(BaseHTTPRequestHandler):
    """A web server that redirects, lies about sizes, and sleeps."""

    def do_GET(self) -> None:
        import time

        if self.path == "/slow":
            time.sleep(1)
        redirects = {
            "/moved": "/file",
            "/loop": "/loop",
            "/inside": "http://127.0.0.2:9/x",
            "/scheme": "file:///etc/passwd",
        }
        if self.path in redirects:
            self.send_response(302)
            self.send_header("location", redirects[self.path])
            self.end_headers()
            return
        body = {"/file": b"the file", "/large": bytes(5000)}.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.5.5", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1",
     "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::", "255.255.255.255"],
)  # fmt: skip
def test_addresses_inside_a_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "8.8.8.8"])
def test_addresses_on_the_open_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/x", "http://localhost/x", "http://2130706433/x", "http://0x7f.1/x", "http://[::1]/x",
     "http://user:word@8.8.8.8/x", "ftp://8.8.8.8/x", "http:///x", "http://8.8.8.8:99999/x"],
)  # fmt: skip
def test_an_address_that_leads_inside_or_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(UserError):
        asyncio.run(fetch(url, Options()))


def test_a_private_address_is_fetched_only_where_the_operator_allows_it() -> None:
    with web_server() as url:
        assert asyncio.run(fetch(f"{url}/file", INSIDE)) == b"the file"
        assert asyncio.run(fetch(f"{url}/moved", INSIDE)) == b"the file"
        with pytest.raises(UserError, match="not a public one"):
            asyncio.run(fetch(f"{url}/file", Options()))


@pytest.mark.parametrize(
    ("path", "words"),
    [("/slow", "within 0.5 seconds"), ("/loop", "too often"), ("/none", "answered 404"), ("/scheme", "not http"),
     ("/inside", "cannot be reached|within")],
)  # fmt: skip
def test_slow_looping_and_missing_files_are_refused(path: str, words: str) -> None:
    with web_server() as url, pytest.raises(UserError, match=words):
        asyncio.run(fetch(url + path, INSIDE if path in ("/slow", "/inside") else PATIENT))


def test_a_file_larger_than_the_limit_is_refused_while_it_comes() -> None:
    with web_server() as url, pytest.raises(ContentTooLarge):
        asyncio.run(fetch(f"{url}/large", INSIDE))


def test_every_address_of_a_name_must_be_public() -> None:
    with pytest.raises(UserError, match="not a public one"):
        asyncio.run(public_address("localhost", 80, allow_private=False))


def test_a_data_uri_is_decoded_and_a_wrong_or_large_one_refused() -> None:
    assert from_data_uri("data:image/png;base64,aGk=", 10) == b"hi"
    for wrong in ("data:image/png,hi", "data:image/png;base64,a*b=", "data:;base64"):
        with pytest.raises(UserError):
            from_data_uri(wrong, 10)
    with pytest.raises(ContentTooLarge):
        from_data_uri("data:image/png;base64," + "aGk=" * 100, 10)
