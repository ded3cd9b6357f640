"""What becomes of each field of each API in each other API, found out by translating it.

``python -m tests.pages.translation`` writes ``docs/translation.md``; ``tests/docs/test_translation.py`` keeps it true.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import attrs
import msgspec

from providers.apis import CODECS
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.fields import generic
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import APIS, Api
from tests.support.repository import ROOT
from tests.support.sdk_fields import PARAMS, Sample, samples

PAGE = ROOT / "docs/translation.md"
ISSUER = Issuer("p", "")


@attrs.frozen
class Fate:
    """``word``: mapped, dropped, refused, no effect, lost (in silence: a mistake of ours)."""

    word: str
    why: str = ""


def fate(sample: Sample, target: Api) -> Fate:
    """What a translation to ``target`` makes of the sample's field."""
    try:
        with_field = translate(sample.api, sample.with_field, target)
    except GatewayError as error:
        return Fate("refused", error.failed.message)
    try:
        without = translate(sample.api, sample.without, target)
    except GatewayError:
        return Fate("mapped")  # it is what makes the request possible
    if any(path not in without.dropped for path in with_field.dropped):
        changed = body_of(with_field) != body_of(without)
        return Fate("mapped in part" if changed and not named(sample, with_field) else "dropped")
    if body_of(with_field) != body_of(without):
        return Fate("mapped")
    return Fate("dropped") if named(sample, with_field) else Fate("lost")


def named(sample: Sample, outgoing: Outgoing) -> bool:
    """Whether the report names the field, or what holds it."""
    path = generic(sample.path)
    return any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in outgoing.dropped)


def translate(source: str, body: Mapping[str, Any], target: Api) -> Outgoing:
    return _translated(source, msgspec.json.encode(body), target)


@cache
def _translated(source: str, body: bytes, target: Api) -> Outgoing:
    """Once for all fields of an object, which are held against the same one."""
    return CODECS[target].write_request(_read(source, body), Recipient("m", ISSUER))


@cache
def _read(source: str, body: bytes) -> Request:
    return CODECS[source].read_request(msgspec.json.decode(body))


def body_of(outgoing: Outgoing) -> Any:
    return msgspec.json.decode(outgoing.body)


@cache
def outcomes(api: str, target: Api) -> tuple[tuple[Sample, Fate], ...]:
    """Every field of ``api``, to ``target``."""
    return tuple((sample, fate(sample, target)) for sample in samples(api))


def fates() -> Iterator[tuple[Sample, Api, Fate]]:
    """Every field of every API, to each other API."""
    for api in PARAMS:
        for target in APIS:
            if target != api:
                for sample, outcome in outcomes(api, target):
                    yield sample, target, outcome


# What has no effect because it says what holds anyway, or because nobody could tell the difference. By the end of a
# sample's name; the reason is shown in the page.
NO_EFFECT: Mapping[str, str] = {
    "id <compaction_trigger>": "nothing refers to it",
    "content[] <developer>": "a text in an array is a text",
    "content[] <system>": "a text in an array is a text",
    "content[] <tool>": "a text in an array is a text",
    "content[] <user> <text>": "a text in an array is a text",
    "content[] <assistant> <text>": "a text in an array is a text",
    "content[] <message> <input_text>": "a text in an array is a text",
    "content[] <message> <refusal>": "what was refused once is text",
    "output[] <custom_tool_call_output> <input_text>": "a text in an array is a text",
    "source.content[] <user> <document> <content> <text>": "a text in an array is a text",
    "source.content[] <user> <tool_result> <document> <content> <text>": "a text in an array is a text",
    "source.content[] <assistant> <tool_result> <document> <content> <text>": "a text in an array is a text",
    "source.content[] <assistant> <document> <content> <text>": "a text in an array is a text",
    "messages[] <assistant>": "an empty turn",
    "input[] <reasoning>": "a summary is for its reader",
    "status <reasoning>": "an item of the history is complete",
    "image_url.detail <user> <image_url>": "auto is the default",
    "prompt_cache_breakpoint.ttl": "30m is the default",
    "modalities[]": "text is the default",
    "parallel_tool_calls": "true is the default",
    "response_format <text>": "text is the default",
    "text.format <text>": "text is the default",
    "format <custom> <text>": "text is the default",
    "format <additional_tools> <custom> <text>": "text is the default",
    "format <namespace> <custom> <text>": "text is the default",
    "format <additional_tools> <namespace> <custom> <text>": "text is the default",
    "strict": "calls and answers are held to every schema",
    "strict <json_schema>": "calls and answers are held to every schema",
    "strict <configuration_update> <json_schema>": "calls and answers are held to every schema",
    "service_tier": "auto is the default",
    "reasoning_effort": "none is what holds without it",
    "reasoning.effort": "none is what holds without it",
    "reasoning.effort <configuration_update>": "none is what holds without it",
    "thinking <disabled>": "none is what holds without it",
    "thinking.display <enabled>": "thoughts are shown anyway",
    "thinking.display <adaptive>": "thoughts are shown anyway",
    "tool_choice <auto>": "auto is the default",
    "thinking <adaptive>": "how much is left to the model, as without it",
    "thinking <between_tools>": "how much is left to the model, as without it",
    "stream_options": "of streams only, where it is honoured",
    "stream_options.include_obfuscation": "padding against traffic analysis, for streams of OpenAI only",
    "stream_options.include_usage": "of streams only, where it is honoured",
    "type <BetaToolParam>": "custom is the default",
    "citations <user> <document>": "an empty object",
    "citations <user> <tool_result> <document>": "an empty object",
    "citations <assistant> <tool_result> <document>": "an empty object",
    "metadata": "an empty object",
    "output_config": "an empty object",
    "prompt_cache_options": "an empty object",
    "reasoning": "an empty object",
    "text": "an empty object",
    "input[] <configuration_update>": "an empty object",
    "reasoning <configuration_update>": "an empty object",
    "text <configuration_update>": "an empty object",
    "status <message>": "an item of the history is complete",
    "status <function_call>": "an item of the history is complete",
    "id <function_call>": "calls are paired by call_id",
    "id <custom_tool_call>": "calls are paired by call_id",
    "id <custom_tool_call_output>": "calls are paired by call_id",
    "id <additional_tools>": "nothing refers to it",
    "id <configuration_update>": "nothing refers to it",
    "caller <user> <tool_use> <direct>": "direct is the default",
    "caller <assistant> <tool_use> <direct>": "direct is the default",
    "caller <function_call> <direct>": "direct is the default",
    "caller <custom_tool_call> <direct>": "direct is the default",
    "caller <custom_tool_call_output> <direct>": "direct is the default",
}


def no_effect(sample: Sample) -> str | None:
    """Why the field has no effect, ``None`` where it should have one."""
    for end, reason in NO_EFFECT.items():
        if sample.name == end or sample.name.endswith((f".{end}", f"[].{end}")):
            return reason
        path, *kinds = end.split(" <")
        if not kinds and sample.path.endswith(f".{path}"):
            return reason
    return None


DEEPEST = 2  # steps of a path that the page shows


def page() -> str:
    """The page: a table for each API, a row for each field, a column for each other API."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for sample, target, outcome in fates():
        if sample.path.count(".") >= DEEPEST or len(sample.kinds) > 2:
            continue
        why = no_effect(sample) if outcome.word == "lost" else None
        word = f"no effect ({why})" if why else outcome.word
        row = found.setdefault(sample.api, {}).setdefault(sample.name, {})
        row[target] = word if row.get(target, word) == word else "mapped, by value"
    sections = [_INTRODUCTION]
    for api, rows in found.items():
        others = [other for other in APIS if other != api]
        sections.append(f"\n## {api.capitalize()} to {', '.join(others[:-1])} and {others[-1]}\n")
        sections.append(f"| field of {api} | {' | '.join(f'to {other}' for other in others)} |")
        sections.append("|---" * (1 + len(others)) + "|")
        for name, row in rows.items():
            path, _, kinds = name.partition(" ")
            shown = f"`{path}`{f' {kinds}'.replace('<', '‹').replace('>', '›') if kinds else ''}"
            sections.append(f"| {shown} | {' | '.join(row.get(other, '') for other in others)} |")
    return "\n".join(sections) + "\n"


_INTRODUCTION = """\
# Translation, field by field

Written by `python -m tests.pages.translation` from the parameter types of OpenAI's and Anthropic's SDKs and from what
the codecs do with a smallest request that has the field; a test keeps it true. The tables are for a model of which
nothing is known; of many models more is known. Where the two sides speak the same API nothing is translated and nothing
is lost: the bytes pass.

- **mapped**: it changes what the provider is asked, under whatever name its API has for it.
- **mapped in part**: the rest is named in `x-trigate-dropped`.
- **dropped**: the other API has no place for it; named in `x-trigate-dropped`. If a path names more than was lost, the
  log's words follow it as an item (`system[],system[]: billing line`). With `strict: true` in the config or
  `x-trigate-strict: 1` on the request such a loss is a 400, unless it is a hint that cannot change the answer
  (`providers/neutral/hints.py`).
- **refused**: a 400 that names the field, because leaving it out would change what the answer is.
- **no effect**: it says what holds anyway.

Behind a path stand the kinds of the objects it leads through. Deeper fields are accounted for by the same test."""


if __name__ == "__main__":
    PAGE.write_text(page())
