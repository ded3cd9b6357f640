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


# Fields that may be left out without a report, because they change nothing: the end of a sample's name, and the reason
# that the page shows.
NO_EFFECT: Mapping[str, str] = {
    "clear_at <system>": "no user message follows",
    "content[] <system> <tool_addition>": "the tool is offered already",
    "encrypted_content <user> <compaction>": "the readable summary is sent",
    "encrypted_content <assistant> <compaction>": "the readable summary is sent",
    "signature <user> <compaction>": "only Anthropic checks it",
    "signature <assistant> <compaction>": "only Anthropic checks it",
    "tool_changes[] <user> <compaction> <tool_addition>": "the tool is offered already",
    "tool_changes[] <assistant> <compaction> <tool_addition>": "the tool is offered already",
    "tool.definition.defer_loading <user> <compaction> <tool_addition> <tool_definition> <BetaToolParam>": "the "
    "message adds the tool",
    "tool.definition.defer_loading <assistant> <compaction> <tool_addition> <tool_definition> <BetaToolParam>": "the "
    "message adds the tool",
    "tool.definition.defer_loading <user> <tool_addition> <tool_definition> <BetaToolParam>": "the message adds the "
    "tool",
    "tool.definition.defer_loading <assistant> <tool_addition> <tool_definition> <BetaToolParam>": "the message adds "
    "the tool",
    "tool.definition.defer_loading <system> <tool_addition> <tool_definition> <BetaToolParam>": "the message adds the "
    "tool",
    "tool.definition.type <user> <compaction> <tool_addition> <tool_definition> <BetaToolParam>": "`custom` is the "
    "default",
    "tool.definition.type <assistant> <compaction> <tool_addition> <tool_definition> <BetaToolParam>": "`custom` is "
    "the default",
    "tool.definition.type <user> <tool_addition> <tool_definition> <BetaToolParam>": "`custom` is the default",
    "tool.definition.type <assistant> <tool_addition> <tool_definition> <BetaToolParam>": "`custom` is the default",
    "tool.definition.type <system> <tool_addition> <tool_definition> <BetaToolParam>": "`custom` is the default",
    "id <compaction_trigger>": "no other item refers to it",
    "content[] <developer>": "a list with one text equals the text",
    "content[] <system>": "a list with one text equals the text",
    "content[] <tool>": "a list with one text equals the text",
    "content[] <user> <text>": "a list with one text equals the text",
    "content[] <assistant> <text>": "a list with one text equals the text",
    "content[] <message> <input_text>": "a list with one text equals the text",
    "content[] <message> <refusal>": "an earlier refusal is sent as text",
    "output[] <custom_tool_call_output> <input_text>": "a list with one text equals the text",
    "source.content[] <user> <document> <content> <text>": "a list with one text equals the text",
    "source.content[] <user> <tool_result> <document> <content> <text>": "a list with one text equals the text",
    "source.content[] <assistant> <tool_result> <document> <content> <text>": "a list with one text equals the text",
    "source.content[] <assistant> <document> <content> <text>": "a list with one text equals the text",
    "messages[] <assistant>": "the turn is empty",
    "input[] <reasoning>": "the summary is only for display",
    "status <reasoning>": "earlier items are always complete",
    "image_url.detail <user> <image_url>": "`auto` is the default",
    "prompt_cache_breakpoint.ttl": "`30m` is the default",
    "modalities[]": "`text` is the default",
    "parallel_tool_calls": "`true` is the default",
    "response_format <text>": "`text` is the default",
    "text.format <text>": "`text` is the default",
    "format <custom> <text>": "`text` is the default",
    "format <additional_tools> <custom> <text>": "`text` is the default",
    "format <namespace> <custom> <text>": "`text` is the default",
    "format <additional_tools> <namespace> <custom> <text>": "`text` is the default",
    "strict": "schemas always apply",
    "strict <json_schema>": "schemas always apply",
    "strict <configuration_update> <json_schema>": "schemas always apply",
    "service_tier": "`auto` is the default",
    "reasoning_effort": "`none` is the default",
    "reasoning.effort": "`none` is the default",
    "reasoning.effort <configuration_update>": "`none` is the default",
    "thinking <disabled>": "`none` is the default",
    "thinking.display <enabled>": "thinking is shown by default",
    "thinking.display <adaptive>": "thinking is shown by default",
    "tool_choice <auto>": "`auto` is the default",
    "thinking <adaptive>": "the model chooses the amount by default",
    "thinking <between_tools>": "the model chooses the amount by default",
    "stream_options": "applies to streams, and works there",
    "stream_options.include_obfuscation": "padding, only in OpenAI's streams",
    "stream_options.include_usage": "applies to streams, and works there",
    "type <BetaToolParam>": "`custom` is the default",
    "citations <user> <document>": "the object is empty",
    "citations <user> <tool_result> <document>": "the object is empty",
    "citations <assistant> <tool_result> <document>": "the object is empty",
    "metadata": "the object is empty",
    "output_config": "the object is empty",
    "prompt_cache_options": "the object is empty",
    "reasoning": "the object is empty",
    "text": "the object is empty",
    "input[] <configuration_update>": "the object is empty",
    "reasoning <configuration_update>": "the object is empty",
    "text <configuration_update>": "the object is empty",
    "status <message>": "earlier items are always complete",
    "status <function_call>": "earlier items are always complete",
    "id <function_call>": "calls and results match by `call_id`",
    "id <custom_tool_call>": "calls and results match by `call_id`",
    "id <custom_tool_call_output>": "calls and results match by `call_id`",
    "id <additional_tools>": "no other item refers to it",
    "id <configuration_update>": "no other item refers to it",
    "caller <user> <tool_use> <direct>": "`direct` is the default",
    "caller <assistant> <tool_use> <direct>": "`direct` is the default",
    "caller <function_call> <direct>": "`direct` is the default",
    "caller <custom_tool_call> <direct>": "`direct` is the default",
    "caller <custom_tool_call_output> <direct>": "`direct` is the default",
    "messages[].content[] <guardContent>": "it equals a text",
    "messages[].content[] <citationsContent>": "it equals a text",
    "image.error": "only answers have it",
    "image.error.message": "only answers have it",
    "audio.error": "only answers have it",
    "audio.error.message": "only answers have it",
    "toolResult.status": "`success` is the default",
    "toolResult.type": "the result has the id of its call",
    "toolAddition.tool.name": "the tool is offered already",
    "document.format": "`pdf` is the default",
    "jsonSchema.name": "the name is only for display",
    "inferenceConfig": "the object is empty",
    "outputConfig": "the object is empty",
    "parts[].thought": "the text is only for display",
    "parts[].thoughtSignature": "only Google checks it",
    "inlineData.displayName": "the name is only for display",
    "fileData.displayName": "the name is only for display",
    "fileData.mimeType": "the server of the URL states it",
    "systemInstruction.role": "Google ignores it",
    "tools[]": "the object is empty",
    "toolConfig": "the object is empty",
    "toolConfig.functionCallingConfig": "the object is empty",
    "functionCallingConfig.allowedFunctionNames[]": "applies to the modes `ANY` and `VALIDATED`",
    "functionCallingConfig.mode": "`AUTO` is the default",
    "toolConfig.includeServerSideToolInvocations": "applies to tools that Google runs",
    "generationConfig": "the object is empty",
    "generationConfig.thinkingConfig": "the object is empty",
    "thinkingConfig.includeThoughts": "thinking is shown by default",
    "generation_config": "the object is empty",
    "generation_config.tool_choice": "`auto` is the default",
    "tool_choice.allowed_tools": "the object is empty",
    "allowed_tools.mode": "`auto` is the default",
    "response_format[] <text>": "`text` is the default",
    "response_modalities[]": "`text` is the default",
    "stream": "the path selects it",
    "input[] <user_input>": "the turn is empty",
    "input[] <model_output>": "the turn is empty",
    "input[] <thought>": "the summary is only for display",
    "summary[] <thought> <image>": "the summary is only for display",
    "summary[].data <thought> <image>": "the summary is only for display",
    "summary[].mime_type <thought> <image>": "the summary is only for display",
    "summary[].resolution <thought> <image>": "the summary is only for display",
    "summary[].uri <thought> <image>": "the summary is only for display",
    "action <image_generation_call>": "the image itself is sent",
    "background <image_generation_call>": "the image itself is sent",
    "error <image_generation_call>": "the image itself is sent",
    "quality <image_generation_call>": "the image itself is sent",
    "revised_prompt <image_generation_call>": "the image itself is sent",
    "size <image_generation_call>": "the image itself is sent",
    "svg_usage <image_generation_call>": "the image itself is sent",
    "error.moderation_details <image_generation_call>": "the image itself is sent",
    "output_format <image_generation_call>": "`png` is the default",
    "result[] <function_result> <text>": "a list with one text equals the text",
    "name <function_result>": "calls and results match by `call_id`",
    "input.mime_type <image>": "the server of the URL states it",
    "input[].mime_type <image>": "the server of the URL states it",
    "mime_type <user_input> <image>": "the server of the URL states it",
    "mime_type <function_result> <image>": "the server of the URL states it",
    "input.mime_type <document>": "the server of the URL states it",
    "input[].mime_type <document>": "the server of the URL states it",
    "mime_type <user_input> <document>": "the server of the URL states it",
    "mime_type <function_result> <document>": "the server of the URL states it",
    "input.mime_type <audio>": "the server of the URL states it",
    "input[].mime_type <audio>": "the server of the URL states it",
    "mime_type <user_input> <audio>": "the server of the URL states it",
    "mime_type <function_result> <audio>": "the server of the URL states it",
    "input.mime_type <video>": "the server of the URL states it",
    "input[].mime_type <video>": "the server of the URL states it",
    "mime_type <user_input> <video>": "the server of the URL states it",
    "mime_type <function_result> <video>": "the server of the URL states it",
    "input.name <video>": "a URL has a name",
    "input[].name <video>": "a URL has a name",
    "name <user_input> <video>": "a URL has a name",
    "name <function_result> <video>": "a URL has a name",
}


def no_effect(sample: Sample) -> str | None:
    """Return the reason why the field has no effect, or ``None`` if it should have one."""
    name = f".{sample.name}"
    for end, reason in NO_EFFECT.items():
        if name.endswith(f".{end}") or sample.path.endswith(f".{end}"):
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
