"""A server on this machine that serves a folder over HTTP and the S3 protocol, with faults on request.

    with Loopback(folder) as server:
        server.faults["shards/x-000000.tar"] = ["500", "drop", "truncate"]      one per request, then none
        open_dataset(f"{server.http}/dataset")
        open_dataset("s3://bucket/dataset", RemoteOptions(storage_options=server.s3_options))

S3 is path-style: `/BUCKET/KEY`, where the bucket is called `bucket`. Signatures are not checked. Source:
the Amazon S3 API reference, GetObject, HeadObject and ListObjectsV2.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

STALL_S = 3.0
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"


class Loopback:
    """Serves a folder until its `with` is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, list[str]] = {}
        """By the end of the path: what goes wrong with the next requests."""
        self.every: str = ""
        """What goes wrong with all requests for tars, if anything."""
        self.asked: Counter[str] = Counter()
        """How often each path was asked for, from its first byte on."""
        self._lock = threading.Lock()
        loopback = self

        class Handler(_Handler):
            server_of = loopback

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def http(self) -> str:
        """The folder's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def s3_options(self) -> dict[str, Any]:
        """What fsspec needs to find `s3://bucket/...` here."""
        return {
            "endpoint_url": self.http,
            "key": "any",
            "secret": "any",
            "client_kwargs": {"region_name": "x"},
        }

    def fault_for(self, path: str) -> str:
        """Return what is to go wrong with this request."""
        with self._lock:
            for ending, faults in self.faults.items():
                if path.endswith(ending) and faults:
                    return faults.pop(0)
        return self.every if path.endswith(".tar") else ""

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_of: Loopback
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:  # http.server's names
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path).lstrip("/")
        is_s3 = "Authorization" in self.headers
        path = path.removeprefix("bucket").lstrip("/") if is_s3 else path
        if is_s3 and "list-type" in parse_qs(address.query):
            self._send(200, self._listing(parse_qs(address.query)).encode(), with_body)
            return
        file = self.server_of.folder / path
        if not file.is_file():
            self._send(404, _ERROR.format(code="NoSuchKey").encode(), with_body)
            return
        fault = self.server_of.fault_for(path) if with_body else ""
        if fault in ("403", "500", "503"):
            self._send(int(fault), _ERROR.format(code="InternalError").encode(), with_body)
        elif fault == "drop":
            self.close_connection = True
        else:
            self._send_file(path, file.read_bytes(), fault, with_body)

    def _send_file(self, path: str, data: bytes, fault: str, with_body: bool) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, len(data)
        if asked and fault != "no-range":
            start = int(asked[1])
            stop = min(int(asked[2]) + 1 if asked[2] else stop, stop)
        if with_body and start == 0:
            self.server_of.asked[path] += 1
        if fault == "flip":
            middle = (start + stop) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        part = data[start:stop]
        self.send_response(206 if asked and fault != "no-range" else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
        self.end_headers()
        if with_body:
            self._send_body(part, fault)

    def _send_body(self, part: bytes, fault: str) -> None:
        if fault == "truncate":
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
        elif fault == "stall":
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            time.sleep(STALL_S)
            self.close_connection = True
        elif fault == "slow":
            for begin in range(0, len(part), 4096):
                self.wfile.write(part[begin : begin + 4096])
                self.wfile.flush()
                time.sleep(0.01)
        else:
            self.wfile.write(part)

    def _listing(self, query: dict[str, list[str]]) -> str:
        prefix = query.get("prefix", [""])[0]
        found = sorted(path for path in self.server_of.folder.rglob("*") if path.is_file())
        names = {path.relative_to(self.server_of.folder).as_posix(): path.stat().st_size for path in found}
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{size}</Size><ETag>0</ETag>"
            "<LastModified>1994-11-06T08:49:37.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for name, size in names.items()
            if name.startswith(prefix)
        )
        head = f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return f"<?xml version='1.0'?><ListBucketResult>{head}{entries}</ListBucketResult>"

    def _send(self, status: int, body: bytes, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has there
        """Say nothing."""
