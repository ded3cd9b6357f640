"""Members that no API has, in every object of a request: a translation passes them on, reports or refuses them.

Providers add such members after a release of the gateway."""

from typing import Final

import msgspec
import pytest

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.sdk_fields import samples
from tests.support.unknown_members import with_members

RECIPIENT: Final = Recipient("m", Issuer("openai", "account"))
NAME: Final = "unheard"

SILENT: Final[dict[str, frozenset[str]]] = {
    "chat": frozenset((
        "messages[].content[].prompt_cache_breakpoint",  # a hint, which becomes a mark of the other API
        "tools[].custom.format",  # free text, the default of every API
    )),
    "messages": frozenset((
        "messages[].content[].citations", "messages[].content[].content[].citations",  # on or off
    )),
    "responses": frozenset((
        "input[].content[].prompt_cache_breakpoint", "input[].output[].prompt_cache_breakpoint",
        "prompt_cache_options",  # hints, which become marks
        "input[] reasoning", "input[].summary[]",  # a thought, which another model gets as text
        "tools[].format", "tools[].tools[].format",  # free text, the default of every API
        "input[].error", "input[].error.moderation_details", "input[].svg_usage",  # about the call that made an image
    )),
    "converse": frozenset((
        "messages[].content[].audio.error", "messages[].content[].image.error",
        "messages[].content[].toolResult.content[].image.error",  # about an earlier answer
        "messages[].content[].document.citations",
        "messages[].content[].toolResult.content[].document.citations",  # on or off
    )),
    "interactions": frozenset(("input[].summary[]",)),
    "gemini": frozenset(("tools[].googleSearch.searchTypes.imageSearch", "tools[].googleSearch.searchTypes.webSearch")),
}  # fmt: skip
"""Objects whose unknown members are not reported, some with their type: nothing in them can change the answer."""


def is_reported(at: str, dropped: tuple[str, ...]) -> bool:
    """Return whether the member's path, or one around it, is in ``dropped``; some paths omit a step."""
    at = at.replace(".custom.", ".").replace(".function.", ".")
    around = tuple(path for path in dropped if path and at.startswith(path.removesuffix("[]")))
    return bool(around) or any(NAME in path for path in dropped)


@pytest.mark.parametrize("api", CODECS)
def test_an_unknown_member_is_never_lost_silently(api):
    others = [one for one in CODECS if one != api]
    lost, count = [], 0
    for at, body in with_members(samples(api), NAME, SILENT.get(api, ())):
        try:
            request = CODECS[api].read_request(body)
        except GatewayError:
            continue
        for provider in others:
            try:
                outgoing = CODECS[provider].write_request(request, RECIPIENT)
            except GatewayError:
                continue
            count += 1
            if NAME not in outgoing.body.decode() and not is_reported(at, outgoing.dropped):
                lost.append((at, provider, outgoing.dropped, msgspec.json.encode(body)[:600]))
    assert lost == []
    assert count > 20
