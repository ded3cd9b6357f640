"""Files of unknown type, for a provider of each API."""

import base64
import json
from typing import Any

import pytest

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.media import file_type
from providers.neutral.seal import Issuer
from streams.errors import GatewayError

TEXT = base64.b64encode(b"# Title").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("name", "label", "data", "expected"),
    [
        ("a.md", None, "", "text/markdown"), ("a.MD", "application/octet-stream", "", "text/markdown"),
        ("a.csv", "binary/octet-stream", "", "text/csv"), ("notes.docx", "application/octet-stream", "", DOCX),
        ("a.md", "Text/Plain; charset=utf-8", "", "text/plain"), (None, None, "", "application/pdf"),
        (None, "application/octet-stream", PDF, "application/pdf"),
        ("blob", "application/octet-stream", "AAAA", "application/octet-stream"),
    ],
)  # fmt: skip
def test_a_file_name_gives_the_type_if_the_label_is_vague(name: str, label: str, data: str, expected: str):
    assert file_type(name, label, data) == expected


def asking(api: str, name: str, data: str) -> Any:
    file = {"filename": name, "file_data": f"data:application/octet-stream;base64,{data}"}
    if api == "responses":
        return {"input": [{"type": "message", "role": "user", "content": [{"type": "input_file", **file}]}]}
    return {"messages": [{"role": "user", "content": [{"type": "file", "file": file}]}]}


def written(client: str, provider: str, name: str, data: str) -> Any:
    request = CODECS[client].read_request({"model": "m", **asking(client, name, data)})
    return json.loads(CODECS[provider].write_request(request, Recipient("m", Issuer("p", ""))).body)


@pytest.mark.parametrize("client", ["chat", "responses"])
def test_a_file_without_a_type_reaches_every_provider_as_what_it_is(client: str):
    """Browsers send Markdown as ``application/octet-stream`` (epam/ai-dial-chat#5779)."""
    block = written(client, "converse", "notes.md", TEXT)["messages"][0]["content"][0]
    assert block["document"]["format"] == "md"
    (part,) = written(client, "messages", "notes.md", TEXT)["messages"][0]["content"]
    assert part["source"] == {"type": "text", "media_type": "text/plain", "data": "# Title"}
    parts = written(client, "gemini", "notes.md", TEXT)["contents"][0]["parts"]
    assert parts[-1] == {"inlineData": {"mimeType": "text/markdown", "data": TEXT}}
    assert "data:text/markdown;base64," in json.dumps(written(client, "chat", "notes.md", TEXT))
    assert "data:text/markdown;base64," in json.dumps(written(client, "responses", "notes.md", TEXT))
    assert written(client, "converse", "paper", PDF)["messages"][0]["content"][0]["document"]["format"] == "pdf"


@pytest.mark.parametrize("client", ["chat", "responses"])
def test_an_unsupported_converse_file_is_refused_with_the_supported_types(client: str):
    with pytest.raises(GatewayError) as raised:
        written(client, "converse", "blob", "AAAA")
    message = raised.value.info.message
    assert "application/octet-stream" in message
    for word in ("PDF", "Word", "Excel", "CSV", "HTML", "Markdown", "plain text", "file name"):
        assert word in message
