"""Requests, streams and whole answers that are written and read again; OpenAI's own client joins a stream to the whole
answer."""

import json

from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.chat import CHAT
from providers.grammar import judge
from providers.neutral.codec import Recipient
from providers.neutral.parameters import ROWS
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Message,
    NativeTool,
    Parameter,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)  # fmt: skip
from streams.fold import Answer, fold
from tests.support.chat_wire import OWN, chunks, content, read, reply, write
from tests.support.provider_streams import check_order, without_places
from tests.support.responses_strategies import legal_events

# Requests

texts = st.text(min_size=1, max_size=6)
names = st.sampled_from(["f", "g", "h"])
objects = st.dictionaries(texts, st.integers() | st.booleans() | texts, max_size=2)
breakpoints = st.sampled_from([{}, {"prompt_cache_breakpoint": {"mode": "explicit"}}])
data = st.binary(min_size=1, max_size=4).map(lambda value: value.hex() + "==")

text_parts = st.builds(TextPart, texts, marks=breakpoints)
image_sources = st.builds(MediaSource, st.just("url"), texts.map("https://{}".format)) | st.builds(
    MediaSource, st.just("base64"), data, st.sampled_from(["image/png", "image/webp"])
)
image_parts = st.builds(ImagePart, image_sources, st.sampled_from([None, "low", "high"]), marks=breakpoints)
audio_parts = st.builds(AudioPart, data, st.sampled_from(["wav", "mp3"]), marks=breakpoints)
file_parts = st.builds(
    FilePart, st.builds(MediaSource, st.just("base64"), data, st.just("application/pdf")), texts, marks=breakpoints
) | st.builds(FilePart, st.builds(MediaSource, st.just("file_id"), texts))
user_parts = st.lists(text_parts | image_parts | audio_parts | file_parts, min_size=1, max_size=3).map(tuple)
instructions = st.lists(text_parts, min_size=1, max_size=2).map(tuple)
other_turns = st.builds(Message, st.just("user"), user_parts, name=st.none() | texts) | st.builds(
    Message, st.sampled_from(["system", "developer"]), instructions
)
thoughts = texts.map(lambda text: ReasoningPart(text, native={"reasoning_content": text}))


@st.composite
def rounds(draw, number: int) -> list[Message]:
    """Generate assistant messages, the results of their calls in order, and other messages."""
    kinds = draw(st.lists(st.sampled_from(["function", "custom"]), max_size=2))
    calls = [ToolCallPart(f"call_{number}_{i}", draw(names), draw(texts.filter(str.strip)), kind)
             for i, kind in enumerate(kinds)]  # fmt: skip
    said = [*draw(st.lists(text_parts, max_size=2)), *draw(st.lists(st.builds(RefusalPart, texts), max_size=1))]
    if not (said or calls):
        said = [TextPart("a")]
    assistant = Message(
        "assistant", (*draw(st.lists(thoughts, max_size=1)), *said, *calls), name=draw(st.none() | texts)
    )
    results = [Message("user", (ToolResultPart(call.id, (draw(text_parts),), kind=call.kind),)) for call in calls]
    return [assistant, *results, *draw(st.lists(other_turns, min_size=1, max_size=2))]


grammars = st.sampled_from([None, {"type": "text"}, {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}])
function_tools = st.builds(Tool, names, st.none() | texts, objects, strict=st.sampled_from([None, True, False]))
custom_tools = st.builds(Tool, names, st.none() | texts, kind=st.just("custom"), format=grammars)
own_tools = st.lists(function_tools | custom_tools, max_size=3, unique_by=lambda tool: tool.name)


@st.composite
def choices(draw, tools: list[Tool]) -> ToolChoice | None:
    one = draw(st.sampled_from(tools))
    several = tuple(draw(st.lists(st.sampled_from([tool.name for tool in tools]), min_size=1, unique=True)))
    return draw(
        st.sampled_from(
            [
                None,
                *map(ToolChoice, ("auto", "none", "required")),
                ToolChoice("tool", one.name, one.kind),
                ToolChoice("auto", allowed=several),
                ToolChoice("required", allowed=several),
            ]
        )
    )


settings = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 9),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "stop": st.lists(texts, min_size=1, max_size=4),
        "seed": st.integers(),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.floats(-2, 2),
        "logit_bias": st.dictionaries(texts, st.integers(-100, 100), max_size=2),
        "logprobs": st.just(True),
        "prediction": st.just({"type": "content", "content": "x"}),
        "web_search_options": st.just({"search_context_size": "low"}),
        "verbosity": st.just("low"),
        "metadata": st.dictionaries(texts, texts, max_size=2),
        "moderation": st.just({"model": "x"}),
        "prompt_cache_key": texts,
        "prompt_cache_options": st.just({"mode": "explicit", "ttl": "30m"}),
        "prompt_cache_retention": st.just("24h"),
        "safety_identifier": texts,
        "service_tier": st.sampled_from(["auto", "flex"]),
        "store": st.booleans(),
        "user": texts,
    },
)
efforts = st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"])
reasonings = efforts.map(lambda effort: Reasoning("disabled" if effort == "none" else "enabled", effort))
formats = st.just(Format("json_object")) | st.builds(
    Format, st.just("json_schema"), texts, objects, st.sampled_from([None, True, False]), st.none() | texts
)


@st.composite
def requests(draw) -> Request:
    """Generate a request in Chat's words alone, in our own way of writing them."""
    turns = draw(st.lists(other_turns, min_size=1, max_size=2))
    for number in range(draw(st.integers(0, 2))):
        turns += draw(rounds(number))
    tools = draw(own_tools)
    native = draw(st.lists(st.just(NativeTool("chat", "browser", {"type": "browser", "x": 1})), max_size=1))
    given = draw(settings)
    if "logprobs" in given and draw(st.booleans()):
        given["top_logprobs"] = draw(st.integers(0, 20))
    controls = {row.name: Parameter(given[row.name], "") for row in ROWS if row.name in given}
    stream = draw(st.booleans())
    return Request(
        "chat", "m", tuple(turns), stream, include_usage=stream, tools=(*tools, *native),
        tool_choice=draw(choices(tools)) if tools else None,
        parallel_tools=draw(st.none() | st.builds(Parameter, st.booleans(), st.just(""))) if tools else None,
        reasoning=draw(st.none() | reasonings), format=draw(st.none() | formats), parameters=controls,
    )  # fmt: skip


@given(requests())
def test_a_request_that_chat_can_say_is_the_same_after_the_way_through_it(call):
    to = Recipient("m", OWN, Quirks(cache_breakpoints=True))
    out = CHAT.write_request(call, to)
    again = CHAT.read_request(json.loads(out.body))
    assert out.dropped == again.dropped == ()
    assert without_places(again) == without_places(call)
    assert CHAT.write_request(again, to) == out


# Answers


def content_and_logprobs(answer: Answer) -> tuple:
    return content(answer), [token for block in answer.blocks for token in getattr(block, "logprobs", ())]


@given(legal_events("chat", whole=True))
def test_a_written_answer_reads_back_unchanged(events):
    written = read([write(events)])
    check_order(written)
    whole = CHAT.read_answer(CHAT.write_answer(fold(events), reply()))
    assert (
        content_and_logprobs(fold(written)) == content_and_logprobs(fold(whole)) == content_and_logprobs(fold(events))
    )


def join_stream(stream: bytes) -> dict:
    """Join a stream with OpenAI's own client."""
    state = ChatCompletionStreamState()
    for chunk in chunks(stream):
        list(state.handle_chunk(ChatCompletionChunk.construct(**chunk)))
    return stable_parts(state.current_completion_snapshot.to_dict())


def stable_parts(answer: dict) -> dict:
    """Remove the varying parts of an answer, the client's additions, and the tier, which it reads from the first chunk
    only."""
    answer = {name: one for name, one in answer.items() if name not in ("id", "service_tier") and one is not None}
    for choice in answer["choices"]:
        message = choice["message"] = {name: one for name, one in choice["message"].items() if one is not None}
        message.pop("parsed", None)
        if not message.get("annotations"):  # a stream has a delta only for those that there are
            message.pop("annotations", None)
        for call in message.get("tool_calls", ()):
            call.pop("index", None)
            if call["type"] == "function":
                call["function"].pop("parsed_arguments", None)
            else:
                call.pop("function", None)
    return answer


@given(legal_events("chat", whole=True))
def test_openais_client_puts_a_stream_together_to_the_whole_answer(events):
    body = CHAT.write_answer(fold(events), reply())
    ChatCompletion.model_validate_json(body)
    expected = stable_parts(json.loads(body))
    assert join_stream(write(events)) == expected
    verdicts = [judge("chat", body)]
    for include_usage in (True, False):
        stream = write(events, include_usage=include_usage)
        verdicts.append(judge("chat", stream, include_usage=include_usage))
    # Mistakes of the model, such as invalid arguments, remain.
    assert {one.broken and one.broken.rule for one in verdicts} <= {None, "chat.tool.json"}
    without = {name: value for name, value in expected.items() if name != "usage"}
    assert join_stream(stream) == without
