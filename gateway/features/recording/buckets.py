"""Recordings in a bucket of Amazon S3, of a server with its API, or of Google Cloud Storage.

The vendors' clients find the credentials and other addresses in their own settings, such as ``AWS_ENDPOINT_URL_S3``."""

import errno
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeAlias, TypeVar

from gateway.features.recording.recorded import Side, files_of_sides
from gateway.http.redaction import Secrets
from gateway.named_imports import import_named

T = TypeVar("T")

Put: TypeAlias = Callable[[str, bytes, str], object]
"""Stores an object by its key, bytes and type. Blocks, and may be called in several threads."""

OPEN_SECONDS: Final = 20.0
"""Seconds for a bucket to store the first object. The limits and retries of its client may add up to minutes."""

LONGEST: Final = 300
"""Characters of an error of a client."""


def _s3_put(bucket: str) -> Put:
    client = import_named("botocore.session:Session")().create_client("s3")

    def put(key: str, data: bytes, kind: str) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=kind)

    return put


def _gcs_put(bucket: str) -> Put:
    objects = import_named("google.cloud.storage:Client")().bucket(bucket)

    def put(key: str, data: bytes, kind: str) -> None:
        objects.blob(key).upload_from_string(data, content_type=kind)

    return put


_CLIENTS: Final[Mapping[str, tuple[Callable[[str], Put], str]]] = {"s3": (_s3_put, "aws"), "gs": (_gcs_put, "gcs")}
"""The opening of a client and its extra, by the scheme of the address."""


def _finish_in_time(function: Callable[..., T], *arguments: object) -> T:
    """Return the result of a blocking ``function``. Raises ``TimeoutError`` after ``OPEN_SECONDS``, and its errors.

    Its thread then continues, but keeps no process from ending."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function(*arguments))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(OPEN_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"no response within {OPEN_SECONDS:g} s") from None


class Bucket:
    """A bucket with recordings, in the same layout as a folder but without an index. All methods block, and raise
    ``OSError``."""

    writers: Final = 8
    """Exchanges that are written simultaneously: each object needs a round trip."""

    def __init__(self, url: str) -> None:
        """Open the bucket of ``url`` and store an empty object, within ``OPEN_SECONDS``. Raises ``LookupError`` if the
        client is not installed or the address is wrong."""
        found = re.fullmatch(r"(s3|gs)://([^/]+)/?(.*?)/?", url)
        if found is None:
            raise LookupError(f"{url}: expected a directory, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
        scheme, name, prefix = found.groups()
        self._prefix = f"{prefix}/" if prefix else ""
        open_client, extra = _CLIENTS[scheme]
        try:
            self._put = self._call(_finish_in_time, self._open, open_client, name)
        except ImportError:
            raise LookupError(f"{url} needs another package: pip install 'trigate[{extra}]'") from None

    def _open(self, open_client: Callable[[str], Put], name: str) -> Put:
        put = open_client(name)
        put(f"{self._prefix}.trigate", b"", "text/plain")
        return put

    def write(self, sides: Sequence[Side], line: Mapping[str, Any], secrets: Secrets) -> list[str]:
        """Write an exchange without ``secrets`` and return the keys of its objects, the client's description last."""
        keys = []
        for one in files_of_sides(sides, line, secrets):
            for suffix, data in one.files.items():
                keys.append(f"{self._prefix}{one.folder}/{one.stem}{suffix}")
                kind = "application/json" if suffix.endswith(".json") else "application/octet-stream"
                self._call(self._put, keys[-1], data, kind)
        return keys

    def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return the result of a vendor's client, whose errors have no common base."""
        try:
            return function(*arguments)
        except ImportError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:LONGEST].rstrip(".")
            raise OSError(errno.EIO, f"{type(error).__name__}: {text}") from None
