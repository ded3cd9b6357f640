"""Short builders for Messages requests, for tests of both sides."""

import json

import attrs
import pytest

from providers.messages import MESSAGES
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Message, Parameter, Request, TextPart
from providers.neutral.seal import Issuer
from streams.errors import GatewayError

OURS = Issuer("anthropic", "a1")
OTHER = Issuer("openai", "b2")
HELLO = [{"role": "user", "content": "hello"}]
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def read(**members):
    return MESSAGES.read_request({"model": "m", "max_tokens": 10, "messages": HELLO} | members)


def rejection_of(**members):
    with pytest.raises(GatewayError) as raised:
        read(**members)
    assert raised.value.info.status == 400
    return raised.value.info


def blocks(*content, role="user"):
    """Return the neutral parts of a message with these blocks."""
    return read(messages=[{"role": role, "content": list(content)}]).messages[0].parts


def write(call, **quirks):
    outgoing = MESSAGES.write_request(call, Recipient("claude", OURS, Quirks(**quirks)))
    return json.loads(outgoing.body), outgoing.dropped


def user(*parts):
    return Message("user", tuple(TextPart(part) if isinstance(part, str) else part for part in parts), "messages[1]")


def assistant(*parts):
    return attrs.evolve(user(*parts), role="assistant")


def chat(*turns, **fields):
    return Request("chat", "m", turns or (user("hello"),), **fields)


def messages(*turns, **fields):
    return write(chat(*turns, **fields))[0]["messages"]


def controls(**values):
    return {name: Parameter(value, name) for name, value in values.items()}
