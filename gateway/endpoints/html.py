"""HTML pages for people, without JavaScript: their text is escaped, and no page loads anything from other hosts."""

from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final, LiteralString

from gateway.http.external_url import ExternalUrl
from gateway.http.headers import Headers
from gateway.http.response import Response

STYLE: Final = "/oauth/style.css"
"""The path of the style sheet of the sign-in pages; it needs no sign-in."""

_POLICY: Final = (
    "default-src 'self'; script-src 'none'; object-src 'none'; img-src 'self' data:; base-uri 'none'; "
    "frame-ancestors 'none'"
)
PRIVATE_PAGE: Final[Headers] = (
    ("content-security-policy", _POLICY),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
"""Headers of every page and redirect: no framing, no ``Referer``, no copy in a cache. The forms of a sign-in may lead
to an issuer's page, and browsers apply ``form-action`` to redirects too, so only other pages have one."""

_OWN_FORMS: Final[Headers] = (("content-security-policy", f"{_POLICY}; form-action 'self'"), *PRIVATE_PAGE[1:])

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} – trigate</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
</head>
<body>
<header><p class="brand">trigate</p><p class="soft">{place}</p>{nav}</header>
<main id="main">
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""


class Html(str):
    """Text that is HTML already. Everything else is escaped."""

    __slots__ = ()


def html(template: LiteralString, **values: object) -> Html:
    """Return ``template`` with ``values`` in its ``{names}``, escaped unless they are ``Html``."""
    return Html(template.format(**{name: _escape_value(value) for name, value in values.items()}))


def join_html(parts: Iterable[Html]) -> Html:
    """Return ``parts`` in lines."""
    return Html("\n".join(parts))


def _escape_value(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value), quote=True)


def html_page(
    title: str, content: Html, external: ExternalUrl, status: int = 200, headers: Headers = (), *, style: str = STYLE,
    nav: Html | None = None, own_forms: bool = False,
) -> Response:  # fmt: skip
    """Return a page. It shows the host of ``external``, so that people can recognize it; ``nav`` links other pages.

    With ``own_forms`` its forms lead only to the gateway."""
    body = html(_PAGE, title=title, content=content, place=external.host, style=style, nav=nav or Html(""))
    guarded = _OWN_FORMS if own_forms else PRIVATE_PAGE
    return Response(
        status, (("content-type", "text/html; charset=utf-8"), *headers, *guarded), external.with_links(body.encode())
    )


@cache
def style_response(package: str) -> Response:
    """Return the style sheet of pages, ``style.css`` in ``package``."""
    content = files(package).joinpath("style.css").read_bytes()
    return Response(200, (("content-type", "text/css; charset=utf-8"), *PRIVATE_PAGE), content)


def redirect(location: str, headers: Headers = (), status: int = 303) -> Response:
    """Return a redirect of a browser to ``location``, which the caller has checked."""
    return Response(status, (("location", location), *headers, *PRIVATE_PAGE), b"")
