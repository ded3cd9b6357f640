"""Google's SDK for Python: manual calls of tools, and chats that call functions automatically."""

from typing import Any

from google import genai
from google.genai import types
from talk import AGAIN, KEY, MODEL, PLEASE, ROOT, SCHEMA, STREAM, VARIANT, look_into, report

client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=ROOT, timeout=60_000))
thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2000)
thoughts = 0


def by_hand(talked: list[Any]) -> str:
    """Return the final answer after all calls of tools; ``talked`` gets the messages."""
    global thoughts
    declared = types.FunctionDeclaration(
        name="look_into", description="Look into a box.", parameters_json_schema=SCHEMA
    )
    config = types.GenerateContentConfig(
        system_instruction="Be brief.", thinking_config=thinking, tools=[types.Tool(function_declarations=[declared])]
    )
    while True:
        if STREAM:
            chunks = list(client.models.generate_content_stream(model=MODEL, contents=talked, config=config))
        else:
            chunks = [client.models.generate_content(model=MODEL, contents=talked, config=config)]
        assert chunks[-1].usage_metadata.total_token_count > 0
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
        thoughts += any(part.thought and part.text for part in parts)
        talked.append(types.Content(role="model", parts=parts))
        calls = [part.function_call for part in parts if part.function_call]
        if not calls:
            return "".join(part.text for part in parts if part.text and not part.thought)
        results = [
            types.FunctionResponse(id=call.id, name=call.name, response={"result": look_into(**call.args)})
            for call in calls
        ]
        talked.append(types.Content(role="user", parts=[types.Part(function_response=result) for result in results]))


def by_itself() -> tuple[str, str]:
    global thoughts
    config = types.GenerateContentConfig(system_instruction="Be brief.", thinking_config=thinking, tools=[look_into])
    chat = client.chats.create(model=MODEL, config=config)

    def say(text: str) -> str:
        if STREAM:
            return "".join(chunk.text or "" for chunk in chat.send_message_stream(text))
        return str(chat.send_message(text).text)

    told = say(PLEASE), say(AGAIN)
    said = [part for content in chat.get_history(curated=True) for part in content.parts]
    thoughts += any(part.thought and part.text for part in said)
    return told


if VARIANT == "gemini":
    talked: list[Any] = [types.UserContent(PLEASE)]
    first = by_hand(talked)
    talked.append(types.UserContent(AGAIN))
    second = by_hand(talked)
else:
    first, second = by_itself()
report(first, second, thoughts)
