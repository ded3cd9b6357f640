"""A server with the uploads of Amazon S3 and of Google Cloud Storage."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import unquote

import attrs

from tests.support.http_servers import QuietHandler, http_server


@attrs.define
class ObjectStore:
    """The bytes of the uploaded objects by bucket and key. While ``refuses``, it rejects all uploads.

    It answers none while ``responds`` is cleared; ``has_waited`` is set once an upload has to wait."""

    url: str = ""
    objects: dict[str, bytes] = attrs.field(factory=dict)
    refuses: bool = False
    responds: threading.Event = attrs.field(factory=threading.Event)
    has_waited: threading.Event = attrs.field(factory=threading.Event)


@contextlib.contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Serve an object store until the end of the block. Its clients may write, and may not read."""
    store = ObjectStore()
    store.responds.set()

    def wait() -> None:
        if not store.responds.is_set():
            store.has_waited.set()
            store.responds.wait()

    class Uploads(QuietHandler):
        def do_GET(self) -> None:
            self.respond(403)

        def do_PUT(self) -> None:  # S3
            body = self.read_body()
            wait()
            if store.refuses or not self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=ID/"):
                self.respond(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
                return
            store.objects[unquote(self.path).lstrip("/")] = body
            self.respond(200)

        def do_POST(self) -> None:  # Google
            body = self.read_body()
            wait()
            bucket = re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o\?uploadType=multipart", self.path)
            if store.refuses or bucket is None:
                self.respond(403, b'{"error": {"message": "no"}}')
                return
            boundary = b"--" + self.headers["content-type"].partition('boundary="')[2].rstrip('"').encode()
            described, data = (part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(boundary)[1:3])
            store.objects[f"{bucket[1]}/{json.loads(described)['name']}"] = data
            self.respond(200, b"{}")

    with http_server(Uploads) as host:
        store.url = f"http://{host}"
        yield store
        store.responds.set()
