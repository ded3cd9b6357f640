"""The requests of a load: their URL and headers, and their bodies, of made prompts or of a JSONL file."""

import random
import re
import secrets
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs
import msgspec

from configfile.users_files import read_file
from configfile.wording import Wrong
from loadtest.plan.plan import LoadPlan
from providers.apis import CODECS
from providers.catalog.provider import STANDARD_AUTH
from providers.neutral.codec import Recipient
from providers.neutral.request import Message, Parameter, Request, TextPart
from providers.neutral.seal import Issuer
from streams.events import Api
from streams.surrogates import NOT_JSON, describe_json_error

_VERSION: Final = "2023-06-01"

# Placeholders in a body that is encoded once. Each request replaces them.
_PROMPT: Final = "\N{SYMBOL FOR SUBSTITUTE}"
_LIMIT: Final = 918273645


MARK: Final = 8
"""The tokens of the mark at the begin of a prompt, about."""

# Each of these words, with the space before it, is one token of all common models.
_VOCABULARY: Final = """
about above after again almost along always among another answer around away back because become before begin behind
below between both bring build carry case change city clear close cold common country course cover dark deep door early
earth east enough even every example face fact fall family far farm feel field find fire first follow food form free
friend full garden give good great green ground group half hand hard head hear heart help here high home hot hour house
"""
_WORDS: Final = 20_000  # in the text from which all prompts are cut


def request_path(url: str, api: Api, model: str, *, stream: bool) -> str:
    """Return the path and query to post to. ``url`` is the server, the API up to its version, or the whole URL."""
    parts, wire = urlsplit(url), CODECS[api].wire
    named = wire.path.replace("{model}", quote(model, safe="/:@"))
    ending, _, query = wire.suffix("answer", stream).partition("?")
    base = parts.path.rstrip("/")
    wholes = (named + wire.suffix("answer", one).partition("?")[0] for one in (True, False))
    if (whole := next((one for one in wholes if base.endswith(one)), None)) is not None:
        base = base.removesuffix(whole) + named + ending
    else:
        base += f"{'' if re.search(r'/v[0-9][a-zA-Z0-9_]*$', base) else wire.root}{named}{ending}"
    return "?".join(filter(None, (base, "&".join(filter(None, dict.fromkeys((parts.query, query)))))))


def request_head(url: str, api: Api, path: str, key: str | None) -> bytes:
    """Return the head of a request to ``path``, up to the value of ``content-length``."""
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}[parts.scheme])
    headers = {"host": host, "accept-encoding": "identity", "content-type": "application/json",
               "user-agent": "trigate-load"}  # fmt: skip
    if api == "messages":
        headers["anthropic-version"] = _VERSION
    if key:
        name, value = STANDARD_AUTH[api].header(key)
        headers[name] = value
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "content-length: "]
    return "\r\n".join(lines).encode("latin-1")


@attrs.frozen
class PreparedRequest:
    """A request to send."""

    body: bytes
    stream: bool


class MadePrompts:
    """A source of made prompts. Each begins with a unique mark, so that it meets no prompt cache."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._template = msgspec.json.encode(_write_body(plan))
        self._mark = secrets.token_hex(8)
        self._pool = random.Random("words").choices(_VOCABULARY.split(), k=_WORDS)

    def prepare(self, number: int, rng: random.Random) -> PreparedRequest:
        tokens, output = self._plan.prompt.draw(rng), self._plan.output.draw(rng)
        prompt = self._make_prompt(number, max(0, tokens - MARK), rng.randrange(_WORDS))
        body = self._template.replace(b"%d" % _LIMIT, b"%d" % output)
        return PreparedRequest(body.replace(_PROMPT.encode(), msgspec.json.encode(prompt)[1:-1]), self._plan.stream)

    def _make_prompt(self, number: int, words: int, start: int) -> str:
        """Return the mark, and ``words`` from the position ``start`` of the pool."""
        mark = blake2b(f"{self._mark} {number}".encode(), digest_size=5).hexdigest()
        pool = self._pool
        found = [f"{mark}:", *pool[start : start + words]]
        while len(found) <= words:
            found += pool[: words + 1 - len(found)]
        return " ".join(found)


def _write_body(plan: LoadPlan) -> dict[str, Any]:
    """Return the body that the API's codec writes, with placeholders."""
    codec = CODECS[plan.api]
    request = Request(
        plan.api,
        plan.model,
        (Message("user", (TextPart(_PROMPT),)),),
        stream=plan.stream,
        parameters={"max_tokens": Parameter(_LIMIT, "max_tokens")},
    )
    body: dict[str, Any] = msgspec.json.decode(codec.write_request(request, Recipient(plan.model, Issuer("", ""))).body)
    if codec.wire.stream_member:
        body[codec.wire.stream_member] = plan.stream
    return body | ({"store": False} if codec.wire.stores_unasked else {})


class FileBodies:
    """A source of bodies in the API of the plan, in the order of their file. After the last, the first follows again.

    They are sent unchanged except for the model of the plan, if it has one. Raises ``Wrong``.
    """

    def __init__(self, plan: LoadPlan) -> None:
        assert plan.requests is not None
        self._requests = list(_read_file(plan.requests, plan))

    def __len__(self) -> int:
        return len(self._requests)

    def prepare(self, number: int, rng: random.Random) -> PreparedRequest:
        return self._requests[number % len(self._requests)]


def _read_file(path: Path, plan: LoadPlan) -> Iterator[PreparedRequest]:
    expected = f"give one body of {plan.api} in each line"
    try:
        lines = read_file(path).removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise Wrong(f"{path} cannot be read: {(error.strerror or 'unreadable').lower()}", expected) from None
    if not any(map(bytes.strip, lines)):
        raise Wrong(f"{path} has no bodies", expected)
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _read_body(line, plan)
            except Wrong as error:
                raise Wrong(f"{path}: line {number}: {error.found}", expected) from None


def _read_body(line: bytes, plan: LoadPlan) -> PreparedRequest:
    wire = CODECS[plan.api].wire
    try:
        line.decode()  # the JSON decoder does not validate texts that are not decoded
        members: dict[str, Any] = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError as error:
        raise Wrong(f"this is not UTF-8 (byte {error.start + 1})", "") from None
    except msgspec.ValidationError:
        raise Wrong("this is not a JSON object", "") from None
    except NOT_JSON as error:
        raise Wrong(f"this is not JSON ({describe_json_error(error)})", "") from None
    if wire.conversation.member not in members:
        raise Wrong(f"{wire.conversation.member} is missing", "")
    if plan.model and wire.model_member is not None:
        members[wire.model_member] = plan.model
    elif wire.model_member is not None and wire.model_member not in members:
        raise Wrong("the model is missing: add --model MODEL", "")
    stream = plan.stream if wire.stream_member is None else bytes(members.get(wire.stream_member, b"")) == b"true"
    return PreparedRequest(msgspec.json.encode(members), stream)
