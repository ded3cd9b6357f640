"""Strategies for neutral requests that the Messages API can express completely."""

import attrs
import msgspec
from hypothesis import strategies as st

from providers.neutral.request import (
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Reasoning,
    ReasoningPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

WORDS = st.text(min_size=1, max_size=12).filter(str.strip)
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
PROPERTIES = st.dictionaries(NAMES, st.sampled_from([{"type": "string"}, {"enum": [1.0, None]}]), max_size=3)
SCHEMAS = PROPERTIES.map(lambda found: {"type": "object", "properties": found, "additionalProperties": False})
EPHEMERAL = {"type": "ephemeral"}
MARKS = st.sampled_from([{}, {"cache_control": EPHEMERAL}, {"cache_control": EPHEMERAL | {"ttl": "1h"}}])

TEXTS = st.builds(TextPart, WORDS, marks=MARKS)
BASE64 = st.sampled_from(["iVBORw0KGgo=", "R0lGODlh", ""])
LABELLED = st.sampled_from([
    ("iVBORw0KGgo=", "image/png"), ("R0lGODlh", "image/gif"), ("UklGRg==", "image/webp"), ("", "image/webp"),
])  # fmt: skip
IMAGES = st.builds(
    ImagePart,
    LABELLED.map(lambda image: MediaSource("base64", *image))
    | st.builds(MediaSource, st.sampled_from(["url", "file_id"]), st.just("https://a.example/x.png")),
    marks=MARKS,
)
FILES = st.builds(
    FilePart,
    st.builds(MediaSource, st.just("base64"), BASE64, st.just("application/pdf"))
    | st.builds(MediaSource, st.just("text"), WORDS, st.just("text/plain"))
    | st.builds(MediaSource, st.just("url"), st.just("https://a.example/x.pdf")),
    st.none() | WORDS,
    marks=MARKS | st.just({"citations": {"enabled": True}, "context": "c"}),
)
RESULTS = st.builds(
    ToolResultPart,
    NAMES,
    st.lists(TEXTS | IMAGES | FILES, max_size=3).map(tuple),
    is_error=st.booleans(),
    marks=MARKS,
)
THOUGHTS = st.builds(
    lambda text, opaque: ReasoningPart(text, native={"type": "thinking", "thinking": text, "signature": opaque}),
    st.text(max_size=8), st.sampled_from(["c2ln", "EqQB+/=="]),
) | st.just(ReasoningPart("", native={"type": "redacted_thinking", "data": "b3Bh"}))  # fmt: skip
CALLS = st.builds(
    ToolCallPart, NAMES, WORDS, OBJECTS.map(lambda value: msgspec.json.encode(value).decode()),
    marks=MARKS | st.just({"caller": {"type": "code_execution_20250825", "tool_id": "s"}}),
)  # fmt: skip
NATIVES = st.just(NativePart("messages", "server_tool_use", {"type": "server_tool_use", "id": "s", "input": {}}))
TOOLS = st.lists(
    st.builds(
        Tool, NAMES, st.none() | WORDS, SCHEMAS, strict=st.sampled_from([None, True]),
        marks=MARKS | st.just({"input_examples": [{"a": 1}], "eager_input_streaming": True}),
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
)  # fmt: skip
TYPED = st.just(NativeTool("messages", "bash_20250124", {"type": "bash_20250124", "name": "bash"}))
SETTINGS = st.fixed_dictionaries(
    {"max_tokens": st.integers(2048, 9000)},
    optional={
        "temperature": st.floats(0, 1), "top_p": st.floats(0, 1), "top_k": st.integers(0, 99),
        "stop": st.lists(WORDS, min_size=1, max_size=3),
    },
)  # fmt: skip


@st.composite
def turns(draw):
    """Generate optional instructions, then turns of user and assistant, each with at least one part."""
    found = [Message("system", tuple(draw(st.lists(TEXTS, min_size=1, max_size=2))))] if draw(st.booleans()) else []
    for i in range(draw(st.integers(1, 4))):
        if i % 2 == 0:
            results = draw(st.lists(RESULTS, max_size=2))
            parts = results + draw(st.lists(TEXTS | IMAGES | FILES, min_size=0 if results else 1, max_size=3))
            found.append(Message("user", tuple(parts)))
        else:
            parts = draw(st.lists(THOUGHTS | TEXTS | CALLS | NATIVES, min_size=1, max_size=4))
            found.append(Message("assistant", tuple(parts)))
    return tuple(found)


@st.composite
def choices(draw, tools):
    names = [tool.name for tool in tools]
    if not names:
        return None, None
    choice = draw(st.none() | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))
                  | st.builds(ToolChoice, st.just("tool"), st.sampled_from(names)))  # fmt: skip
    serial = choice is not None and choice.mode != "none" and draw(st.booleans())
    return choice, Parameter(False, "") if serial else None


REASONING = st.sampled_from([
    None, Reasoning("disabled"), Reasoning("adaptive"), Reasoning("adaptive", "low"),
    Reasoning("adaptive", "max", summary=Parameter("auto")),
])  # fmt: skip


@st.composite
def calls(draw):
    """Generate a Messages client's request for an adaptive model of a Messages provider."""
    tools = (*draw(TOOLS), *draw(st.lists(TYPED, max_size=1)))
    choice, parallel = draw(choices([tool for tool in tools if isinstance(tool, Tool)]))
    forced = choice is not None and choice.mode in ("required", "tool")
    reasoning = None if forced else draw(REASONING)
    call = Request(
        "messages", "claude", draw(turns()), draw(st.booleans()), tools=tools, tool_choice=choice,
        parallel_tools=parallel, reasoning=reasoning,
        format=draw(st.none() | st.builds(Format, st.just("json_schema"), schema=SCHEMAS)),
        parameters={name: Parameter(value, "") for name, value in draw(SETTINGS).items()},
        source={"thinking": {}} if reasoning is not None else {},
    )  # fmt: skip
    return few_marks(call)


def few_marks(call):
    """Return ``call`` with only its first four cache marks."""
    left = [4]

    def convert(value):
        if isinstance(value, tuple):
            return tuple(map(convert, value))
        if not attrs.has(type(value)):
            return value
        names = [name for name in ("messages", "tools", "parts") if hasattr(value, name)]
        marks = getattr(value, "marks", None)
        if marks and "cache_control" in marks:
            left[0] -= 1
            marks = marks if left[0] >= 0 else {}
        changes = {name: convert(getattr(value, name)) for name in names}
        return attrs.evolve(value, **changes, **({} if marks is None else {"marks": marks}))

    return convert(call)
