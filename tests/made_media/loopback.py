"""A server on this machine that serves a folder over HTTP and the S3 protocol, with faults on request.

Over S3 it is written as well: objects are files, whole or not there. Faults of a GET are those of its path;
those of other requests are found under the method and the path, such as "PUT shards/x-000000.tar".

    with Loopback(folder) as server:
        server.faults["shards/x-000000.tar"] = ["500", "drop", "truncate"]      one per request, then none
        open_dataset(f"{server.http}/dataset")
        open_dataset("s3://bucket/dataset", RemoteOptions(storage_options=server.s3_options))

S3 is path-style: `/BUCKET/KEY`, where the bucket is called `bucket`. Signatures are not checked. Source:
the Amazon S3 API reference: GetObject, HeadObject, ListObjectsV2, PutObject, DeleteObject, multipart uploads.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

STALL_S = 3.0
_CODES = {"403": "AccessDenied", "500": "InternalError", "503": "SlowDown"}
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
        self.bytes_given: Counter[str] = Counter()
        """How many bytes of each path were asked for."""
        self.done: Counter[str] = Counter()
        """How often something was written: by the names of the S3 operations."""
        self.hidden: set[str] = set()
        """What listings leave out: they are older than these objects."""
        self.page = 1000
        """Most objects of a listing's page."""
        self.uploads: dict[str, dict[int, bytes]] = {}
        """Multipart uploads under way."""
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

    def forget(self) -> None:
        """Be as it was when it was made."""
        self.faults, self.every, self.hidden, self.page, self.uploads = {}, "", set(), 1000, {}
        for counts in (self.asked, self.bytes_given, self.done):
            counts.clear()

    def fault_for(self, path: str) -> str:
        """Return what is to go wrong with this request."""
        with self._lock:
            for ending, faults in self.faults.items():
                if path.endswith(ending) and faults:
                    self.done[f"fault {faults[0]}"] += 1
                    return faults.pop(0)
        return self.every if path.endswith(".tar") and " " not in path else ""

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

    def do_PUT(self) -> None:
        key, query = self._asked_for()
        body = self._body()
        if self._goes_wrong(f"PUT {key}"):
            return
        if "partNumber" in query:
            self.server_of.uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._send(200, b"", headers={"ETag": f'"{md5(body).hexdigest()}"'})
        elif self.headers.get("If-None-Match") == "*" and (self.server_of.folder / key).exists():
            self._send(412, _ERROR.format(code="PreconditionFailed").encode())
        else:
            self.server_of.done["PutObject"] += 1
            self._store(key, body)
            self._send(200, b"", headers={"ETag": f'"{md5(body).hexdigest()}"'})

    def do_POST(self) -> None:
        key, query = self._asked_for()
        self._body()
        if self._goes_wrong(f"POST {key}"):
            return
        uploads = self.server_of.uploads
        if "uploads" in query:
            number = f"upload-{len(self.server_of.done)}-{self.server_of.done['CreateMultipartUpload']}"
            self.server_of.done["CreateMultipartUpload"] += 1
            uploads[number] = {}
            result = "InitiateMultipartUploadResult"
            xml = f"<{result}><UploadId>{number}</UploadId></{result}>"
        else:
            parts = uploads.pop(query["uploadId"])
            self._store(key, b"".join(data for _, data in sorted(parts.items())))
            self.server_of.done["CompleteMultipartUpload"] += 1
            xml = "<CompleteMultipartUploadResult><ETag>0</ETag></CompleteMultipartUploadResult>"
        self._send(200, xml.encode())

    def do_DELETE(self) -> None:
        key, query = self._asked_for()
        if self._goes_wrong(f"DELETE {key}"):
            return
        if "uploadId" in query:
            self.server_of.uploads.pop(query["uploadId"], None)
            self.server_of.done["AbortMultipartUpload"] += 1
        else:
            self.server_of.done["DeleteObject"] += 1
            (self.server_of.folder / key).unlink(missing_ok=True)
        self._send(204, b"", with_body=False)

    def _asked_for(self) -> tuple[str, dict[str, str]]:
        """Return the object's key and the query."""
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        key = unquote(address.path).lstrip("/").removeprefix("bucket").lstrip("/")
        return key, {name: values[0] for name, values in query.items()}

    def _body(self) -> bytes:
        """Return what was sent; in chunks, each with its length before it, where its length was not known."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b"".join(self._chunks())
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return data
        plain = b""
        while data:
            head, _, data = data.partition(b"\r\n")
            length = int(head.partition(b";")[0], 16)
            plain, data = plain + data[:length], data[length + 2 :]
            if not length:  # what follows are checksums
                break
        return plain

    def _chunks(self) -> Iterator[bytes]:
        while length := int(self.rfile.readline(), 16):
            yield self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()

    def _store(self, key: str, data: bytes) -> None:
        file = self.server_of.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{threading.get_ident()}")
        temporary.write_bytes(data)
        temporary.replace(file)

    def _goes_wrong(self, asked: str) -> bool:
        """Answer with a fault where one is due."""
        fault = self.server_of.fault_for(asked)
        if fault in ("403", "500", "503"):
            self._send(int(fault), _ERROR.format(code=_CODES[fault]).encode())
        elif fault:
            self.close_connection = True
        return bool(fault)

    def _answer(self, with_body: bool) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path).lstrip("/")
        is_s3 = "Authorization" in self.headers
        path = path.removeprefix("bucket").lstrip("/") if is_s3 else path
        if is_s3 and "list-type" in parse_qs(address.query):
            query = parse_qs(address.query)
            if not self._goes_wrong(f"LIST {query.get('prefix', [''])[0]}"):
                self._send(200, self._listing(query).encode(), with_body)
            return
        file = self.server_of.folder / path
        if not file.is_file():
            self._send(404, _ERROR.format(code="NoSuchKey").encode(), with_body)
            return
        fault = self.server_of.fault_for(path) if with_body else ""
        if fault in ("403", "500", "503"):
            self._send(int(fault), _ERROR.format(code=_CODES[fault]).encode(), with_body)
        elif fault == "drop":
            self.close_connection = True
        else:
            self._send_file(path, file, fault, with_body)

    def _send_file(self, path: str, file: Path, fault: str, with_body: bool) -> None:
        data, facts = file.read_bytes(), file.stat()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, len(data)
        if asked and fault != "no-range":
            start = int(asked[1])
            stop = min(int(asked[2]) + 1 if asked[2] else stop, stop)
        if with_body and start == 0:
            self.server_of.asked[path] += 1
        if with_body:
            self.server_of.bytes_given[path] += stop - start
        if fault == "flip":
            middle = (start + stop) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        part = data[start:stop]
        self.send_response(206 if asked and fault != "no-range" else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("ETag", f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"')
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
        after = query.get("continuation-token", [""])[0]
        folder, hidden = self.server_of.folder, self.server_of.hidden
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        names = sorted(name for name in found if name.startswith(prefix) and name > after)
        names = [name for name in names if name not in hidden and not Path(name).name.startswith(".")]
        shown = names[: min(self.server_of.page, int(query.get("max-keys", ["1000"])[0]))]
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{found[name].stat().st_size}</Size><ETag>0</ETag>"
            "<LastModified>1994-11-06T08:49:37.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for name in shown
        )
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if shown else ""
        cut = "true" if len(shown) < len(names) else "false"
        head = f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(shown)}</KeyCount>"
        head += f"<IsTruncated>{cut}</IsTruncated>{more if cut == 'true' else ''}"
        return f"<?xml version='1.0'?><ListBucketResult>{head}{entries}</ListBucketResult>"

    def _send(
        self, status: int, body: bytes, with_body: bool = True, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has there
        """Say nothing."""
