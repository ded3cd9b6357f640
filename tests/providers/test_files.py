"""Files of unknown type, for a provider of each API."""

import base64
import json
import tracemalloc
from itertools import product
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.media import file_type, url_source
from providers.neutral.request import MediaSource
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row

TEXT = base64.b64encode(b"# Title").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def test_a_file_name_gives_the_type_if_the_label_is_vague():
    for name, label, data, expected in [
        ("a.md", None, "", "text/markdown"), ("a.MD", "application/octet-stream", "", "text/markdown"),
        ("a.csv", "binary/octet-stream", "", "text/csv"), ("notes.docx", "application/octet-stream", "", DOCX),
        ("a.md", "Text/Plain; charset=utf-8", "", "text/plain"), (None, None, "", "application/pdf"),
        (None, "application/octet-stream", PDF, "application/pdf"),
        ("blob", "application/octet-stream", "AAAA", "application/octet-stream"),
    ]:  # fmt: skip
        with case((name, label, data, expected)):
            assert file_type(name, label, data) == expected


def asking(api: str, name: str, data: str) -> Any:
    file = {"filename": name, "file_data": f"data:application/octet-stream;base64,{data}"}
    if api == "responses":
        return {"input": [{"type": "message", "role": "user", "content": [{"type": "input_file", **file}]}]}
    return {"messages": [{"role": "user", "content": [{"type": "file", "file": file}]}]}


def write_for(client: str, provider: str, name: str, data: str) -> Any:
    request = CODECS[client].read_request({"model": "m", **asking(client, name, data)})
    return json.loads(CODECS[provider].write_request(request, Recipient("m", Issuer("p", ""))).body)


@each_row("client", ["chat", "responses"])
def test_a_file_without_a_type_reaches_every_provider_with_its_type(client: str):
    """Browsers send Markdown as ``application/octet-stream`` (epam/ai-dial-chat#5779)."""
    block = write_for(client, "converse", "notes.md", TEXT)["messages"][0]["content"][0]
    assert block["document"]["format"] == "md"
    (part,) = write_for(client, "messages", "notes.md", TEXT)["messages"][0]["content"]
    assert part["source"] == {"type": "text", "media_type": "text/plain", "data": "# Title"}
    parts = write_for(client, "gemini", "notes.md", TEXT)["contents"][0]["parts"]
    assert parts[-1] == {"inlineData": {"mimeType": "text/markdown", "data": TEXT}}
    assert "data:text/markdown;base64," in json.dumps(write_for(client, "chat", "notes.md", TEXT))
    assert "data:text/markdown;base64," in json.dumps(write_for(client, "responses", "notes.md", TEXT))
    assert write_for(client, "converse", "paper", PDF)["messages"][0]["content"][0]["document"]["format"] == "pdf"


@each_row("client", ["chat", "responses"])
def test_an_unsupported_converse_file_is_refused_with_the_supported_types(client: str):
    with pytest.raises(GatewayError) as raised:
        write_for(client, "converse", "blob", "AAAA")
    message = raised.value.info.message
    assert "application/octet-stream" in message
    for word in ("PDF", "Word", "Excel", "CSV", "HTML", "Markdown", "plain text", "file name"):
        assert word in message


MP4 = base64.b64encode(b"ftypmp42").decode()
YOUTUBE = "https://www.youtube.com/watch?v=1"


def video_of(provider: str, url: str) -> Any:
    """Return the video that a provider of an API gets of a Chat client, as the Vercel AI SDK sends it."""
    part = {"type": "video_url", "video_url": {"url": url}}
    request = CODECS["chat"].read_request({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    assert request.dropped == ()
    body = json.loads(CODECS[provider].write_request(request, Recipient("m", Issuer("p", ""))).body)
    turns = {"chat": "messages", "converse": "messages", "gemini": "contents", "interactions": "input"}
    turn = body[turns[provider]][0]
    return (turn.get("content") or turn["parts"])[0]


@each_row("label", ["video/mp4", "VIDEO/MP4", "application/octet-stream"])
def test_a_video_of_a_chat_client_reaches_every_provider_that_has_videos(label: str):
    url = f"data:{label};base64,{MP4}"
    written = {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{MP4}"}}
    assert video_of("chat", url) == written
    assert video_of("converse", url) == {"video": {"format": "mp4", "source": {"bytes": MP4}}}
    assert video_of("gemini", url) == {"inlineData": {"mimeType": "video/mp4", "data": MP4}}
    assert video_of("interactions", url) == {"type": "video", "data": MP4, "mime_type": "video/mp4"}


def test_the_link_of_a_video_reaches_providers_that_fetch_it():
    link = "https://example.com/a.webm?b=1"
    assert video_of("chat", link) == {"type": "video_url", "video_url": {"url": link}}
    assert video_of("interactions", link) == {"type": "video", "uri": link, "mime_type": "video/webm"}
    assert video_of("gemini", YOUTUBE) == {"fileData": {"mimeType": "video/mp4", "fileUri": YOUTUBE}}
    assert video_of("converse", "s3://b/a.mov") == {
        "video": {"format": "mov", "source": {"s3Location": {"uri": "s3://b/a.mov"}}}
    }
    for provider in ("gemini", "converse"):
        with pytest.raises(GatewayError, match=r"send (?:the|its) content"):
            video_of(provider, link)


FILMS = [f"data:video/mp4;base64,{MP4}", YOUTUBE, "https://example.com/a.mp4", "https://[x/a.webm?b"]


def test_a_video_is_refused_for_providers_without_videos():
    """They were sent as documents, which these providers refuse with other words."""
    for provider in ["messages", "responses"]:
        for url in FILMS:
            for client in ["chat", "gemini", "gemini without a type", "interactions"]:
                with case((provider, url, client)):
                    api, _, untyped = client.partition(" ")
                    label = {} if untyped else {"mimeType": "video/mp4"}
                    bodies: dict[str, Any] = {
                        "chat": turn({"type": "video_url", "video_url": {"url": url}}),
                        "gemini": {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": url, **label}}]}]},
                        "interactions": {"input": [{"type": "video", "uri": url}]},
                    }
                    with pytest.raises(GatewayError, match=r"(?:is a video, which|is not supported by)") as refused:
                        write_to(provider, api, bodies[api])
                    assert refused.value.info.status == 400
                    assert refused.value.info.param is not None


def test_a_video_at_an_address_without_a_type_is_a_video_for_other_providers():
    for url in FILMS[1:]:
        body = {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": url}}]}]}
        (part,) = write_to("chat", "gemini", body)["messages"][0]["content"]
        assert part == {"type": "video_url", "video_url": {"url": url}}
        (step,) = write_to("interactions", "gemini", body)["input"]
        assert step["content"][0]["type"] == "video"


@each_row("address", ["https://youtube.com.example.org/a", "https://example.org/a", "https://e.org/a.pdf"])
def test_other_addresses_stay_documents(address: str):
    body = {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": address}}]}]}
    (part,) = write_to("messages", "gemini", body)["messages"][0]["content"]
    assert part == {"type": "document", "source": {"type": "url", "url": address}}


@each_row("provider", ["gemini", "interactions"])
def test_the_type_of_a_file_needs_no_valid_link(provider: str):
    link = "https://[x/a.pdf"
    content = {"role": "user", "parts": [{"fileData": {"fileUri": link}}]}
    request = CODECS["gemini"].read_request({"model": "m", "contents": [content]})
    body = json.loads(CODECS[provider].write_request(request, Recipient("m", Issuer("p", ""))).body)
    assert f'"{link}"' in json.dumps(body)
    assert '"application/pdf"' in json.dumps(body)


def test_the_type_of_a_video_needs_no_valid_link():
    for link, expected in [
        ("https://[x/a.mp4", "video/mp4"),
        ("http://a]b/c.webm", "video/webm"),
        ("https://[x/a.webm?b=c.mp4#d.mov", "video/webm"),
        ("https://[x/a.webm#b?c.mp4", "video/webm"),
        ("http://a]b", "video/mp4"),
    ]:
        with case((link, expected)):
            assert video_of("interactions", link) == {"type": "video", "uri": link, "mime_type": expected}


@each_row(
    ("client", "turns"),
    [
        ("gemini", {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "video/mov", "data": MP4}}]}]}),
        (
            "converse",
            {"messages": [{"role": "user", "content": [{"video": {"format": "mov", "source": {"bytes": MP4}}}]}]},
        ),
        ("interactions", {"input": [{"type": "video", "mime_type": "video/mov", "data": MP4}]}),
    ],
)
def test_videos_of_other_clients_are_video_parts_for_chat_providers(client: str, turns: Any):
    request = CODECS[client].read_request({"model": "m", **turns})
    body = json.loads(CODECS["chat"].write_request(request, Recipient("m", Issuer("p", ""))).body)
    url = f"data:video/mov;base64,{MP4}"
    assert body["messages"][0]["content"] == [{"type": "video_url", "video_url": {"url": url}}]
    body = json.loads(CODECS["converse"].write_request(request, Recipient("m", Issuer("p", ""))).body)
    assert body["messages"][0]["content"] == [{"video": {"format": "mov", "source": {"bytes": MP4}}}]


def test_a_video_format_that_bedrock_lacks_is_refused():
    with pytest.raises(GatewayError, match="video/ogg, which this model's provider does not support: send MP4"):
        video_of("converse", f"data:video/ogg;base64,{MP4}")


def test_a_data_url_of_every_form_becomes_base64() -> None:
    """RFC 2397: the content is base64 or percent-encoded, and the scheme has no case."""
    for url, kind, data in [
        ("data:image/png;base64,AAAA", "image/png", "AAAA"),
        ("DATA:image/PNG;charset=x;BASE64,AAAA", "image/png", "AAAA"),
        ("data:image/png;base64;charset=x,AAAA", "image/png", "AAAA"),
        ("data:image/png; base64,AAAA", "image/png", "AAAA"),
        ("data:;base64,AAAA", None, "AAAA"),
        ("data:image/png;base64,A%2BA%3D", "image/png", "A+A="),
        ("data:image/svg+xml,%3Csvg%3E", "image/svg+xml", "PHN2Zz4="),
    ]:
        with case((url, kind, data)):
            assert url_source(url, "at") == MediaSource("base64", data, kind)


def test_an_address_stays_and_a_broken_data_url_is_refused() -> None:
    assert url_source("https://a.test/b.png", "at") == MediaSource("url", "https://a.test/b.png")
    with pytest.raises(GatewayError, match="at is not a valid data: URL"):
        url_source("data:image/png;base64", "at")
    long = f"data:image/png{';a=b' * 1000},AAAA"  # a search for its end would block every stream
    for form in (long, "data:text/plain,a\ud800", "data:text/plain;base64,YQ%3D\ud800"):
        with pytest.raises(GatewayError, match="at is not a valid data: URL"):
            url_source(form, "at")


def test_percent_encoded_content_decodes_as_in_the_standard_library() -> None:
    """Escapes may be invalid, and anywhere in the pieces that are decoded separately."""
    texts = (
        "%41" * 22_000,
        "a%41" * 17_000,
        "%%%%" * 17_000 + "%4",
        "%zz%",
        "é%C3%A9" * 10_000,
        "",
        "=",
        "a=\r\n=41_ \n",
    )
    for text in (*texts, "%3D%3d=%0A%\r\n%25%2541%fF%Fg", bytes(range(256)).decode("latin-1") * 300):
        for before in ("", "a", "ab"):
            expected = base64.b64encode(unquote_to_bytes(before + text)).decode()
            assert url_source(f"data:text/plain,{before}{text}", "at").value == expected


def test_decoding_percent_encoded_content_takes_little_memory() -> None:
    """``unquote_to_bytes`` needs 80 times the size of the text."""
    for head in ("data:image/png,", "data:image/png;base64,"):
        url = head + "%41" * 700_000
        tracemalloc.start()
        try:
            url_source(url, "at")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5 * len(url)


CONTENTS = (("image/png", b"\x89PNG\r\n\x1a\n"), ("application/pdf", b"%PDF-1.7 a+b"), ("text/plain", "é, b".encode()))


def with_url(client: str, url: str) -> Any:
    """Return the turns of a client of an API with an image or file at ``url``."""
    media_type = url[len("data:") :].partition(",")[0].partition(";")[0].lower()
    image = media_type.startswith("image/")
    match client:
        case "chat":
            file = {"type": "file", "file": {"file_data": url}}
            return turn({"type": "image_url", "image_url": {"url": url}} if image else file)
        case "messages":
            source = {"type": "url", "url": url}
            return {"max_tokens": 9, **turn({"type": "image" if image else "document", "source": source})}
        case "responses":
            part = {"type": "input_image", "image_url": url} if image else {"type": "input_file", "file_url": url}
            return {"input": [{"role": "user", "content": [part]}]}
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": url, "mimeType": media_type}}]}]}
        case "converse":
            source = {"s3Location": {"uri": url}}
            image_block = {"image": {"format": media_type.rpartition("/")[2], "source": source}}
            document = {"format": {"text/plain": "txt"}.get(media_type, "pdf"), "name": "d", "source": source}
            return turn(image_block if image else {"document": document})
        case _:
            return {"input": [{"type": "image" if image else "document", "uri": url}]}


def turn(part: Any) -> Any:
    return {"messages": [{"role": "user", "content": [part]}]}


@each_row("client, provider", product(CODECS, CODECS))
def test_a_data_url_of_every_form_reaches_every_provider_as_base64(client: str, provider: str) -> None:
    """A percent-encoded image became text for Gemini, passed as a link, or was refused."""
    for media_type, content in CONTENTS:
        with case(media_type):
            encoded = base64.b64encode(content).decode()
            sent = [
                write_to(provider, client, with_url(client, url))
                for url in (
                    f"data:{media_type};base64,{encoded}",
                    f"data:{media_type},{quote(content)}",
                    f"DATA:{media_type.upper()},{quote(content)}",
                    f"data:{media_type};charset=UTF-8,{quote(content)}",
                )
            ]
            # Converse clients' text files are texts, and Messages providers get them as such
            is_text = media_type == "text/plain" and (provider == "messages" or client == "converse")
            assert (content.decode() if is_text and provider != "converse" else encoded) in json.dumps(
                sent[0], ensure_ascii=False
            )
            assert sent[1:] == sent[:1] * 3


def write_to(provider: str, client: str, turns: Any) -> Any:
    """Return the body that a provider of an API gets of a client of another. Nothing may be lost."""
    model = {} if client == "converse" else {"model": "m"}  # which the path of Converse has
    request = CODECS[client].read_request({**model, **turns})
    sent = CODECS[provider].write_request(request, Recipient("m", Issuer("p", "")))
    assert not sent.dropped
    return json.loads(sent.body)


@each_row("client", CODECS)
def test_an_invalid_data_url_is_refused_with_its_path(client) -> None:
    with pytest.raises(GatewayError, match="is not a valid data: URL") as raised:
        CODECS[client].read_request({"model": "m", **with_url(client, "data:image/png")})
    assert raised.value.info.param
    assert raised.value.info.status == 400


def test_a_sound_in_a_data_url_is_audio() -> None:
    part = {"fileData": {"fileUri": "data:audio/wav,a", "mimeType": "audio/wav"}}
    heard = {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}
    for client, turns in (
        ("gemini", {"contents": [{"role": "user", "parts": [part]}]}),
        ("interactions", {"input": [{"type": "audio", "uri": "data:audio/wav,a"}]}),
    ):
        assert write_to("chat", client, turns)["messages"][0]["content"] == [heard], client


WAV = base64.b64encode(b"RIFF\0\0\0\0WAVE").decode()


def heard_by(provider: str, url: str) -> Any:
    """Return the content that a provider of an API gets of a Chat client's ``audio_url``, vLLM's form."""
    written = write_to(provider, "chat", turn({"type": "audio_url", "audio_url": {"url": url}}))
    turns = next(written[name] for name in ("messages", "contents", "input") if name in written)
    return (turns[0].get("content") or turns[0]["parts"])[0]


@each_row("label", ["audio/wav", "AUDIO/X-WAV", "application/octet-stream", ""])
def test_a_sound_at_a_data_url_reaches_every_provider_that_hears(label) -> None:
    for url in (f"data:{label};base64,{WAV}", f"data:{label},{quote(base64.b64decode(WAV))}"):
        assert heard_by("chat", url) == {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
        assert heard_by("gemini", url) == {"inlineData": {"mimeType": "audio/wav", "data": WAV}}
        assert heard_by("converse", url) == {"audio": {"format": "wav", "source": {"bytes": WAV}}}
        assert heard_by("interactions", url) == {"type": "audio", "data": WAV, "mime_type": "audio/wav"}
        for provider in ("messages", "responses"):
            with pytest.raises(GatewayError, match=r"messages\[0\].content\[0\] is") as refused:
                heard_by(provider, url)
            assert refused.value.info.status == 400
    mp3 = {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}
    assert [heard_by("chat", f"data:{kind};base64,SUQz") for kind in ("audio/mpeg", "audio/mp3", "")] == [mp3] * 3


@each_row("label", [{}, {"mime_type": ""}, {"mime_type": "application/octet-stream"}])
def test_a_sound_or_film_of_an_interaction_needs_no_type(label: dict[str, str]) -> None:
    """Sounds had the format "" or that of the label, and links of both were those of documents."""

    def content(provider: str, kind: str, **source: str) -> Any:
        turns = write_to(provider, "interactions", {"input": [{"type": kind, **source, **label}]})
        return next(turns[name] for name in ("messages", "contents") if name in turns)[0]

    for source in ({"data": WAV}, {"uri": f"data:;base64,{WAV}"}):
        heard = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
        assert content("chat", "audio", **source)["content"] == [heard]
        assert content("gemini", "audio", **source)["parts"] == [{"inlineData": {"mimeType": "audio/wav", "data": WAV}}]
    for kind, name in (("audio", "a.mp3"), ("audio", "a"), ("video", "a.mp4"), ("video", "a")):
        link = f"https://example.com/{name}"
        (part,) = content("chat", kind, uri=link)["content"]
        assert part == {"type": f"{kind}_url", f"{kind}_url": {"url": link}}
    with pytest.raises(GatewayError, match="is audio, which"):
        content("messages", "audio", uri="https://example.com/a")


def test_the_link_of_a_sound_reaches_providers_that_fetch_it() -> None:
    link = "https://example.com/a.mp3?b=1"
    assert heard_by("chat", link) == {"type": "audio_url", "audio_url": {"url": link}}
    assert heard_by("interactions", link) == {"type": "audio", "uri": link, "mime_type": "audio/mpeg"}
    for provider in ("messages", "responses", "gemini", "converse"):
        with pytest.raises(GatewayError, match=r"messages\[0\].content\[0\] is") as refused:
            heard_by(provider, link)
        assert refused.value.info.status == 400
