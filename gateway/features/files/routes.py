"""The paths of files, batches, and other objects that providers keep."""

from typing import Final

from gateway.relay.routes import RelayRoute
from providers.endpoints.endpoint import EndpointName

_KEPT_OBJECTS: Final[tuple[tuple[EndpointName, str, str, tuple[str, ...]], ...]] = (
    ("files", "/v1/files", "kept.read_files", ("GET", "GET /{id}", "DELETE /{id}", "GET /{id}/url")),
    ("uploads", "/v1/uploads", "kept.read_uploads", (
        "POST", "GET /{id}", "POST /{id}/parts", "POST /{id}/complete", "POST /{id}/cancel",
    )),
    ("vector_stores", "/v1/vector_stores", "kept.read_vector_stores", (
        "POST", "GET", "GET /{id}", "POST /{id}", "DELETE /{id}", "POST /{id}/search", "POST /{id}/files",
        "GET /{id}/files", "GET /{id}/files/{id2}", "POST /{id}/files/{id2}", "DELETE /{id}/files/{id2}",
        "GET /{id}/files/{id2}/content", "POST /{id}/file_batches", "GET /{id}/file_batches/{id2}",
        "POST /{id}/file_batches/{id2}/cancel", "GET /{id}/file_batches/{id2}/files",
    )),
    ("containers", "/v1/containers", "kept.read_containers", (
        "POST", "GET", "GET /{id}", "DELETE /{id}", "POST /{id}/files", "GET /{id}/files", "GET /{id}/files/{id2}",
        "DELETE /{id}/files/{id2}", "GET /{id}/files/{id2}/content",
    )),
    ("files", "/v1beta/files", "kept.read_files", ("GET", "GET /{id}", "DELETE /{id}")),
    ("videos", "/v1/videos", "videos.read_video", (
        "GET", "GET /{id}", "DELETE /{id}", "GET /{id}/content", "POST /{id}/remix",
    )),
    ("batches", "/v1/batches", "batches.read_batch", ("POST", "GET", "GET /{id}", "POST /{id}/cancel")),
    ("message_batches", "/v1/messages/batches", "batches.read_message_batch", (
        "POST", "GET", "GET /{id}", "DELETE /{id}", "POST /{id}/cancel", "GET /{id}/results",
    )),
)  # fmt: skip
"""For each kind of object that providers keep: its path, its reader, and the methods with the paths below it."""

ROUTES: Final[tuple[RelayRoute, ...]] = (
    *(
        RelayRoute(endpoint, method, root + path, read)
        for endpoint, root, read, operations in _KEPT_OBJECTS
        for method, _, path in (operation.partition(" ") for operation in operations)
    ),
    RelayRoute("videos", "POST", "/v1/videos", "videos.read_new_video"),
    RelayRoute("files", "POST", "/v1/files", "batches.read_new_file"),
    RelayRoute("files", "GET", "/v1/files/{id}/content", "batches.read_content"),
    *(
        RelayRoute("files", "POST", path, "kept_uploads.read_step", "kept_uploads.admit_step")
        for path in ("/upload/v1beta/files", "/upload/v1/files")
    ),
)  # fmt: skip
