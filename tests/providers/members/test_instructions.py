"""The operator's instructions around those of the client."""

import json

from providers.members.instructions import add_instructions
from providers.neutral.draft import Draft
from tests.support.cases import case

MARK = {"type": "ephemeral"}
BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"}
USER = {"role": "user", "content": "Hi"}


def block(text: str, **more: object) -> dict[str, object]:
    return {"type": "text", "text": text, **more}


def test_before_precedes_and_after_follows_all_instructions_of_the_client():
    for api, body, after in [
        ("chat", {"messages": [USER]},
         {"messages": [{"role": "system", "content": "B"}, {"role": "system", "content": "A"}, USER]}),
        ("chat", {"messages": [{"role": "developer", "content": "own"}, USER]},
         {"messages": [{"role": "developer", "content": "B"}, {"role": "developer", "content": "own"},
                       {"role": "developer", "content": "A"}, USER]}),
        ("chat", {"messages": [USER, {"role": "system", "content": "late"}, USER]},
         {"messages": [{"role": "system", "content": "B"}, USER, {"role": "system", "content": "late"},
                       {"role": "system", "content": "A"}, USER]}),
        ("messages", {}, {"system": [block("B"), block("A")]}),
        ("messages", {"system": "own"}, {"system": [block("B"), block("own"), block("A")]}),
        ("messages", {"system": [block("own", cache_control=MARK)]},
         {"system": [block("B"), block("own", cache_control=MARK), block("A")]}),
        ("messages", {"system": [BILLING, block("own")]},
         {"system": [BILLING, block("B"), block("own"), block("A")]}),
        ("messages", {"system": 7}, {"system": 7}),
        ("responses", {"input": "Hi"}, {"input": "Hi", "instructions": "B\n\nA"}),
        ("responses", {"instructions": "own"}, {"instructions": "B\n\nown\n\nA"}),
        ("responses", {"instructions": None}, {"instructions": "B\n\nA"}),
        ("gemini", {}, {"systemInstruction": {"parts": [{"text": "B"}, {"text": "A"}]}}),
        ("gemini", {"system_instruction": {"role": "user", "parts": {"text": "own"}}},
         {"system_instruction": {"role": "user", "parts": [{"text": "B"}, {"text": "own"}, {"text": "A"}]}}),
        ("gemini", {"systemInstruction": "own"},
         {"systemInstruction": {"parts": [{"text": "B"}, {"text": "own"}, {"text": "A"}]}}),
        ("converse", {"system": [{"text": "own"}, {"cachePoint": {"type": "default"}}]},
         {"system": [{"text": "B"}, {"text": "own"}, {"cachePoint": {"type": "default"}}, {"text": "A"}]}),
    ]:  # fmt: skip
        with case((api, body, after)):
            draft = Draft.of(json.dumps(body).encode())
            add_instructions(draft, api, ("B",), ("A",))
            assert json.loads(draft.encode()) == after


def test_the_clients_messages_keep_their_bytes():
    body = b'{"messages":[{ "role":"user", "content":"\\u00e9" }]}'
    draft = Draft.of(body)
    add_instructions(draft, "chat", ("B",), ())
    assert draft.encode() == body.replace(b"[{", b'[{"role":"system","content":"B"},{')
