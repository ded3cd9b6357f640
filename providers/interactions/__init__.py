"""The codec of Google's Interactions API (``/v1beta/interactions``), for clients and providers.

Client requests: ``incoming`` with ``media``, and ``adapting`` for Interactions providers. Provider requests:
``outgoing`` with ``history`` (messages). Answers of providers: ``reader`` with ``open_answer`` (shared state). Answers
for clients: ``writer`` (streams) and ``answer`` (whole). Both use ``citations`` and ``usage``. ``errors`` writes
errors. Stored turns: ``kept_steps`` prepares their steps, ``replay`` repeats their events.

Source: the types of the google-genai package (``_gaos/types/interactions``) and the page "Streaming interactions".
"""

from providers.errors.failures import read_failure
from providers.errors.overflow import with_google_message
from providers.gemini import GEMINI
from providers.neutral.late_codec import LateCodec, late
from providers.neutral.wire_api import Conversation, StreamWords, WireApi

__all__ = ["INTERACTIONS", "Interactions"]

WIRE = WireApi(
    "interactions",
    "google_interactions",
    "/interactions",
    # A request that continues an unfinished interaction has no input.
    Conversation("input", (b'"', b"[", b"{"), "a string, an object or an array", optional=True),
    root="/v1beta",
    agent_member="agent",
    words=StreamWords(
        ends=frozenset(("interaction.completed",)),
        error_names=frozenset(("error",)),
        type_member="event_type",
        failed_ends=("interaction", frozenset(("failed", "cancelled"))),
    ),
    stores_unasked=True,
    fetches_links=True,
    running=frozenset(("queued", "in_progress")),
    tool_naming=GEMINI.wire.tool_naming,
    version_header="api-revision",
    default_version="2026-05-20",
    client_headers=("api-revision", "x-goog-api-client"),
    query_members=frozenset(("alt", "include_input", "last_event_id", "stream")),
    count_member="total_tokens",
)


class Interactions(LateCodec):
    """The ``Codec`` of Google's Interactions."""

    wire = WIRE
    package = __name__
    own_parts = ("errors",)
    write_error = late("errors", "write_error")
    read_error = staticmethod(read_failure)
    phrase_error = staticmethod(with_google_message)
    is_own_error = late("errors", "is_own_error")

    last_event = late("errors", "last_event")


INTERACTIONS = Interactions()
