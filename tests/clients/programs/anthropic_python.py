"""The Anthropic SDK for Python: its stream helper, and its tool runner, which keeps the conversation on the server."""

from typing import Any

import anthropic
from talk import AGAIN, KEY, MODEL, PLEASE, ROOT, SCHEMA, STREAM, VARIANT, look_into, report

client = anthropic.Anthropic(base_url=ROOT, api_key=KEY, max_retries=0, timeout=60)
thoughts = 0


def messages(talked: list[Any]) -> str:
    """Return the final answer after all calls of tools; ``talked`` gets the messages."""
    global thoughts
    tool = {"name": "look_into", "description": "Look into a box.", "input_schema": SCHEMA}
    asked: dict[str, Any] = {
        "model": MODEL, "max_tokens": 4000, "messages": talked, "tools": [tool],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }  # fmt: skip
    while True:
        if STREAM:
            with client.messages.stream(**asked) as stream:
                text = "".join(stream.text_stream)
                done = stream.get_final_message()
            assert text == "".join(block.text for block in done.content if block.type == "text")
        else:
            done = client.messages.create(**asked)
        assert done.usage.output_tokens > 0
        thoughts += sum(block.type == "thinking" for block in done.content)
        talked.append({"role": "assistant", "content": done.content})
        calls = [block for block in done.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in done.content if block.type == "text")
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": look_into(**call.input)} for call in calls
        ]
        talked.append({"role": "user", "content": results})


def runner(talked: list[Any]) -> str:
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 500, "messages": talked, "tools": [looking]}
    if STREAM:
        for stream in client.beta.messages.tool_runner(**asked, stream=True):
            done = stream.get_final_message()
    else:
        done = client.beta.messages.tool_runner(**asked).until_done()
    return "".join(block.text for block in done.content if block.type == "text")


looking = anthropic.beta_tool(look_into)
first_words = {"role": "user", "content": PLEASE}
if VARIANT == "messages":
    talked: list[Any] = [first_words]
    first = messages(talked)
    talked.append({"role": "user", "content": AGAIN})
    second = messages(talked)
else:
    first = runner([first_words])
    said = {"role": "assistant", "content": first}
    second = runner([first_words, said, {"role": "user", "content": AGAIN}])
report(first, second, thoughts)
