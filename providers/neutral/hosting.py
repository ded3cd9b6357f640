"""How a platform serves the API of another maker: Claude at Vertex, or through Bedrock's InvokeModel.

The API is the same, and what stands around it is not: the model and the wish for a stream are in the path, the version
and the betas in the body, the events perhaps in frames of the platform's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from providers.neutral.draft import Draft
from providers.neutral.wire_api import Operation, OperationPath
from streams.framing import Framing

BESIDE: Final = ".."
"""What the end of a path begins with that stands beside the model, and not behind it: such a request keeps its
model."""


@attrs.frozen(repr=False)
class Hosting:
    """``operations`` are the ends of the paths there; one that is missing is not served. ``without`` are members of a
    request that stay away, ``adds`` such as are put in, and ``betas_member`` the one that takes the names of betas, in
    place of the header. ``without_headers`` are headers of the API that stay away. ``framing`` is that of its streams,
    ``None`` for the API's own."""

    operations: Mapping[Operation, OperationPath]
    without: tuple[str, ...] = ()
    adds: Mapping[str, Any] = attrs.field(factory=dict)
    betas_member: str | None = None
    without_headers: tuple[str, ...] = ()
    framing: Framing | None = None

    def end(self, operation: Operation, streamed: bool) -> str | None:
        """Return the end of the path of ``operation``, ``None`` where it is not served."""
        ends = self.operations.get(operation)
        return None if ends is None else ends.whole if not streamed or ends.streamed is None else ends.streamed

    def body(self, body: bytes, betas: Sequence[str], *, keeps_model: bool = False) -> bytes:
        """Return the request ``body`` as it goes there, its other members byte for byte."""
        draft = Draft.of(body)
        for name in self.without:
            if name in draft and not (keeps_model and name == "model"):
                draft.put(name, None)
        for name, value in self.adds.items():
            draft.put(name, value)
        if self.betas_member is not None and betas:
            draft.put(self.betas_member, list(betas))
        return draft.encode()
