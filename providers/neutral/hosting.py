"""How a platform serves the API of another maker: Claude at Vertex, or through Bedrock's InvokeModel.

The API is the same, and what stands around it is not: the model and the wish for a stream are in the path, the version
and the betas in the body, the events perhaps in frames of the platform's own.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from providers.neutral.wire_api import Operation, OperationPath
from streams.framing import Framing


@attrs.frozen
class Hosting:
    """``operations`` are the ends of the paths there; one that is missing is not served. ``without`` are members of a
    request that stay away, ``adds`` such as are put in, and ``betas_member`` the one that takes the names of betas, in
    place of the header. ``framing`` is that of its streams, ``None`` for the API's own."""

    operations: Mapping[Operation, OperationPath]
    without: tuple[str, ...] = ()
    adds: Mapping[str, Any] = attrs.field(factory=dict)
    betas_member: str | None = None
    framing: Framing | None = None
