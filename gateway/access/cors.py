"""Cross-origin requests: what a browser is told about who may read our answers (https://fetch.spec.whatwg.org)."""

from collections.abc import Iterable

from gateway.http.headers import Headers

ANY = "*"

_METHODS = "GET, POST, OPTIONS"
_ALLOWED = (
    "authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta", "x-request-id",
    "x-trigate-key", "x-trigate-strict", "x-goog-api-key", "x-goog-api-client",
)  # fmt: skip
_ALLOWED_PREFIXES = ("x-trigate-", "x-stainless-", "anthropic-", "openai-")  # what the SDKs add in a browser
_REMEMBERED = "600"  # seconds; browsers cap it themselves


class Cors:
    """The origins that may read our answers: ``*`` for all, none for no cross-origin requests at all."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def preflight(self, origin: str | None, requested: str) -> Headers:
        """The headers of the answer to ``OPTIONS`` before a request with the header names in ``requested``."""
        allowed = self._origin(origin)
        if not allowed:
            return self._vary()
        wished = (name.strip().lower() for name in requested.split(","))
        more = (name for name in wished if name.isascii() and name.startswith(_ALLOWED_PREFIXES))
        names = dict.fromkeys((*_ALLOWED, *sorted(more)))
        return (
            *allowed,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", ", ".join(names)),
            ("access-control-max-age", _REMEMBERED),
            *self._vary(),
        )

    def answered(self, origin: str | None, names: Iterable[str]) -> Headers:
        """Headers to add to an answer with the headers ``names``: a browser's script sees those that are named."""
        allowed = self._origin(origin)
        if not allowed:
            return self._vary()
        exposed = ", ".join(dict.fromkeys(name.lower() for name in names))
        return (*allowed, ("access-control-expose-headers", exposed), *self._vary())

    def _origin(self, origin: str | None) -> Headers:
        if origin is None or not self._origins:
            return ()
        if ANY in self._origins:
            return (("access-control-allow-origin", ANY),)
        return (("access-control-allow-origin", origin),) if origin.lower() in self._origins else ()

    def _vary(self) -> Headers:
        """Whatever origin asked: a cache must not give one origin's answer to another."""
        return () if ANY in self._origins or not self._origins else (("vary", "Origin"),)
