"""The outcome of each field of each API in each other API, found by translating it.

``python -m tests.pages.translation`` writes ``docs/translation-reference.md``; ``tests/docs/test_translation.py`` keeps
it true.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import attrs
import msgspec

from providers.apis import CODECS
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.fields import generic_path
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import APIS, Api
from tests.support.repository import ROOT
from tests.support.sdk_fields import PARAMS, Sample, base, samples

PAGE = ROOT / "docs/translation-reference.md"
ISSUER = Issuer("p", "")


@attrs.frozen
class Outcome:
    """The outcome of one field. ``word`` is ``mapped``, ``mapped in part``, ``dropped``, ``refused`` or ``lost``: left
    out without a report, which is a bug unless ``NO_EFFECT`` has the reason."""

    word: str
    why: str = ""


def outcome_of(sample: Sample, target: Api) -> Outcome:
    """Return the outcome of the sample's field in a translation to ``target``."""
    try:
        with_field = translate(sample.api, sample.with_field, target)
    except GatewayError as error:
        return Outcome("refused", error.info.message)
    try:
        without = translate(sample.api, sample.without, target)
    except GatewayError:  # only this field makes the object around it possible
        without = translate(sample.api, base(sample.api), target)
    if any(path not in without.dropped for path in with_field.dropped):
        changed = body_of(with_field) != body_of(without)
        return Outcome("mapped in part" if changed and not is_reported(sample, with_field) else "dropped")
    if body_of(with_field) != body_of(without):
        return Outcome("mapped")
    return Outcome("dropped") if is_reported(sample, with_field) else Outcome("lost")


def is_reported(sample: Sample, outgoing: Outgoing) -> bool:
    """Return whether the report lists the field, or an object around it."""
    path = generic_path(sample.path)
    return any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in outgoing.dropped)


def translate(source: str, body: Mapping[str, Any], target: Api) -> Outgoing:
    return _translate(source, msgspec.json.encode(body), target)


@cache
def _translate(source: str, body: bytes, target: Api) -> Outgoing:
    """Translate once for all fields of an object, which are compared with the same request."""
    return CODECS[target].write_request(_read(source, body), Recipient("m", ISSUER))


@cache
def _read(source: str, body: bytes) -> Request:
    return CODECS[source].read_request(msgspec.json.decode(body))


def body_of(outgoing: Outgoing) -> Any:
    return msgspec.json.decode(outgoing.body)


@cache
def outcomes(api: str, target: Api) -> tuple[tuple[Sample, Outcome], ...]:
    """Return every field of ``api`` with its outcome in ``target``."""
    return tuple((sample, outcome_of(sample, target)) for sample in samples(api))


def all_outcomes() -> Iterator[tuple[Sample, Api, Outcome]]:
    """Yield every field of every API with its outcome in each other API."""
    for api in PARAMS:
        for target in APIS:
            if target != api:
                for sample, outcome in outcomes(api, target):
                    yield sample, target, outcome


NO_EFFECT: Mapping[str, Sequence[str]] = {
    "no user message follows": ("clear_at <system>",),
    "the tool is offered already": (
        "content[] <system> <tool_addition>", "tool_changes[] <user> <compaction> <tool_addition>",
        "tool_changes[] <assistant> <compaction> <tool_addition>", "toolAddition.tool.name",
    ),
    "the readable summary is sent": (
        "encrypted_content <user> <compaction>", "encrypted_content <assistant> <compaction>",
    ),
    "only Anthropic checks it": ("signature <user> <compaction>", "signature <assistant> <compaction>"),
    "the message adds the tool": (
        "tool.definition.defer_loading <user> <compaction> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.defer_loading <assistant> <compaction> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.defer_loading <user> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.defer_loading <assistant> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.defer_loading <system> <tool_addition> <tool_definition> <BetaToolParam>",
    ),
    "`custom` is the default": (
        "tool.definition.type <user> <compaction> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.type <assistant> <compaction> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.type <user> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.type <assistant> <tool_addition> <tool_definition> <BetaToolParam>",
        "tool.definition.type <system> <tool_addition> <tool_definition> <BetaToolParam>", "type <BetaToolParam>",
    ),
    "no other item refers to it": ("id <compaction_trigger>", "id <additional_tools>", "id <configuration_update>"),
    "a list with one text equals the text": (
        "content[] <developer>", "content[] <system>", "content[] <tool>", "content[] <user> <text>",
        "content[] <assistant> <text>", "content[] <message> <input_text>",
        "output[] <custom_tool_call_output> <input_text>", "source.content[] <user> <document> <content> <text>",
        "source.content[] <user> <tool_result> <document> <content> <text>",
        "source.content[] <assistant> <tool_result> <document> <content> <text>",
        "source.content[] <assistant> <document> <content> <text>", "result[] <function_result> <text>",
    ),
    "an earlier refusal is sent as text": ("content[] <message> <refusal>",),
    "the turn is empty": ("messages[] <assistant>", "input[] <user_input>", "input[] <model_output>"),
    "the summary is only for display": (
        "input[] <reasoning>", "input[] <thought>", "summary[] <thought> <image>", "summary[].data <thought> <image>",
        "summary[].mime_type <thought> <image>", "summary[].resolution <thought> <image>",
        "summary[].uri <thought> <image>",
    ),
    "earlier items are always complete": ("status <reasoning>", "status <message>", "status <function_call>"),
    "`auto` is the default": (
        "image_url.detail <user> <image_url>", "service_tier", "tool_choice <auto>", "generation_config.tool_choice",
        "allowed_tools.mode",
    ),
    "`30m` is the default": ("prompt_cache_breakpoint.ttl",),
    "`text` is the default": (
        "modalities[]", "response_format <text>", "text.format <text>", "format <custom> <text>",
        "format <additional_tools> <custom> <text>", "format <namespace> <custom> <text>",
        "format <additional_tools> <namespace> <custom> <text>", "response_format[] <text>", "response_modalities[]",
    ),
    "`true` is the default": ("parallel_tool_calls",),
    "schemas always apply": ("strict", "strict <json_schema>", "strict <configuration_update> <json_schema>"),
    "`none` is the default": (
        "reasoning_effort", "reasoning.effort", "reasoning.effort <configuration_update>", "thinking <disabled>",
    ),
    "thinking is shown by default": (
        "thinking.display <enabled>", "thinking.display <adaptive>", "thinkingConfig.includeThoughts",
    ),
    "the model chooses the amount by default": ("thinking <adaptive>", "thinking <between_tools>"),
    "applies to streams, and works there": ("stream_options", "stream_options.include_usage"),
    "padding, only in OpenAI's streams": ("stream_options.include_obfuscation",),
    "the object is empty": (
        "citations <user> <document>", "citations <user> <tool_result> <document>",
        "citations <assistant> <tool_result> <document>", "metadata", "output_config", "prompt_cache_options",
        "reasoning", "text", "input[] <configuration_update>", "reasoning <configuration_update>",
        "text <configuration_update>", "inferenceConfig", "outputConfig", "tools[]", "toolConfig",
        "toolConfig.functionCallingConfig", "generationConfig", "generationConfig.thinkingConfig", "generation_config",
        "tool_choice.allowed_tools",
    ),
    "calls and results match by `call_id`": (
        "id <function_call>", "id <custom_tool_call>", "id <custom_tool_call_output>", "name <function_result>",
    ),
    "`direct` is the default": (
        "caller <user> <tool_use> <direct>", "caller <assistant> <tool_use> <direct>",
        "caller <function_call> <direct>", "caller <custom_tool_call> <direct>",
        "caller <custom_tool_call_output> <direct>",
    ),
    "it equals a text": ("messages[].content[] <guardContent>", "messages[].content[] <citationsContent>"),
    "only answers have it": ("image.error", "image.error.message", "audio.error", "audio.error.message"),
    "`success` is the default": ("toolResult.status",),
    "the result has the id of its call": ("toolResult.type",),
    "`pdf` is the default": ("document.format",),
    "the name is only for display": ("jsonSchema.name", "inlineData.displayName", "fileData.displayName"),
    "the text is only for display": ("parts[].thought",),
    "only Google checks it": ("parts[].thoughtSignature",),
    "the server of the URL states it": (
        "fileData.mimeType", "input.mime_type <image>", "input[].mime_type <image>", "mime_type <user_input> <image>",
        "mime_type <function_result> <image>", "input.mime_type <document>", "input[].mime_type <document>",
        "mime_type <user_input> <document>", "mime_type <function_result> <document>", "input.mime_type <audio>",
        "input[].mime_type <audio>", "mime_type <user_input> <audio>", "mime_type <function_result> <audio>",
        "input.mime_type <video>", "input[].mime_type <video>", "mime_type <user_input> <video>",
        "mime_type <function_result> <video>",
    ),
    "Google ignores it": ("systemInstruction.role",),
    "applies to the modes `ANY` and `VALIDATED`": ("functionCallingConfig.allowedFunctionNames[]",),
    "`AUTO` is the default": ("functionCallingConfig.mode",),
    "applies to tools that Google runs": ("toolConfig.includeServerSideToolInvocations",),
    "the path selects it": ("stream",),
    "the image itself is sent": (
        "action <image_generation_call>", "background <image_generation_call>", "error <image_generation_call>",
        "quality <image_generation_call>", "revised_prompt <image_generation_call>", "size <image_generation_call>",
        "svg_usage <image_generation_call>", "error.moderation_details <image_generation_call>",
    ),
    "`png` is the default": ("output_format <image_generation_call>",),
    "a URL has a name": (
        "input.name <video>", "input[].name <video>", "name <user_input> <video>", "name <function_result> <video>",
    ),
}  # fmt: skip
"""Fields that may be left out without a report, because they change nothing: the reason that the page shows, and the
ends of the samples' names."""


def no_effect(sample: Sample) -> str | None:
    """Return the reason why the field has no effect, or ``None`` if it should have one."""
    name = f".{sample.name}"
    for reason, ends in NO_EFFECT.items():
        if any(name.endswith(f".{end}") or sample.path.endswith(f".{end}") for end in ends):
            return reason
    return None


OUTCOMES = ("mapped", "mapped in part", "mapped, by value", "no effect", "dropped", "refused")

DEEPEST = 2
"""Steps of a path that the reference shows."""


def reference() -> str:
    """Return the whole reference: for each API, a table of outcomes in the other APIs."""
    sections = [_INTRODUCTION]
    for api in PARAMS:
        others = [other for other in APIS if other != api]
        sections.append(f"\n## {api.capitalize()}\n\n| outcome | fields |\n|---|---|")
        sections += [f"| {_join_outcomes(words, others)} | {fields} |" for words, fields in _rows(_fields(api, others))]
    return "\n".join(sections) + "\n"


def _join_outcomes(words: Sequence[str], others: Sequence[Api]) -> str:
    """Return the most frequent outcome, and the APIs with another one."""
    apis: dict[str, list[str]] = {}
    for word, other in zip(words, others, strict=True):
        apis.setdefault(word, []).append(other.capitalize())
    (usual, _), *rest = sorted(apis.items(), key=lambda item: -len(item[1]))
    return "; ".join((usual, *(f"{word} in {', '.join(names)}" for word, names in rest)))


def _rows(fields: Iterable[tuple[str, str, tuple[str, ...], str]]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the outcomes and fields of each row: all fields with the same outcomes, grouped by reason."""
    same: dict[tuple[str, ...], dict[str, dict[str, list[str]]]] = {}
    for path, kinds, words, reason in fields:
        same.setdefault(words, {}).setdefault(reason, {}).setdefault(path, []).append(kinds)
    for words, reasons in sorted(same.items(), key=lambda row: (len(set(row[0])), [*map(OUTCOMES.index, row[0])])):
        groups = [
            f"`{', '.join(path + _join_kinds(kinds) for path, kinds in merge_lists(paths))}`{reason and f': {reason}'}"
            for reason, paths in reasons.items()
        ]
        yield words, ". ".join(groups)


def merge_lists(paths: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the paths and their kinds, without ``input`` if ``input[]`` has the same kinds."""
    lists = {(path.replace("[]", ""), *kinds) for path, kinds in paths.items() if "[]" in path}
    yield from ((path, kinds) for path, kinds in paths.items() if "[]" in path or (path, *kinds) not in lists)


def _join_kinds(kinds: Iterable[str]) -> str:
    """Return the kinds of one path in parentheses. Objects with the same inner kinds share them."""
    inner: dict[str, list[str]] = {}
    for outer, _, last in (kind.strip().rpartition(" ") for kind in kinds):
        inner.setdefault(outer, []).append(re.sub(r"_20\d{6}›", "_…›", last))
    shared: dict[str, list[str]] = {}
    for outer, last in inner.items():
        shared.setdefault(", ".join(filter(None, dict.fromkeys(last))), []).append(outer)
    shown = "; ".join(f"{'/'.join(outer)} {last}".strip() for last, outer in shared.items() if last)
    return shown and f" ({shown})"


def _fields(api: str, others: Iterable[Api]) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield the path, kinds, outcomes and reason of each field, without fields of objects that are dropped everywhere
    with all of their fields."""
    found: dict[str, dict[str, str]] = {}
    samples: dict[str, Sample] = {}
    for target in others:
        for sample, outcome in outcomes(api, target):
            if sample.path.count(".") < DEEPEST and len(sample.kinds) <= 2:
                word = "no effect" if outcome.word == "lost" and no_effect(sample) else outcome.word
                row = found.setdefault(sample.name, {})
                row[target] = word if row.get(target, word) == word else "mapped, by value"
                samples[sample.name] = sample
    gone: set[tuple[str, str]] = set()
    for name, row in found.items():
        path, _, rest = name.partition(" ")
        kinds = f" {rest}".replace("<", "‹").replace(">", "›") if rest else ""
        words = tuple(row.get(other, "") for other in others)
        around = {(path.rpartition(".")[0], some) for some in (kinds, kinds.rpartition(" ")[0])}
        if set(words) == {"dropped"}:
            gone.add((path, kinds))
            if around & gone:
                continue
        yield path, kinds, words, no_effect(samples[name]) or "" if "no effect" in words else ""


_INTRODUCTION = """\
# Translation reference

The outcome of each field of a request in the other APIs, if client and provider speak different ones. Search for the
field. To translate your own request, see [translation](translation.md#try-a-request-without-sending-it).

| outcome | meaning |
|---|---|
| mapped | The provider's request has an equivalent. |
| mapped in part | `x-trigate-dropped` lists the lost parts. |
| mapped, by value | Some values are mapped, others are dropped or refused. |
| dropped | The other API has no equivalent. `x-trigate-dropped` lists the field. |
| refused | The request gets 400, because the answer would be different without the field. |
| no effect | The field changes nothing, for the reason after the colon. |

- *mapped; dropped in Converse* means: dropped in Converse, mapped in all other APIs.
- The words in ‹› are types of the objects around a field: `content[] (‹user› ‹text›, ‹image›)` are texts and images in
  messages of the role `user`.
- ‹web_search_…› means all versions of that tool.
- A path with `[]` covers a single value, too, unless that is listed: `input[]` covers `input`.
- The page omits fields of an object that is dropped everywhere, and fields below the second level.
- *refused* can mean that the smallest request with a field is incomplete, such as a tool result without its call.
- [Quirks](configuration-reference.md#quirks) of single models change some outcomes."""


if __name__ == "__main__":
    PAGE.write_text(reference())
