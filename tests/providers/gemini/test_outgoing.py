"""Requests of other APIs' clients for a Gemini provider."""

import json

import attrs
import pytest

from providers.gemini.turns import PLACEHOLDER
from providers.neutral.request import (
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Message,
    NativeTool,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.request import Parameter as P
from providers.neutral.seal import Seal
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gemini_answers import FLASH, GOOGLE, OLD_FLASH, VERTEX, encode_count, encode_request
from tests.support.messages_requests import assistant, chat, controls, user

HELLO = {"role": "user", "parts": [{"text": "hello"}]}
WEATHER = Tool("weather", "says it", {"type": "object", "properties": {"$x": {"type": "string"}}}, at="tools[0]")
SEARCH = NativeTool("messages", "web_search_20260209", {"type": "web_search_20260209"}, "tools[1]")


def contents(*turns, model=FLASH, **quirks):
    return encode_request(chat(*turns), model, **quirks)[0]["contents"]


def sealed_part(issuer=GOOGLE, text="", **item):
    return ReasoningPart(text, Seal(issuer, "gemini", item), at="messages[1].r")


def call(id="c1", name="f", input='{"a": 1}'):
    return ToolCallPart(id, name, input, at="messages[1].c")


def result(id, *texts, error=False):
    return ToolResultPart(id, tuple(map(TextPart, texts)), error, at="messages[2]")


def refusal(request, model=FLASH):
    with pytest.raises(GatewayError) as raised:
        encode_request(request, model)
    assert raised.value.info.status == 400
    return raised.value.info


# Roles and texts


def test_instructions_alone_are_a_users_turn():
    body, _ = encode_request(chat(Message("developer", (TextPart("be kind"),), "messages[0]")))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "be kind"}]}]}


def test_instructions_contain_only_texts():
    image = ImagePart(MediaSource("url", "https://x"), at="messages[0].content[0]")
    system = Message("system", (image,), "messages[0]")
    assert refusal(chat(system, user("a"))).param == "messages[0].content[0]"


def test_empty_texts_and_turns_of_nothing_are_left_out():
    assert contents(user("", "a"), assistant(""), assistant(RefusalPart("no")), user("b")) == [
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "no"}]},
        {"role": "user", "parts": [{"text": "b"}]},
    ]


@each_row(
    "turns",
    [(user(""),), (assistant(call("1")), user(result("1", "x")))],
    ids=["only an empty text", "a call first (diegosouzapw/OmniRoute#13573, lbjlaq/Antigravity-Manager#3396)"],
)
def test_a_conversation_begins_with_a_message_of_the_user(turns):
    sent = contents(*turns)
    assert sent[0] == {"role": "user", "parts": [{"text": "(The conversation begins here.)"}]}
    assert [one["role"] for one in sent[1:]] == ["model", "user"][: 2 * (len(turns) - 1)]


# Signatures


def test_a_signature_of_another_endpoint_is_left_out_and_reported():
    """Vertex AI and the public API refuse each other's (BerriAI/litellm#32140, OpenRouterTeam/ai-sdk-provider#491)."""
    turn = assistant(sealed_part(VERTEX, part="functionCall", id="abc", signature="s"), call("abc"))
    body, dropped = encode_request(chat(user("hello"), turn))
    assert body["contents"][1]["parts"] == [
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": PLACEHOLDER}
    ]  # fmt: skip
    assert dropped == ("messages[].r", "messages[].c.thoughtSignature")


def test_calls_without_a_signature_have_what_google_documents_for_them():
    """agentjido/req_llm#427: the first of each step, and models before 3 want nothing."""
    turns = (user("a"), assistant(call("1"), call("2")), user(result("1", "x"), result("2", "y")), assistant(call("3")))
    parts = [part for one in contents(*turns) for part in one["parts"]]
    signed = [part.get("thoughtSignature") for part in parts if "functionCall" in part]
    assert signed == [PLACEHOLDER, None, PLACEHOLDER]
    assert PLACEHOLDER == "skip_thought_signature_validator"
    assert PLACEHOLDER not in json.dumps(contents(*turns, model=OLD_FLASH))


def test_signatures_are_on_parts_of_their_kind():
    """maximhq/bifrost#5984: a signed part is never joined with its neighbours, and one without text is not empty."""
    text = sealed_part(part="text", signature="s1")
    empty = sealed_part(part="text", empty=True, signature="s2")
    thought = sealed_part(text="hm", part="thought", signature="s3")
    native = {"toolCall": {"id": "t"}, "thoughtSignature": "s4"}
    tool = sealed_part(part="toolCall", native=native)
    signed = {"text": "b", "thoughtSignature": "s1"}
    own = {"text": "", "thoughtSignature": "s2"}
    cases = (
        ((text, TextPart("b")), [signed]),
        ((TextPart("b"), text), [signed]),
        ((TextPart("b"), text, call("abc"), TextPart("c")), [signed, ..., {"text": "c"}]),
        ((TextPart("b"), empty), [{"text": "b"}, own]),
        ((empty, TextPart("b")), [{"text": "b"}, own]),
        ((text,), [{"text": "", "thoughtSignature": "s1"}]),
        ((thought, TextPart("b")), [{"text": "hm", "thought": True, "thoughtSignature": "s3"}, {"text": "b"}]),
        ((tool, TextPart("b")), [native, {"text": "b"}]),
    )
    for parts, expected in cases:
        found = contents(user("hello"), assistant(*parts))[1]["parts"]
        found = [... if "functionCall" in part else part for part in found]
        assert found == expected, parts


def test_the_time_for_signatures_grows_linearly():
    """Any client can forge seals: the gateway scans each part a few times, not once per seal."""
    seals = [sealed_part(part="text", signature=f"s{i}", empty=i % 3 == 0) for i in range(5_000)]
    texts = [TextPart("t")] * 2_500
    parts = contents(user("hello"), assistant(*seals, *texts, *seals))[1]["parts"]
    assert sum("thoughtSignature" in part for part in parts) == 10_000
    assert all(part["text"] == "t" or "thoughtSignature" in part for part in parts)


def test_thoughts_that_nothing_was_to_be_given_back_for_are_no_loss():
    """The seal in a block of thoughts alone holds nothing."""
    empty = ReasoningPart("hm", Seal(GOOGLE, "messages", None), at="messages[1].r")
    other = ReasoningPart("hm", native={"type": "thinking"}, at="messages[1].o")
    body, dropped = encode_request(chat(user("hello"), assistant(empty, other, "a")))
    assert body["contents"][1]["parts"] == [{"text": "a"}]
    assert dropped == ("messages[].o",)


# Calls and results


RESULTS = (
    (("5",), {"result": 5}), (("x",), {"result": "x"}), (("[1]",), {"result": [1]}), (("null",), {"result": None}),
    (('{"a": 1}',), {"a": 1}), ((), {"result": ""}), (("a", "b"), {"result": "a\nb"}), (('"x"',), {"result": '"x"'}),
    (('{"$ref": "#/x"}',), {"result": '{"$ref": "#/x"}'}),
    (('[{"a": {"$defs" : {}}}]',), {"result": '[{"a": {"$defs" : {}}}]'}),
    (('{"id": 1234567890123456789}',), {"result": '{"id": 1234567890123456789}'}),
    (("218922995834555169026",), {"result": "218922995834555169026"}),
    (("\n-218922995834555169026 ",), {"result": "\n-218922995834555169026 "}),
    (("3.10",), {"result": "3.10"}), (("1e5",), {"result": "1e5"}), (("-0",), {"result": "-0"}),  # perhaps no numbers
    (("1.5\n",), {"result": 1.5}), (("true",), {"result": True}), (("[3.10]",), {"result": [3.1]}),
    (("3.14159265358979323846",), {"result": "3.14159265358979323846"}),
    (('{"pi": 31.4159265358979323846e-1}',), {"result": '{"pi": 31.4159265358979323846e-1}'}),
    (('{"x": 0.30000000000000004}',), {"x": 0.30000000000000004}),  # as Python writes doubles
    (('{"x": 0.0000123456789012345}',), {"x": 1.23456789012345e-05}),  # as JavaScript and Go do
    (('{"x": 0.2500000000000000000}',), {"x": 0.25}),
    (('{"x": 1.0000000000000001e-400}',), {"result": '{"x": 1.0000000000000001e-400}'}),
)  # fmt: skip


def test_a_result_is_always_an_object():
    """google/adk-js#347, decolua/9router#3318, AstrBotDevs/AstrBot#7216; what looks like a schema is text, for Google's
    parser takes its references for names of functions (vercel/ai#14369)."""
    for texts, expected in RESULTS:
        said = contents(user("a"), assistant(call("1")), user(result("1", *texts)))
        assert said[2]["parts"][0]["functionResponse"]["response"] == expected, texts
    said = contents(user("a"), assistant(call("1")), user(result("1", '{"a": 1}', error=True)))
    assert said[2]["parts"][0]["functionResponse"]["response"] == {"error": '{"a": 1}'}


def test_images_in_results_go_where_the_model_takes_them():
    """legacy-use/legacy-use#300"""
    image = ImagePart(MediaSource("base64", "iVBORw0K", "image/jpeg"))
    turns = (user("a"), assistant(call("1")), user(ToolResultPart("1", (TextPart("x"), image)), "and"))
    inline = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}
    assert contents(*turns)[2]["parts"][0]["functionResponse"]["parts"] == [inline]
    behind = contents(*turns, model=OLD_FLASH)[2]["parts"][1:]
    assert behind == [{"text": "Image from tool 1:"}, inline, {"text": "and"}]


@each_row("error", [False, True])
def test_a_text_file_in_a_result_belongs_to_its_text(error):
    """The parts of a result have no text: Google refuses one (``FunctionResponsePart`` of google-genai)."""
    sources = MediaSource("text", "y", "text/plain"), MediaSource("text", "z")
    parts = (TextPart("x"), *(FilePart(source) for source in sources))
    turns = (user("a"), assistant(call("1")), user(ToolResultPart("1", parts, is_error=error)))
    found = contents(*turns)[2]["parts"][0]["functionResponse"]
    assert found["response"] == {"error" if error else "result": "x\ny\nz"}
    assert "parts" not in found
    behind = contents(*turns, model=OLD_FLASH)[2]["parts"][1:]
    assert behind == [{"text": "File from tool 1:"}, {"text": "y"}, {"text": "File from tool 1:"}, {"text": "z"}]


# Tools


def test_schemas_are_sent_unchanged():
    """Without reduction, and never in both members."""
    body, _ = encode_request(chat(tools=(WEATHER, Tool("bare"))))
    assert body["tools"] == [
        {"functionDeclarations": [
            {"name": "weather", "description": "says it", "parametersJsonSchema": WEATHER.schema}, {"name": "bare"}
        ]}
    ]  # fmt: skip


@each_row(
    ("schema", "expected"),
    [
        ({"properties": {"x": {"type": "string"}}}, {"type": "object", "properties": {"x": {"type": "string"}}}),
        ({"$schema": "s"}, {"type": "object", "$schema": "s"}),
        ({"type": None, "properties": {}}, {"type": "object", "properties": {}}),
        ({"anyOf": [{"type": "object"}]}, {"anyOf": [{"type": "object"}]}),
        ({"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}),
    ],
)
def test_a_schema_without_a_type_is_that_of_an_object(schema, expected):
    """Google: "functionDeclaration parameters schema should be of type OBJECT", to EnterPlanMode of Claude's Agent SDK
    (BerriAI/litellm#19103) and tools of Copilot (diegosouzapw/OmniRoute#3360)."""
    body, dropped = encode_request(chat(tools=(attrs.evolve(WEATHER, schema=schema),)))
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == expected
    assert dropped == ()


def test_schemas_are_reduced_where_the_server_knows_no_other():
    text = {"type": ["string", "null"], "default": "a"}
    schema = {"type": "object", "additionalProperties": False, "$schema": "s", "properties": {"x": text}}
    tool = attrs.evolve(WEATHER, schema=schema)
    body, dropped = encode_request(chat(tools=(tool,)), schemas="subset")
    smaller = {"type": "object", "properties": {"x": {"type": "string", "nullable": True}}}
    assert body["tools"][0]["functionDeclarations"][0]["parameters"] == smaller
    assert set(dropped) == {"tools[].additionalProperties", "tools[].$schema", "tools[].default"}


def test_googles_own_tools_next_to_functions():
    """cloudwego/eino-ext#761, vercel/ai#13920, withceleste/celeste-python#197"""
    request = chat(tools=(WEATHER, SEARCH))
    body, dropped = encode_request(request)
    assert [list(one) for one in body["tools"]] == [["googleSearch"], ["functionDeclarations"]]
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "VALIDATED"}, "includeServerSideToolInvocations": True
    }  # fmt: skip
    assert dropped == ()
    assert encode_request(request, server_tool_invocations=False)[0]["toolConfig"] == {
        "functionCallingConfig": {"mode": "VALIDATED"}
    }  # fmt: skip
    body, dropped = encode_request(request, OLD_FLASH)
    assert [list(one) for one in body["tools"]] == [["functionDeclarations"]]
    assert dropped == ("tools[]",)
    assert encode_request(chat(tools=(SEARCH,)), OLD_FLASH)[0]["tools"] == [{"googleSearch": {}}]


# Formats


SCHEMA = Format("json_schema", "n", {"type": "object", "properties": {"a": {"type": "string"}}}, at="response_format")


def test_a_format_is_reported_with_its_schema_and_in_words_where_it_is_refused():
    """symfony/ai#803"""
    assert encode_request(chat(format=SCHEMA))[0]["generationConfig"] == {
        "responseMimeType": "application/json", "responseJsonSchema": SCHEMA.schema
    }  # fmt: skip
    plain = chat(format=Format("json_object"))
    assert encode_request(plain)[0]["generationConfig"] == {"responseMimeType": "application/json"}
    assert (
        encode_request(chat(format=SCHEMA), schemas="subset")[0]["generationConfig"]["responseSchema"] == SCHEMA.schema
    )
    both = chat(format=SCHEMA, tools=(WEATHER,))
    assert "responseJsonSchema" in encode_request(both)[0]["generationConfig"]
    body, dropped = encode_request(both, OLD_FLASH)
    assert "generationConfig" not in body
    assert json.dumps(SCHEMA.schema, separators=(",", ":")) in body["contents"][-1]["parts"][-1]["text"]
    assert dropped == ("response_format",)
    unlimited = chat(format=attrs.evolve(SCHEMA, schema=None), tools=(WEATHER,))
    body, _ = encode_request(unlimited, OLD_FLASH)
    assert "Answer with a single JSON object" in body["contents"][-1]["parts"][-1]["text"]


# Thinking


def thinking(model, api="chat", **members):
    request = Request(api, "m", (user("hello"),), reasoning=Reasoning(at="effort", **members))
    body, dropped = encode_request(request, model)
    return body.get("generationConfig", {}).get("thinkingConfig"), dropped


PRO, OLD_PRO, LITE = "gemini-3-pro-preview", "gemini-2.5-pro", "gemini-2.5-flash-lite"
THINKING = (
    (FLASH, {"effort": "high"}, {"thinkingLevel": "high"}, 0),
    (FLASH, {"effort": "xhigh"}, {"thinkingLevel": "high"}, 1),
    (FLASH, {"effort": "max"}, {"thinkingLevel": "high"}, 1),
    ("gemini-4-argon", {"effort": "high"}, {"thinkingLevel": "high"}, 0),
    ("gemini-4-argon", {"effort": "minimal"}, {"thinkingLevel": "low"}, 1),
    (FLASH, {"effort": "unheard"}, {}, 1),
    (FLASH, {"budget": 2000}, {"thinkingLevel": "low"}, 0),
    (FLASH, {"mode": "adaptive"}, {}, 0),
    (FLASH, {"effort": "none"}, {"thinkingLevel": "minimal"}, 0),
    (PRO, {"effort": "medium"}, {"thinkingLevel": "low"}, 1),
    (PRO, {"mode": "disabled"}, {"thinkingLevel": "low"}, 1),
    ("gemini-3.1-pro-preview", {"effort": "medium"}, {"thinkingLevel": "medium"}, 0),
    (OLD_FLASH, {"effort": "high"}, {"thinkingBudget": 16384}, 0),
    (OLD_FLASH, {"effort": "xhigh"}, {"thinkingBudget": 24576}, 0),
    (OLD_FLASH, {"effort": "unheard"}, {"thinkingBudget": 16384}, 1),
    (OLD_FLASH, {"budget": 100_000}, {"thinkingBudget": 24576}, 1),
    (OLD_FLASH, {"mode": "disabled"}, {"thinkingBudget": 0}, 0),
    (OLD_FLASH, {"mode": "adaptive"}, {"thinkingBudget": -1}, 0),
    (LITE, {"budget": 100}, {"thinkingBudget": 512}, 0),
    (OLD_PRO, {"effort": "none"}, {"thinkingBudget": 128}, 1),
    (OLD_PRO, {"effort": "max"}, {"thinkingBudget": 32768}, 0),
    ("gemini-2.0-flash", {"effort": "high"}, None, 1),
)


@each_row("effort", ["xhigh", "max"])
def test_a_model_with_the_level_xhigh_gets_it(effort):
    """``ThinkingLevel.XHIGH`` of google-genai; no public model has it yet, so an entry's quirks list it."""
    request = Request("chat", "m", (user("hello"),), reasoning=Reasoning(effort=effort, at="effort"))
    body, dropped = encode_request(request, FLASH, thinking_levels=("low", "medium", "high", "xhigh"))
    assert body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "xhigh"
    assert dropped == ()


def test_thinking_has_a_level_or_a_budget_and_never_both():
    """juspay/neurolink#1707, QwenLM/qwen-code#9094, maximhq/bifrost#2471"""
    for model, members, expected, lost in THINKING:
        found, dropped = thinking(model, **members)
        shown = found is not None and found.pop("includeThoughts", False)
        assert found == expected, (model, members)
        assert len(dropped) == lost, (model, members, dropped)
        off = members.get("effort") == "none" or members.get("mode") == "disabled"
        assert shown == (not off and expected is not None), (model, members)


def test_thoughts_are_shown_to_those_who_ask_for_them():
    for api, summary, shown in (
        ("messages", None, True), ("responses", None, False), ("responses", "auto", True),
        ("gemini", None, False), ("gemini", "auto", True), ("chat", None, True),
        ("converse", None, True), ("interactions", None, False),
        ("interactions", "auto", True),
    ):  # fmt: skip
        found, _ = thinking(FLASH, api, effort="low", summary=summary)
        assert ("includeThoughts" in found) == shown, (api, summary)
    assert "generationConfig" not in encode_request(chat())[0]


# Scalars


def test_scalars_have_the_names_of_each_api():
    parameters = controls(max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, seed=7, frequency_penalty=0.1,
                          presence_penalty=0.2, stop=["a"], logprobs=True, top_logprobs=3, n=1)  # fmt: skip
    body, dropped = encode_request(chat(parameters=parameters))
    assert body["generationConfig"] == {
        "maxOutputTokens": 5, "temperature": 0.5, "topP": 0.9, "topK": 3, "seed": 7, "frequencyPenalty": 0.1,
        "presencePenalty": 0.2, "stopSequences": ["a"], "responseLogprobs": True, "logprobs": 3,
    }  # fmt: skip
    assert dropped == ()


def test_values_above_a_limit_are_cut_and_listed():
    parameters = controls(stop=list("abcdef"), top_logprobs=30, logit_bias={"1": 2}, service_tier="flex")
    body, dropped = encode_request(chat(parameters=parameters))
    assert body["generationConfig"]["stopSequences"] == list("abcde")
    assert body["generationConfig"]["logprobs"] == 20
    assert set(dropped) == {"stop", "top_logprobs", "logit_bias", "service_tier"}


def test_only_complete_answers_have_several_candidates():
    body, dropped = encode_request(chat(parameters={"n": P(2, "n")}))
    assert (body["generationConfig"]["candidateCount"], dropped) == (2, ())
    assert refusal(attrs.evolve(chat(parameters={"n": P(2, "n")}), stream=True)).param == "n"
    assert refusal(chat(parameters={"n": P(9, "n")})).param == "n"
    assert refusal(attrs.evolve(chat(parameters={"n": P(2, "n")}), api="messages")).param == "n"


# Media


def media(part):
    return contents(user(part))[0]["parts"][0]


def inline(media_type, data):
    return {"inlineData": {"mimeType": media_type, "data": data}}


def file_data(uri, **members):
    return {"fileData": {**members, "fileUri": uri}}


VIDEO = "https://www.youtube.com/watch?v=1"


def test_media():
    for part, expected in (
        (ImagePart(MediaSource("base64", "/9j/4A", "image/jpg")), inline("image/jpeg", "/9j/4A")),
        (ImagePart(MediaSource("base64", "UklG")), inline("image/webp", "UklG")),
        (FilePart(MediaSource("url", "gs://b/a.pdf")), file_data("gs://b/a.pdf", mimeType="application/pdf")),
        (FilePart(MediaSource("url", VIDEO)), file_data(VIDEO)),
    ):
        assert media(part) == expected, part


def test_parts_in_the_wrong_role_become_a_separate_turn():
    """The types of Messages allow results in the model's turns and calls in the user's."""
    turns = (user("a", call("1")), assistant(result("1", "x"), "b", call("2", "g")), user(result("2", "y")))
    written = contents(*turns)
    assert [one["role"] for one in written] == ["user", "model", "user", "model", "user"]
    assert [next(iter(part)) for one in written for part in one["parts"]] == [
        "text", "functionCall", "functionResponse", "text", "functionCall", "functionResponse"
    ]  # fmt: skip
    assert [written[place]["parts"][0]["functionResponse"]["name"] for place in (2, 4)] == ["f", "g"]


def test_files_have_their_names_and_what_has_no_place_in_a_result_is_reported():
    file = FilePart(MediaSource("base64", "JVBE"), "a.pdf", "messages[3].content[0]", {"citations": {}})
    text = TextPart("x", "messages[2].content[1]", {"cache_control": {"type": "ephemeral"}})
    image = ImagePart(MediaSource("base64", "iVBORw0K"), "high", "messages[2].content[2]")
    held = attrs.evolve(file, at="messages[2].content[0]")
    turns = (user("a"), assistant(call("1")), user(ToolResultPart("1", (held, text, image))), user(file))
    body, dropped = encode_request(chat(*turns))
    assert body["contents"][2]["parts"][1:] == [{"text": "File a.pdf:"}, inline("application/pdf", "JVBE")]
    places = ("citations", "file.filename", "cache_control", "detail")
    assert {path.removeprefix("messages[].content[].") for path in dropped} >= set(places)
    body, _ = encode_request(attrs.evolve(chat(*turns), api="gemini"))
    assert body["contents"][2]["parts"][1]["inlineData"]["displayName"] == "a.pdf"


# Gemini's own, where the client speaks it and its answer has another form


def test_gemini_members_pass_to_gemini():
    source = {
        "safety_settings": [{"category": "X"}], "cachedContent": "cachedContents/1",
        "generation_config": {"image_config": {"a": 1}, "responseModalities": ["TEXT"]},
    }  # fmt: skip
    lost = ("safety_settings", "other")
    body, dropped = encode_request(Request("gemini", "m", (user("hello"),), source=source, dropped=lost))
    assert body["safetySettings"] == [{"category": "X"}]
    assert body["generationConfig"] == {"responseModalities": ["TEXT"], "imageConfig": {"a": 1}}
    assert dropped == ("other",)


def test_members_of_cached_content_are_a_400():
    source = {"cachedContent": "cachedContents/1"}
    failed = refusal(Request("gemini", "m", (user("hello"),), tools=(WEATHER,), source=source))
    assert failed.param == "tools"


def test_tokens_are_counted_of_the_whole_prompt():
    request = chat(Message("system", (TextPart("s"),), "messages[0]"), user("hello"), parameters=controls(max_tokens=5))
    asked = {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [HELLO]}
    assert encode_count(request) == {"generateContentRequest": {"model": f"models/{FLASH}", **asked}}
    assert encode_count(request, wrapped_count=False) == asked


def test_a_chat_client_requests_images_as_at_openrouter():
    for modalities, sent, dropped in [
        (["text", "image"], ["TEXT", "IMAGE"], ()), (["image"], ["IMAGE"], ()), (["text"], None, ()),
        (["text", "audio"], None, ("modalities",)), ([], None, ("modalities",)), ([1], None, ("modalities",)),
    ]:  # fmt: skip
        with case((modalities, sent, dropped)):
            body, lost = encode_request(chat(user(TextPart("a cat")), parameters=controls(modalities=modalities)))
            assert body.get("generationConfig", {}).get("responseModalities") == sent
            assert lost == dropped
