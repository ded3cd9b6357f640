"""What servers say reaches terminals and reports as text alone."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from loadtest.exchange.plain_text import plain_text
from loadtest.reports import text
from tests.support.load_servers import load, serving

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eevil\u2066\r\nnote: all is well\n\u2028failed: 0\ud800"


@given(st.text())
def test_plain_text_contains_no_control_characters(said):
    shown = plain_text(said)
    assert all(unicodedata.category(one)[0] not in "C" or one == "\u00ad" for one in shown)
    assert "\n" not in shown
    assert len(shown) <= 300
    shown.encode()


def test_plain_words_stay_unchanged():
    assert plain_text("Überlastet: 12 — später") == "Überlastet: 12 — später"
    assert plain_text("two\n lines") == "two lines"


async def test_a_hostile_server_forges_no_line_of_the_report():
    """ECMA-48's sequences, directions of text (CVE-2021-42574) and line breaks, wherever a server can put words."""

    async def serve(stream, _):
        body = b'{"error": {"type": "a\\u001b[2Jb\\n  1 whole", "message": "\\u202ex\\n  note: good\\u0085"}}'
        head = b"HTTP/1.1 200 OK\r\nx-request-id: \x9b31m\r\ncontent-type: text/event-stream\r\n"
        await stream.send_all(b"%bcontent-length: %d\r\n\r\ndata: %b\n\n" % (head, len(body) + 8, body))

    async with serving(serve) as url:
        run = await load(url, rate=20, seconds=0.1)
    said = text.summary(run)
    assert all(line.isprintable() for line in said.splitlines())
    assert "  1 whole" not in said
    assert not any(line.strip().startswith("note: good") for line in said.splitlines())
