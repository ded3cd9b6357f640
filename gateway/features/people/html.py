"""HTML pages for people, without JavaScript: their text is escaped, and no page loads anything from other hosts.

``templates`` has the page and its parts. Only servers of pages import this module, with their first request."""

import logging
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Final, Protocol, TypeAlias, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gateway.http.external_url import ExternalUrl
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest
from gateway.stores.errors import InDoubt, Unavailable
from streams.errors import GatewayError
from streams.events import ErrorInfo

log = logging.getLogger("trigate.people")

_STORE_DOWN: Final = "the gateway cannot read or write its storage at the moment, so nothing has changed: try again"
_IN_DOUBT: Final = "the gateway's storage did not confirm this in time, but may have done it: check, then try again"
_MISTAKE: Final = "the gateway failed because of a bug; its log has the details"

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

Html: TypeAlias = Markup
"""Text that is HTML already. Everything else is escaped."""

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("gateway.features.people"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
FILTERS: Final = _ENVIRONMENT.filters
"""The filters of templates, to which a server of pages adds its own before it loads them."""

_PAGE: Final = _ENVIRONMENT.get_template("page.html")


class Macros(Protocol):
    """The macros of a template as attributes. Each returns ``Html``, with escaped arguments."""

    def __getattr__(self, name: str) -> Callable[..., Html]: ...


def macros(name: str) -> Macros:
    """Return the macros of the template ``name``."""
    return cast("Macros", _ENVIRONMENT.get_template(name).module)


def html_page(
    title: str, content: Html, external: ExternalUrl, status: int = 200, headers: Headers = (), *, style: str = STYLE,
    nav: Html | None = None, own_forms: bool = False,
) -> Response:  # fmt: skip
    """Return a page. It shows the host of ``external``, so that people can recognize it; ``nav`` links other pages.

    With ``own_forms`` its forms lead only to the gateway."""
    body = _PAGE.render(title=title, content=content, place=external.host, style=style, nav=nav or "")
    guarded = _OWN_FORMS if own_forms else PRIVATE_PAGE
    return Response(
        status, (("content-type", "text/html; charset=utf-8"), *headers, *guarded), external.with_links(body.encode())
    )


class PageServer:
    """A server of pages. Any failure of ``respond`` becomes the response of ``refuse``, with its headers."""

    async def answer(self, incoming: PiecesRequest) -> Response:
        """Return the response to a request, with its id. Never raises, except if it is cancelled."""
        try:
            response = await self.respond(incoming)
        except GatewayError as error:
            response = self.refuse(incoming, error.info)
        except Unavailable as error:
            log.warning("a page is not possible: %s", error)
            message = _IN_DOUBT if isinstance(error, InDoubt) else _STORE_DOWN
            response = self.refuse(incoming, ErrorInfo("overloaded", message, headers=(("retry-after", "5"),)))
        except Exception:  # a bug in the gateway
            log.exception("request %s: unexpected error", incoming.scope.id)
            response = self.refuse(incoming, ErrorInfo("internal", _MISTAKE))
        return Response(response.status, (*response.headers, ("x-request-id", incoming.scope.id)), response.body)

    async def respond(self, incoming: PiecesRequest) -> Response:
        """Return the response to a request. May raise anything."""
        raise NotImplementedError

    def refuse(self, incoming: PiecesRequest, error: ErrorInfo) -> Response:
        """Return the response for a request that failed."""
        raise NotImplementedError


@cache
def style_response(package: str) -> Response:
    """Return the style sheet of pages, ``style.css`` in ``package``."""
    content = files(package).joinpath("style.css").read_bytes()
    return Response(200, (("content-type", "text/css; charset=utf-8"), *PRIVATE_PAGE), content)


def redirect(location: str, headers: Headers = (), status: int = 303) -> Response:
    """Return a redirect of a browser to ``location``, which the caller has checked."""
    return Response(status, (("location", location), *headers, *PRIVATE_PAGE), b"")
