"""The reader of Gemini requests."""

import json
from typing import Any

from providers.gemini import GEMINI
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    NativeTool,
    ReasoningPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from tests.support.cases import case

HI = {"role": "user", "parts": [{"text": "hi"}]}


def read(**members: Any) -> Request:
    return GEMINI.read_request({"contents": [HI], **members})


def turns(*contents: Any) -> list[tuple[str, tuple[Any, ...]]]:
    return [(turn.role, turn.parts) for turn in GEMINI.read_request({"contents": list(contents)}).messages]


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def test_both_spellings_are_read_also_mixed():
    """Programs write members as the SDK for Python names them, or as the reference does, or both."""
    request = GEMINI.read_request(
        {
            "system_instruction": {"parts": [{"text": "Be kind."}]},
            "contents": [user({"inline_data": {"mime_type": "image/png", "data": "aW1n"}}, {"text": "what?"})],
            "generation_config": {
                "max_output_tokens": 9, "topP": 0.5, "response_mime_type": "application/json",
                "response_schema": {"type": "OBJECT", "properties": {"a_b": {"type": "STRING", "nullable": True}}},
                "thinking_config": {"thinking_budget": 100, "includeThoughts": True},
            },
            "tools": [
                {"google_search": {}, "function_declarations": [{"name": "f", "parameters_json_schema": {"a": 1}}]}
            ],
            "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
            "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
        }
    )  # fmt: skip
    assert [turn.role for turn in request.messages] == ["system", "user"]
    assert request.messages[1].parts[0] == ImagePart(
        MediaSource("base64", "aW1n", "image/png"), at="contents[0].parts[0]"
    )
    assert {name: control.value for name, control in request.parameters.items()} == {"max_tokens": 9, "top_p": 0.5}
    assert request.format.schema == {"type": "object", "properties": {"a_b": {"type": ["string", "null"]}}}
    assert request.format.at == "generation_config.response_schema"
    assert (request.reasoning.budget, request.reasoning.summary.value) == (100, "auto")
    function, search = request.tools
    assert isinstance(function, Tool)
    assert isinstance(search, NativeTool)
    assert (function.schema, search.kind) == ({"a": 1}, "google_search")
    assert request.tool_choice.mode == "none", "of both the reference's spelling counts"
    assert request.dropped == ("tool_config",)


def test_a_lone_object_counts_as_an_array_of_one():
    """Google's own examples leave the brackets out."""
    body = {"contents": {"parts": {"text": "hi"}}, "system_instruction": {"parts": {"text": "Be kind."}},
            "tools": {"function_declarations": {"name": "f"}}}  # fmt: skip
    request = GEMINI.read_request(body)
    assert [turn.parts[0].text for turn in request.messages] == ["Be kind.", "hi"]  # type: ignore[union-attr]
    assert [tool.name for tool in request.tools] == ["f"]  # type: ignore[union-attr]


def test_pieces_of_a_stream_that_come_back_are_one_turn():
    """google-genai's chats keep each piece of a stream as a content of its own."""
    found = turns(
        HI, model({"text": "It "}), model({"text": "is "}, {"text": "on."}), model({"text": ""}), user({"text": "ok"})
    )
    assert [(role, [part.text for part in said]) for role, said in found] == [
        ("user", ["hi"]), ("assistant", ["It is on."]), ("user", ["ok"]),
    ]  # fmt: skip


def test_existing_ids_stay():
    call = {"functionCall": {"id": "toolu_1", "name": "f", "args": {}}}
    (_, (found,)), (_, (result,)) = turns(HI, model(call), user({"functionResponse": {"id": "toolu_1", "name": "f"}}))[
        1:
    ]
    assert (found.id, result.call_id, result.parts) == ("toolu_1", "toolu_1", ())


def test_a_repeated_result_is_omitted():
    """Gemini CLI sends the results of a session that it resumes twice, and no other API takes two of one call."""
    call = {"functionCall": {"id": "c1", "name": "f"}}
    result = {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "x"}}}
    found = turns(HI, model(call), user(result), user(result), user({"text": "ok"}))
    assert [[type(part) for part in parts] for _, parts in found] == [
        [TextPart], [ToolCallPart], [ToolResultPart], [TextPart],
    ]  # fmt: skip


def test_function_results_are_read_as_text():
    """`{"result": …}` and `{"output": …}` contain the result, `{"error": …}` reports a failure."""
    for response, told in {
        '{"result": "a"}': ("a", False), '{"output": [1, 2]}': ("[1,2]", False), '{"error": "no"}': ("no", True),
        '{"error": null, "x": 1}': ('{"error":null,"x":1}', False), "{}": ("{}", False),
        '{"result": null}': ("", False),
    }.items():  # fmt: skip
        part = {"functionResponse": {"name": "f", "response": json.loads(response)}}
        ((_, (result,)),) = turns(user(part))
        assert isinstance(result, ToolResultPart)
        assert ("".join(text.text for text in result.parts), result.is_error) == told, response  # type: ignore[union-attr]


def test_images_next_to_a_result_are_part_of_it():
    image = {"inlineData": {"mimeType": "image/png", "data": "a-_b"}}
    ((_, (result,)),) = turns(user({"functionResponse": {"name": "f", "response": {}, "parts": [image]}}))
    assert isinstance(result, ToolResultPart)
    assert result.parts[1].source == MediaSource("base64", "a+/b", "image/png")  # type: ignore[union-attr]


def test_media_are_read_by_their_type():
    """google-genai writes bytes in the alphabet for addresses."""
    sound = {"inlineData": {"mimeType": "audio/mpeg", "data": "a-_"}}
    pdf = {"inlineData": {"mimeType": "application/pdf", "data": "cGRm", "displayName": "a.pdf"}}
    picture = {"fileData": {"mimeType": "image/png", "fileUri": "https://e.org/a.png"}}
    kept = {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/a.mp4"}}
    uploaded = {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}}
    ((_, parts),) = turns(user(sound, pdf, picture, kept, uploaded))
    assert parts[0] == AudioPart("a+/=", "mp3", "contents[0].parts[0]")
    assert parts[1] == FilePart(MediaSource("base64", "cGRm", "application/pdf"), "a.pdf", "contents[0].parts[1]")
    assert parts[2].source == MediaSource("url", "https://e.org/a.png", "image/png")
    assert [part.source.kind for part in parts[3:]] == ["file_id", "file_id"]


def test_gemini_s_own_signatures_stay_on_their_parts():
    """A signed part is never joined with its neighbours, and an empty text that is signed is not empty
    (maximhq/bifrost#5984)."""
    parts = [
        {"text": "Hm.", "thought": True}, {"text": "So.", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "a"}, {"text": "b", "thoughtSignature": "dGV4dA=="}, {"text": "c"},
        {"functionCall": {"id": "1", "name": "f"}, "thoughtSignature": "Y2FsbA=="},
        {"executableCode": {"code": "1"}, "thoughtSignature": "Y29kZQ=="}, {"text": "", "thoughtSignature": "bGFzdA=="},
    ]  # fmt: skip
    ((_, found),) = turns(model(*parts))
    told = [
        (part.text, part.native) if isinstance(part, ReasoningPart) else getattr(part, "text", type(part).__name__)
        for part in found
    ]
    assert told == [
        ("Hm.", {"part": "thought"}), ("So.", {"part": "thought", "signature": "c2ln"}),
        "a", ("", {"part": "text", "signature": "dGV4dA=="}), "b", "c",
        ("", {"part": "functionCall", "id": "1", "signature": "Y2FsbA=="}), "ToolCallPart",
        "NativePart", ("", {"part": "text", "empty": True, "signature": "bGFzdA=="}),
    ]  # fmt: skip
    native = found[-2]
    assert isinstance(native, NativePart)
    assert native.item == parts[-2]


def test_a_placeholder_signature_is_not_read_as_one():
    call = {"functionCall": {"name": "f"}, "thoughtSignature": "skip_thought_signature_validator"}
    ((_, found),) = turns(model(call))
    assert [type(part) for part in found] == [ToolCallPart]


def test_the_request_for_thoughts_is_read():
    for thinking, told in [
        ({"thinkingBudget": 0}, ("disabled", None, None, None)),
        ({"thinkingBudget": -1, "includeThoughts": True}, ("adaptive", None, None, "auto")),
        ({"thinkingBudget": 512}, ("enabled", None, 512, None)),
        ({"thinkingLevel": "LOW", "includeThoughts": True}, ("enabled", "low", None, "auto")),
        ({"includeThoughts": True}, ("adaptive", None, None, "auto")),
    ]:
        with case((thinking, told)):
            reasoning = read(generationConfig={"thinkingConfig": thinking}).reasoning
            assert reasoning is not None
            summary = reasoning.summary and reasoning.summary.value
            assert (reasoning.mode, reasoning.effort, reasoning.budget, summary) == told


def test_settings_are_read_as_programs_write_them():
    """google-genai writes `topK` as 40.0, and 64 bits are a text in Protocol Buffers' JSON."""
    settings = {"topK": 40.0, "maxOutputTokens": "100", "candidateCount": 2, "stopSequences": ["x"], "logprobs": 3,
                "responseLogprobs": True, "seed": 7}  # fmt: skip
    found = read(generationConfig=settings, safetySettings=[]).parameters
    assert {name: control.value for name, control in found.items()} == {
        "top_k": 40, "max_tokens": 100, "n": 2, "stop": ["x"], "top_logprobs": 3, "logprobs": True, "seed": 7,
    }  # fmt: skip
    assert type(found["top_k"].value) is int


def test_members_that_only_gemini_has_are_listed():
    request = read(
        safetySettings=[{"category": "X"}], generationConfig={"speechConfig": {}, "responseModalities": ["TEXT"]},
        labels={"a": "b"}, tools=[{"functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING"}]}],
    )  # fmt: skip
    assert set(request.dropped) == {
        "safetySettings", "generationConfig.speechConfig", "generationConfig.responseModalities", "labels",
        "tools[].functionDeclarations[].behavior",
    }  # fmt: skip


def test_googles_schemas_become_json_schemas():
    """Types in capitals, `nullable`, lengths as texts; a property that is called like a member stays."""
    google = {
        "type": "OBJECT", "propertyOrdering": ["type"], "required": ["type"],
        "properties": {
            "type": {"type": "STRING", "enum": ["a"], "nullable": True, "example": "a"},
            "min_items": {"type": "ARRAY", "minItems": "1", "items": {"type": "INTEGER", "format": "int32"}},
            "either": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
        },
    }  # fmt: skip
    (tool,) = read(tools=[{"functionDeclarations": [{"name": "f", "parameters": google}]}]).tools
    assert isinstance(tool, Tool)
    assert tool.schema == {
        "type": "object", "required": ["type"],
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["a", None], "examples": ["a"]},
            "min_items": {"type": "array", "minItems": 1, "items": {"type": "integer", "format": "int32"}},
            "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
        },
    }  # fmt: skip


def test_a_count_request_is_the_body_or_a_member_of_it():
    inner = {"model": "models/m", "contents": [HI], "systemInstruction": {"parts": [{"text": "Be kind."}]}}
    assert GEMINI.read_count({"generateContentRequest": inner}) == GEMINI.read_count(inner)
    assert len(GEMINI.read_count({"contents": [HI], "cachedContent": "c"}).messages) == 1
