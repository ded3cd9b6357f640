"""Recorded requests of real programs, written in every API without silent losses.

Every value of a request is in the provider's request, or reported as dropped, or in a table here. Pure: no process, no
socket.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import attrs
import pytest

from providers.apis import CODECS
from providers.catalog.models import quirks_of
from providers.catalog.provider import COMPATIBLE
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from providers.neutral.tool_names import shorten_names
from streams.errors import GatewayError
from streams.events import Api
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.recorded_requests import Json, Request, requests
from tests.support.recordings import ABSENT

ISSUER = Issuer("provider", "account")
BARE = attrs.evolve(COMPATIBLE, reasoning_effort=False, stream_usage=False)
# Providers to write for: nothing known of the model, and the models that depart most from that.
RECIPIENTS: Mapping[Api, tuple[Recipient, ...]] = {
    api: tuple(Recipient(model, ISSUER, quirks_of(quirks, model)) for model, quirks in models)
    for api, models in {
        "chat": (("some-model", Quirks()), ("gpt-5.6", Quirks()), ("deepseek-chat", COMPATIBLE), ("bare", BARE)),
        "messages": (
            ("some-model", Quirks()), ("claude-opus-4-7", Quirks()), ("claude-sonnet-4-5", Quirks()),
            ("claude-3-haiku", Quirks()),
        ),
        "responses": (("some-model", Quirks()), ("gpt-5.6", Quirks()), ("o3", Quirks())),
    }.items()
}  # fmt: skip


pytestmark = pytest.mark.skipif(not requests(), reason=ABSENT)


def cells(client: Api, upstream: Api, is_each: bool) -> Iterator[tuple[Request, Recipient]]:
    """Yield the recorded requests of one API, for a provider of another by turns, or for each of its providers."""
    asked, recipients = [one for one in requests() if one.api == client], RECIPIENTS[upstream]
    return itertools.product(asked, recipients) if is_each else zip(asked, itertools.cycle(recipients), strict=False)


pairs = pytest.mark.parametrize(("client", "upstream"), [*itertools.product(OLDER, OLDER)])
by_turns = pytest.mark.parametrize(
    "is_each", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["turns", "each"]
)


def translate(request: Request, upstream: Api, to: Recipient) -> Outgoing:
    call, _ = shorten_names(CODECS[request.api].read_request(request.body))
    return CODECS[upstream].write_request(call, to)


# Rejections of members that cannot be dropped or translated: client API, provider API, and the message.

REFUSALS: tuple[tuple[str, str, str], ...] = (
    ("chat", "", "is a 'file_url' part"),  # a video; no API of the three has it
    ("messages", "", "thread is not supported"),  # then Anthropic's tool runner sends everything
    ("chat", "", r"^n (must be 1|is not supported)"),
    ("chat", "messages|responses", "audio|is not supported by"),
    ("", "", "file id|names a file"),  # a provider's file ids mean nothing to another
    ("responses", "chat", "files only as data, not by URL"),
    ("responses", "chat|messages", "^(background|conversation|prompt|previous_response_id) is not supported"),
)


def is_expected(request: Request, upstream: Api, message: str) -> bool:
    return any(
        re.fullmatch(client or ".*", request.api) and re.fullmatch(to or ".*", upstream) and re.search(text, message)
        for client, to, text in REFUSALS
    )


# Accounts


@attrs.frozen
class Leaf:
    """One value of a request: its path, with and without indices."""

    at: str
    value: Json

    @property
    def path(self) -> str:
        return re.sub(r"\[\d+\]", "[]", self.at)

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2].removesuffix("[]")

    @property
    def canonical(self) -> str:
        return canonical(self.value)


SCHEMAS = ("parameters", "input_schema", "schema")  # one value, whatever is in them


def leaves(value: Json, at: str = "") -> Iterator[Leaf]:
    """Yield every non-empty value in order."""
    name = at.rpartition(".")[2]
    if isinstance(value, dict) and name not in SCHEMAS and not (name == "input" and at != "input"):
        for key, inner in value.items():
            yield from leaves(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{at}[{i}]")
    elif value not in (None, "", {}):
        yield Leaf(at, value)


class Sent:
    """A provider's request for lookups of values; a repeated value must be repeated."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.body: dict[str, Json] = json.loads(outgoing.body)
        self.dropped = outgoing.dropped
        self.named: Counter[tuple[str, str]] = Counter()  # a member's name and its value
        self.values: Counter[str] = Counter()
        texts: list[str] = []
        self._collect(self.body, "", texts)
        self.text = "\0".join(texts)

    def _collect(self, value: Json, name: str, texts: list[str]) -> None:
        self.named[name, canonical(value)] += 1
        if isinstance(value, str):
            texts.append(value)
            value = parse_if_json(value)
        self.values[canonical(value)] += 1
        for key, inner in value.items() if isinstance(value, dict) else ():
            self._collect(inner, key, texts)
        for inner in value if isinstance(value, list) else ():
            self._collect(inner, name, texts)

    def lacks(self, asked: list[Leaf]) -> list[Leaf]:
        """Return the leaves of ``asked`` that are missing, under their name or, if they are long, anywhere."""
        by_name = Counter((leaf.name, leaf.canonical) for leaf in asked)
        by_value = Counter(leaf.canonical for leaf in asked)
        return [
            leaf
            for leaf in asked
            if self.named[leaf.name, leaf.canonical] < by_name[leaf.name, leaf.canonical]
            and self._count_anywhere(leaf) < by_value[leaf.canonical]
        ]

    def _count_anywhere(self, leaf: Leaf) -> int:
        """Return how often the value occurs, under any name."""
        value = parse_if_json(leaf.value) if leaf.name == "arguments" else leaf.value
        if isinstance(value, dict):
            return self.values[canonical(value)]
        if isinstance(value, str) and (leaf.name in WORDS or len(value) >= LONG):
            return self.text.count(re.sub(r"^data:[\w/.+-]+;base64,", "", value))
        return 0


LONG = 8
WORDS = ("content", "text", "input", "output", "instructions", "system", "call_id")


def canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def parse_if_json(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def silent_losses(request: Request, upstream: Api, to: Recipient) -> dict[str, str]:
    """Return the paths of values that are neither sent nor reported nor in ``ACCOUNTS``, with the values.

    Raises the codec's ``GatewayError`` for a refused request.
    """
    sent = Sent(translate(request, upstream, to))
    body = request.body
    asked = [
        leaf for leaf in leaves(body) if not any(account.settles(request, upstream, leaf, sent) for account in ACCOUNTS)
    ]
    telling = {leaf.at for leaf in asked if leaf.name in TELLING} - {leaf.at for leaf in sent.lacks(asked)}
    unnamed = [leaf for leaf in asked if not any(covers(drop, leaf, body, telling) for drop in sent.dropped)]
    return {leaf.path: str(leaf.value)[:80] for leaf in sent.lacks(unnamed)}


TELLING = ("text", "content", "arguments", "output")
# The types that every API has: a dropped `input[]` concerns another type.
ORDINARY = (
    None, "message", "text", "input_text", "output_text", "function_call", "function_call_output", "tool_use",
    "tool_result", "function",
)  # fmt: skip
BILLING = "x-anthropic-billing-header"  # another hash in every request: it would spoil the prompt cache


def covers(drop: str, leaf: Leaf, body: Json, telling: set[str]) -> bool:
    """Return whether ``drop`` includes the leaf: its own path, or that of an unsupported parent."""
    if drop == leaf.path:
        return True
    around = re.match(re.escape(drop).replace(r"\[\]", r"\[\d+\]") + r"(?=[.\[])", leaf.at)
    if around is None or not leaf.path.startswith(drop):
        return False
    part = lookup(body, around[0])
    if drop.endswith("[]") and isinstance(part, dict) and part.get("type") in ORDINARY and BILLING not in str(part):
        return False
    return not any(at.startswith((around[0] + ".", around[0] + "[")) for at in telling)


def lookup(value: Json, at: str) -> Json:
    """Return the value at a path with indices."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", at):
        value = value[name] if name else value[int(index)]
    return value


Check: TypeAlias = Callable[[Json, dict[str, Json]], bool]


@attrs.frozen
class Account:
    """The treatment of a value.

    Patterns of the client's API, the provider's API and the path; the reason why a search misses it; its place in the
    provider's request.
    """

    client: str
    upstream: str
    path: str
    why: str
    check: Check = lambda value, body: True

    def settles(self, request: Request, upstream: Api, leaf: Leaf, sent: Sent) -> bool:
        return (
            re.fullmatch(self.client, request.api) is not None
            and re.fullmatch(self.upstream, upstream) is not None
            and re.fullmatch(self.path, leaf.path) is not None
            and self.check(leaf.value, sent.body)
        )


def among(*values: Json) -> Check:
    return lambda value, body: value in values


def sent_as(*names: str) -> Check:
    """Return a check for the same value under one of these top-level names."""
    return lambda value, body: any(body.get(name) == value for name in names)


def thinks(value: Json, body: dict[str, Json]) -> bool:
    return bool(body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort") or body.get("thinking"))


def one_by_one(value: Json, body: dict[str, Json]) -> bool:
    choice = body.get("tool_choice")
    alone = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    return alone or body.get("parallel_tool_calls") is False


def chooses(value: Json, body: dict[str, Json]) -> bool:
    """Return a check for a tool choice in the provider's words; ``auto`` may be absent, as the default."""
    choice = body.get("tool_choice", "auto")
    word = choice if isinstance(choice, str) else choice.get("type")
    return word in CHOICES[value]


CHOICES: Mapping[str, tuple[str, ...]] = {
    "auto": ("auto",), "none": ("none",), "any": ("any", "required"), "required": ("any", "required"),
    "tool": ("tool", "function"), "function": ("tool", "function"), "allowed_tools": ("any", "auto", "required"),
}  # fmt: skip


def members(tools: list[dict[str, Json]]) -> set[tuple[str, Json]]:
    return {(name, value) for tool in tools for name, value in tool.items() if isinstance(value, str)}


# The types of parts and items that mean nothing without their other members.
FORMS = (
    "text", "image_url", "input_audio", "file", "function", "thinking", "redacted_thinking",
    "image", "document", "search_result", "tool_use", "tool_result", "tool_reference", "base64", "url",
    "message", "input_text", "output_text", "input_image", "input_file", "reasoning_text", "summary_text",
    "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning",
    "additional_tools", "tool_search_call", "tool_search_output",
)  # fmt: skip

ANY = "chat|messages|responses"
LIMITS = "max_tokens|max_completion_tokens|max_output_tokens"
EFFORT = r"reasoning_effort|reasoning\.effort|thinking\.(type|budget_tokens)|output_config\.effort"
ACCOUNTS: tuple[Account, ...] = (
    # Members that describe the form of the request, which differs between APIs.
    Account(ANY, ANY, "model", "the provider's own name", lambda value, body: bool(body["model"])),
    Account(ANY, ANY, "stream", "false is the default", among(False)),
    Account("chat", ANY, r"stream_options\.include_usage", "always asked for where it can be; our writer tells it"),
    Account(ANY, ANY, r"(messages|input|system).*\.type", "its other members would be missed", among(*FORMS)),
    Account(ANY, ANY, r"(messages|input)\[\]\.role", "a turn's text would be missed"),
    Account("messages", ANY, r"messages\[\]\.content\[\]\.type", "the tools are those after the change",
            among("tool_addition", "tool_removal")),
    Account("messages", ANY, r"messages\[\]\.content\[\]\.tool\.name|tools\[\]\.name", "a message adds the tool",
            lambda value, body: f'"name": "{value}"' in canonical(body.get("tools"))),
    Account("messages", ANY, r"tools\[\]\.defer_loading", "a message adds the tool",
            lambda value, body: any("defer_loading" not in tool for tool in body["tools"])),
    Account(ANY, ANY, r"tools\[\]\.type", "a tool's name would be missed", among("function", "custom", "namespace")),
    Account("responses", ANY, r"input\[\]\.(tools\[\]\.type|id|status)", "an item's ids are its provider's own"),
    Account("responses", "chat|messages", r"input\[\]\.namespace", "a part of the tool's one name, if not that itself",
            lambda value, body: value in canonical(body)),
    Account("responses", ANY, r"(tools|input)\[\]\.execution", "a function is the client's", among("client")),
    Account("responses", ANY, r"input\[\]\.tools\[\]\.(description|parameters|strict)", "declared and found: sent once",
            lambda value, body: canonical(value) in canonical(body["tools"])),
    Account("responses", ANY, r"input\[\]\.tools\[\]\.defer_loading", "the client has found the tool"),
    # Defaults that may be left out.
    Account("chat", ANY, "n", "one answer is what all give", among(1)),
    Account("chat", ANY, "function_call|tool_choice", "what all do by themselves", among("auto")),
    Account(ANY, ANY, "temperature|top_p", "the default", among(1)),
    Account(ANY, ANY, r".*\.strict", "the default of Chat and Messages", among(False)),
    Account("messages", ANY, r".*\.is_error", "the default", among(False)),
    Account(ANY, ANY, r".*\.detail|service_tier", "the default", among("auto")),
    Account(ANY, "messages", "parallel_tool_calls", "the default", among(True)),
    Account("responses", ANY, r"text\.format\.type", "the default", among("text")),
    # Limits and effort.
    Account(ANY, ANY, LIMITS, "each API has its own name", sent_as(*LIMITS.split("|"))),
    Account(ANY, "responses", LIMITS, "16 is the least there", lambda value, body: value < body["max_output_tokens"]),
    Account("messages", "messages", LIMITS, "raised above the budget", lambda value, body: value < body["max_tokens"]),
    Account(ANY, ANY, EFFORT, "effort and budget are one thing", thinks),
    Account("chat|responses", "messages", EFFORT, "it does not think unless asked",
            lambda value, body: value == "none" and "thinking" not in body),
    Account("messages", "chat|responses", EFFORT, "left to the model, as it is by itself", among("adaptive")),
    Account("responses", "messages", r"reasoning\.summary", "thinking.display",
            lambda value, body: (body.get("thinking") or {}).get("display") == "summarized"),
    Account("messages", "responses", r"thinking\.display", "reasoning.summary",
            lambda value, body: bool(body["reasoning"].get("summary"))),
    # Tools and their choice.
    Account("messages", "responses", r"tools\[\]\.type", "web_search in that API's words",
            lambda value, body: value.startswith("web_search_") and ("type", "web_search") in members(body["tools"])),
    Account("chat", "responses", r"tools\[\]\.type", "web_search in that API's words",
            lambda value, body: value == "openrouter:web_search" and ("type", "web_search") in members(body["tools"])),
    Account("chat", "responses", r"tools\[\]\.parameters", "members of the tool, or dropped by name",
            lambda value, body: ("type", "web_search") in members(body["tools"])),
    Account("chat|responses", "messages", "parallel_tool_calls", "disable_parallel_tool_use", one_by_one),
    Account("messages", "chat|responses", r"tool_choice\.disable_parallel_tool_use", "parallel_tool_calls", one_by_one),
    Account(ANY, ANY, r"tool_choice(\.type)?", "the same choice in other words", chooses),
    Account("responses", ANY, r"tool_choice\.tools\[\]\.name", "only the allowed go out",
            lambda value, body: value in canonical(body["tools"])),
    Account("responses", "messages", r"tool_choice\.(mode|tools\[\]\.type)", "only the allowed go out, and the mode",
            lambda value, body: bool(body["tools"]) and "tool_choice" in body),
    Account("responses", "messages", r"input\[\]\.call_id", "made anew for call and result where Messages refuses it",
            lambda value, body: re.fullmatch(r"[\w-]{1,64}", value) is None),
    Account("messages", "chat|responses", r".*\.is_error", "the text begins so",
            lambda value, body: '"Error: ' in canonical(body)),
    # The rest.
    Account("messages", ANY, r"stop_sequences\[\]", "stop", lambda value, body: value in body.get("stop", ())),
    Account("messages", "chat|responses", r"metadata\.user_id", "a hash of it, or itself where it is short",
            lambda value, body: bool(body.get("safety_identifier") or body.get("user"))),
    Account("chat", "responses", "logprobs", "include",
            lambda value, body: "message.output_text.logprobs" in body["include"]),
    Account("responses", "chat", r"include\[\]", "logprobs", lambda value, body: body.get("logprobs") is True),
    Account("responses", ANY, r"include\[\]", "always asked for, sealed and given back",
            among("reasoning.encrypted_content")),
    Account("chat|responses", "messages", r"(response_format\.json_schema|text\.format)\.(name|strict)",
            "a schema has no name there and always binds",
            lambda value, body: "format" in body.get("output_config", {})),
    Account(ANY, "chat|responses", r".*\.cache_control\.(type|ttl)", "prompt_cache_breakpoint",
            lambda value, body: "prompt_cache_breakpoint" in canonical(body)),
    Account(ANY, "messages", r".*\.prompt_cache_breakpoint\.mode", "cache_control",
            lambda value, body: "cache_control" in canonical(body)),
    Account("messages", "chat|responses", r".*\.source\.media_type", "a text is sent as text", among("text/plain")),
)  # fmt: skip


@pairs
@by_turns
def test_no_member_of_a_recorded_request_is_lost_silently(client: Api, upstream: Api, is_each: bool) -> None:
    for one, to in cells(client, upstream, is_each):
        with case((one.key, to.model)):
            try:
                losses = silent_losses(one, upstream, to)
            except GatewayError as error:
                failed = error.info
                assert (failed.kind, failed.status) == ("invalid_request", 400)
                assert is_expected(one, upstream, failed.message), failed.message
                assert failed.param
            else:
                assert list(losses) == []


@pairs
@by_turns
def test_every_dropped_path_is_in_the_request(client: Api, upstream: Api, is_each: bool) -> None:
    for one, to in cells(client, upstream, is_each):
        try:
            dropped = translate(one, upstream, to).dropped
        except GatewayError:
            continue  # the test above checks rejections
        assert not [path for path in dropped if path.partition(": ")[0] not in places(one.body)], (one.key, to.model)


def places(value: Json, at: str = "") -> set[str]:
    """Return the paths of all values in a request, with ``[]`` for indices."""
    found = {at} if at else set()
    for key, inner in value.items() if isinstance(value, dict) else ():
        found |= places(inner, f"{at}.{key}" if at else key)
    for inner in value if isinstance(value, list) else ():
        found |= places(inner, f"{at}[]")
    return found


def test_the_number_of_requests_is_known() -> None:
    """Left out are the bodies of other endpoints: six counts of tokens."""
    by_api = {api: sum(one.api == api and not one.own for one in requests()) for api in OLDER}
    assert sum(one.own for one in requests()) == 18
    if not any(by_api.values()):
        pytest.skip(ABSENT)
    assert by_api == {"chat": 141, "messages": 117, "responses": 107}
