"""The OpenAI SDK for Python, with its stream helpers."""

import json
from typing import Any

import openai
from talk import AGAIN, BASE, KEY, MODEL, PLEASE, SCHEMA, STREAM, VARIANT, look_into, report

client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=60)
thoughts = 0


def chat(messages: list[Any]) -> str:
    """Return the final answer after all calls of tools; ``messages`` gets the messages."""
    global thoughts
    function = {"name": "look_into", "description": "Look into a box.", "parameters": SCHEMA, "strict": True}
    asked: dict[str, Any] = {
        "model": MODEL, "messages": messages, "tools": [{"type": "function", "function": function}],
        "reasoning_effort": "medium",
    }  # fmt: skip
    while True:
        if STREAM:
            with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                deltas = [event.delta for event in stream if event.type == "content.delta"]
                done = stream.get_final_completion()
            assert "".join(deltas) == done.choices[0].message.content
        else:
            done = client.chat.completions.create(**asked)
        assert done.usage.total_tokens > 0
        message = done.choices[0].message
        thoughts += bool(getattr(message, "reasoning_content", None))
        messages.append(message.to_dict())
        for call in message.tool_calls or ():
            result = look_into(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        if not message.tool_calls:
            return str(message.content)


def responses(said: Any, previous: str | None) -> tuple[str, str]:
    """Return the final answer after all calls of tools, and the response id to continue from."""
    global thoughts
    tool = {"type": "function", "name": "look_into", "parameters": SCHEMA, "strict": True}
    items = [{"role": "user", "content": said}]
    while True:
        asked: dict[str, Any] = {
            "model": MODEL, "input": items, "tools": [tool], "reasoning": {"effort": "medium", "summary": "auto"},
            "include": ["reasoning.encrypted_content"], "previous_response_id": previous,
        }  # fmt: skip
        if STREAM:
            with client.responses.stream(**asked) as stream:
                deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
                done = stream.get_final_response()
            assert "".join(deltas) == done.output_text
        else:
            done = client.responses.create(**asked)
        assert done.usage.total_tokens > 0
        thoughts += sum(item.type == "reasoning" for item in done.output)
        calls = [item for item in done.output if item.type == "function_call"]
        if not calls:
            return done.output_text, done.id
        # a turn continues with the items themselves, the next session with the id of the response
        items += [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for item in done.output]
        for call in calls:
            output = look_into(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": output})


if VARIANT == "chat":
    talked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PLEASE}]
    first = chat(talked)
    talked.append({"role": "user", "content": AGAIN})
    report(first, chat(talked), thoughts)
else:
    first, id = responses(PLEASE, None)
    report(first, responses(AGAIN, id)[0], thoughts)
