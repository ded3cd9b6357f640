"""A platform's way to serve another maker's API: Claude at Vertex, or with Bedrock's InvokeModel.

The API is the same, but the model and the stream flag are in the path, the version and the betas in the body, and the
events sometimes in the platform's own frames.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from providers.neutral.draft import Draft
from providers.neutral.wire_api import Operation, OperationPath
from streams.framing import Framing

WITHOUT_MODEL: Final = ".."
"""The prefix of a path's end that does not follow the model; such requests keep their model."""


@attrs.frozen(repr=False)
class Hosting:
    """The differences of a hosted API from the original.

    - ``operations``: the ends of the paths of served operations.
    - ``without``, ``adds``: the removed and added members of a request.
    - ``betas_member``: the member with the names of betas, instead of the header.
    - ``without_headers``: the removed headers.
    - ``framing``: the framing of streams, ``None`` for the API's own.
    """

    operations: Mapping[Operation, OperationPath]
    without: tuple[str, ...] = ()
    adds: Mapping[str, Any] = attrs.field(factory=dict)
    betas_member: str | None = None
    without_headers: tuple[str, ...] = ()
    framing: Framing | None = None

    def end(self, operation: Operation, streamed: bool) -> str | None:
        """Return the end of the path of ``operation``, or ``None`` if it is not served."""
        ends = self.operations.get(operation)
        return None if ends is None else ends.whole if not streamed or ends.streamed is None else ends.streamed

    def body(self, body: bytes, betas: Sequence[str], *, keeps_model: bool = False) -> bytes:
        """Return the request ``body`` for the platform; other members keep their bytes."""
        draft = Draft.of(body)
        for name in self.without:
            if name in draft and not (keeps_model and name == "model"):
                draft.put(name, None)
        for name, value in self.adds.items():
            draft.put(name, value)
        if self.betas_member is not None and betas:
            draft.put(self.betas_member, list(betas))
        return draft.encode()
