"""The paths of requests: finds the intended route, and advises clients with a wrong base URL.

OpenAI's clients append ``/chat/completions`` to a base URL that ends in ``/v1``. Anthropic's append ``/v1/messages`` to
one without ``/v1``, Google's ``/v1beta/models/NAME:METHOD`` or a path with a project, Amazon's ``/model/…/converse``. A
client with the wrong base URL omits ``/v1`` or repeats it; the intended route is still clear."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.http.headers import Headers
from streams.events import Api

V1: Final = "/v1"
_NO_SETTINGS: Final[Mapping[str, str]] = {}

_SLASHES = re.compile("/{2,}")
_PREFIX = re.compile(
    r"(?:/v1)*(?=/(?:chat/completions|messages|responses|models|conversations|embeddings|embed|completions|fim/completions"
    r"|moderations|rerank|score|pooling|classify|images|audio|files|uploads|vector_stores|containers|batches|videos"
    r"|realtime|decisions|content_provenance_checks|alpha/search)(?:/|$))"
)

_OPENAI = re.compile(
    r"(?P<base>/.+)/(?:chat/completions|responses(?:/[^/]+){0,2}|models(?:/[^/]+(?<!awPredict))?"
    r"|conversations(?:/[^/]+){0,3})/?"
)
_ANTHROPIC = re.compile(r"(?P<base>/.+)/v1/(?:messages(?:/count_tokens)?|models(?:/[^/]+)?)/?")
# The base ends at the first `/model/`: any other would take quadratic time in a path of them.
_BASE: Final = r"(?P<base>|/(?:(?!/model/).)+)"
_BEDROCK = re.compile(rf"{_BASE}/model/.+/(?:converse(?:-stream)?|count-tokens|invoke(?:-with-[a-z-]+)?)/?")
_AZURE: Final = "/openai/deployments/"
_AZURES = re.compile(rf"/openai(?:/v1(?=/)|/deployments/[^/]+(?=/)|(?={_PREFIX.pattern}))")

# The first of these steps in a path selects the shape of the error.
_SPOKEN: Final[Mapping[str, Api]] = {
    "chat": "chat", "messages": "messages", "responses": "responses", "conversations": "responses",
    "embed": "converse",  # Cohere's clients read a top-level message, as Bedrock's do
}  # fmt: skip

_UNDER_V1: Final = ("chat", "responses")
"""The steps after a base URL that ends in ``/v1``."""

METHODS: Final = ("generateContent", "streamGenerateContent", "countTokens")
EMBEDDING_METHODS: Final = ("embedContent", "batchEmbedContents")
SERVED_METHODS: Final = (*METHODS, *EMBEDDING_METHODS)
"""The methods of models at the end of Google's paths."""
_METHODS: Final = f":(?:{'|'.join(SERVED_METHODS)})$"
_GOOGLE_METHOD = re.compile(_METHODS)
# Prefixes that Google's clients put before `/models/`: versions, also twice, and Vertex AI's project and publisher.
_GOOGLE = re.compile(
    r"(?:/v1(?:beta1?|alpha)?)*(?P<place>(?:/projects/[^/]+/locations/[^/]+)?(?:/publishers/[^/]+)?)/models"
    rf"(?=/.+{_METHODS}|/|$)"
)
# A model of the form `provider/model` without `models/`, as Vercel's AI SDK and LangChain for JavaScript send it
_GOOGLE_NAME = re.compile(
    r"(?:/v1(?:beta|alpha)?)+(?=/(?!(?:v1(?:beta1?|alpha)?|models|projects|publishers|tunedModels)/)"
    rf"(?!.*/v1(?:beta|alpha)?/)[^/]+/.+{_METHODS})"
)
_PREDICT = re.compile(r"/projects/[^/]+/locations/[^/]+/publishers/[^/]+/models/(?P<name>[^/]+):predict$")  # Vertex AI
_METHOD: Final = re.compile(r"[^/]:([a-z][A-Za-z]*)$")
_ANY_METHOD = re.compile(r"[^/]:(?!rawPredict|streamRawPredict)[A-Za-z]+$")
# Google serves OpenAI's Chat under `/v1beta/openai`, for OpenAI's client.
_GOOGLE_VERSION = re.compile(r"/v1(?:beta|alpha)(?!/(?:openai|chat|messages|responses|conversations)(?:/|$))")
# With the version `v1`, Google's clients share these paths with OpenAI's and Anthropic's, or use their own names.
_GOOGLE_V1 = re.compile(r"/v1/(?:files|models|batches|auth_tokens|[a-z]+[A-Z][A-Za-z]*)(?:[/:]|$)")
# Also under Vertex AI's project and location
_INTERACTIONS = re.compile(r"/v1(?:beta1?|alpha)?(?:/projects/[^/]+/locations/[^/]+)?/interactions(?=/|$)")
V1BETA: Final = "/v1beta"
_GOOGLE_UPLOAD: Final = "/upload/"

_MESSAGE_ONLY: Final = ("/v2/", "/v1/v2/", "/model/")
"""Path prefixes of Cohere's and Amazon's clients, which only read an error's ``message``."""

_COHERES: Final = V1 + "/v2/"
"""Cohere's client removes ``/v1`` from the base URL for Cohere's own hosts only (BerriAI/litellm#8194)."""

_SHOWN: Final = 200  # characters of a path


def canonical(path: str) -> str:
    """Return ``path`` in the form of the routes: one ``/v1`` where it is missing or repeated, and no empty steps."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    found = _PREFIX.match(path)
    if found is None:
        return path.removeprefix(V1) if path.startswith(_COHERES) else _of_google(path)
    return V1 + path[found.end() :]


def _of_google(path: str) -> str:
    """Return ``path`` with the model or ``interactions`` directly after the version.

    Google's clients may put a project, a publisher or a repeated version before it, or leave out `models/`."""
    if (interactions := _INTERACTIONS.search(path)) is not None:
        return f"{V1BETA}/interactions{path[interactions.end() :]}"
    if (version := _GOOGLE_NAME.match(path)) is not None:
        return f"{V1BETA}/models{path[version.end() :]}"
    found = _GOOGLE.match(path)
    if found is None or (found["place"] and not _GOOGLE_METHOD.search(path)):
        return path
    return f"{V1BETA}/models{path[found.end() :]}"


def api_of(path: str, headers: Headers) -> Api:
    """Return the API whose shape an error about ``path`` has. ``headers`` are the client's with lower-case names."""
    anthropic = is_anthropic(headers)
    if _INTERACTIONS.search(path) is not None:
        return "interactions"
    if _is_googles(path) or _is_googles_shared_path(path, headers, anthropic):
        return "gemini"
    if path.startswith(_MESSAGE_ONLY):
        return "converse"
    if (wrong := _wrong_prefix(path, anthropic)) is not None:
        return wrong[0]
    if _BEDROCK.fullmatch(path) is not None:
        return "converse"
    steps = path.split("/")
    if anthropic and "messages" in steps:  # under any prefix, such as /v1/chat
        return "messages"
    for step in steps:
        if step in _SPOKEN:
            return _SPOKEN[step]
    return "messages" if anthropic else "chat"


def model_method(path: str) -> str | None:
    """Return the Gemini method with which ``path`` ends, ``None`` if it ends in a model, whose name may contain a
    colon."""
    found = _METHOD.search(path) if "/models/" in path else None
    return None if found is None else found[1]


def _is_googles(path: str) -> bool:
    return (
        _GOOGLE_VERSION.match(path) is not None
        or _GOOGLE_METHOD.search(path) is not None
        or ("/models/" in path and _ANY_METHOD.search(path) is not None)
        or path.startswith(_GOOGLE_UPLOAD)
    )


def _is_googles_shared_path(path: str, headers: Headers, anthropic: bool) -> bool:
    """Return whether a request for a file, a model or a batch comes from a client of Google's, which may use the same
    paths as OpenAI's and Anthropic's clients (google-genai 3.4)."""
    shared = _GOOGLE_V1.match(path) is not None
    return shared and not anthropic and any(name == "x-goog-api-key" for name, _ in headers)


def advice(path: str, headers: Headers, origin: str, settings: Mapping[str, str] = _NO_SETTINGS) -> str | None:
    """Return advice on the base URL for a known ``path`` with a wrong prefix, or ``None``.

    ``origin`` is the gateway's origin as seen by the client. ``settings`` allow the paths of other servers' clients: a
    clause for each of ``azure``, ``invoke_model`` and ``raw_predict``."""
    for pattern, client, words in _ADVICE:
        if pattern.search(path) is not None and (client == "" or client in settings):
            return words.format(origin=origin, setting=settings.get(client))
    if (predicted := _PREDICT.search(path)) is not None:
        name = shorten_path(predicted["name"])
        return f"for embeddings, use {V1BETA}/models/{name}:embedContent or {V1}/embeddings"
    if _is_googles(path):
        base, behind, _ = path.partition("/models/")
        base = base.removesuffix(V1BETA).removesuffix(V1) if behind else ""
        return (
            f"the client's base URL ends in {shorten_path(base)}: set it to {origin}, without a path" if base else None
        )
    azures = _AZURES.match(path)
    wrong = _wrong_prefix(path, is_anthropic(headers))
    if wrong is None and azures is None:
        return None
    api, base = wrong or ("chat", azures[0] if azures else "")
    right = f"{origin}{V1}" if api in _UNDER_V1 else f"{origin}, without /v1"
    setting = settings.get("azure")
    if _AZURE in path or (wrong is None and base == "/openai"):
        right += ", and use the SDK's OpenAI class, not its Azure class"
        right += f"; to allow that, {setting}" if setting else ""
    elif path.startswith(f"{_OPENAI_BASE}/") and setting:
        right += f"; for clients that cannot, such as Groq's SDK, {setting}"
    return f"the client's base URL ends in {shorten_path(base)}: set it to {right}"


_ADVICE: Final = (
    (
        re.compile(rf"^{_BASE}/model/.+/invoke(?:-with-response-stream)?/?$"),
        "invoke_model",
        "for clients of InvokeModel, {setting}; Converse needs no setting",
    ),
    (
        re.compile(r"/models/[^/]+:(?:rawPredict|streamRawPredict)$"),
        "raw_predict",
        "for clients of Claude at Vertex, {setting}",
    ),
    (
        re.compile(r"^/api/(?:chat|generate|tags|show|version|embed|embeddings|ps)$"),
        "",
        f"it is a path of Ollama's own API: select OpenAI's API in the client, with the base URL {{origin}}{V1}",
    ),
)
"""Patterns of paths, each with the clients that a setting allows, and advice."""

_OPENAI_BASE: Final = f"/openai{V1}"


def base_urls(path: str, origin: str) -> str:
    """Return a clause with the base URLs for an error about an unknown ``path``, "" if the path starts with one."""
    if path.startswith(V1 + "/"):
        return ""
    return f"the base URL is {origin}{V1} for OpenAI's clients, and {origin} for Anthropic's and Google's"


def is_anthropic(headers: Headers) -> bool:
    """Return whether the headers name a version of Anthropic's API."""
    return any(name == "anthropic-version" for name, _ in headers)


def _wrong_prefix(path: str, anthropic: bool) -> tuple[Api, str] | None:
    """Return the API of a known path with a wrong prefix, and the prefix."""
    if (bedrock := _BEDROCK.fullmatch(path)) is not None:
        return ("converse", bedrock["base"]) if bedrock["base"] else None
    patterns = (_ANTHROPIC, _OPENAI) if anthropic or "/messages" in path else (_OPENAI,)
    for pattern in patterns:
        found = pattern.fullmatch(path)
        if found is not None and found["base"] != V1:
            if pattern is _ANTHROPIC:
                return "messages", found["base"]
            tail = path[len(found["base"]) :].lstrip("/")
            return _SPOKEN.get(tail.split("/")[0], "chat"), found["base"]
    return None


def shorten_path(path: str) -> str:
    """Return ``path`` cut for a message."""
    return path if len(path) <= _SHOWN else path[:_SHOWN] + "…"
