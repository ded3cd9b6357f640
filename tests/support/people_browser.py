"""A browser without a window for sign-ins: it keeps cookies, follows redirects, and submits forms as browsers do.

Like Chromium, it sends ``Secure`` cookies to this machine without TLS, ``Sec-Fetch-Site`` with each request, and for a
form on a page with ``Referrer-Policy: no-referrer`` the header ``Origin: null``."""

from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import count
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import attrs
import httpx2

_NUMBERS: Final = count(1)
_REDIRECTS: Final = (301, 302, 303, 307)
_MOST: Final = 10


@attrs.define
class PageForm:
    """A form of a page: its method, the URL that it leads to, and its fields."""

    method: str
    action: str
    fields: dict[str, str] = attrs.field(factory=dict)


class _PageReader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.forms: list[PageForm] = []
        self.links: list[str] = []
        self.scripts = 0
        self.select = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            action = urljoin(self.url, found.get("action") or self.url)
            self.forms.append(PageForm(found.get("method", "get").upper(), action))
        elif tag == "input" and self.forms and "name" in found:
            self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag == "select" and self.forms:
            self.select = found.get("name", "")
        elif tag == "option" and self.forms and ("selected" in found or self.select not in self.forms[-1].fields):
            self.forms[-1].fields[self.select] = found.get("value", "")
        elif tag == "a" and "href" in found:
            self.links.append(urljoin(self.url, found["href"]))
        elif tag == "script":
            self.scripts += 1


@attrs.define
class BrowserPage:
    """A page that the browser shows, with the responses that led to it."""

    url: str
    response: httpx2.Response
    trail: list[httpx2.Response]

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def text(self) -> str:
        return self.response.text

    @property
    def content(self) -> Any:
        reader = _PageReader(self.url)
        reader.feed(self.text)
        return reader

    @property
    def forms(self) -> list[PageForm]:
        found: list[PageForm] = self.content.forms
        return found

    @property
    def links(self) -> list[str]:
        found: list[str] = self.content.links
        return found


@attrs.define(eq=False)
class PeopleBrowser:
    """The browser of one person. ``cookies`` are by origin and name."""

    cookies: dict[tuple[str, str], str] = attrs.field(factory=dict)
    page: BrowserPage | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    """More headers of every request."""
    _paths: dict[tuple[str, str], str] = attrs.field(factory=dict)
    _client: httpx2.Client = attrs.field(factory=lambda: _new_client())

    def open(self, url: str) -> BrowserPage:
        """Open ``url`` as a typed address."""
        return self._load("GET", url, {"sec-fetch-site": "none"})

    def follow(self, url: str) -> BrowserPage:
        """Follow a link of the shown page."""
        assert self.page is not None
        return self._load("GET", url, {"sec-fetch-site": self._site(url)})

    def submit(self, form: PageForm | None = None, **fields: str) -> BrowserPage:
        """Submit a form of the shown page, by default the first, with ``fields`` typed."""
        assert self.page is not None
        form = form or self.page.forms[0]
        data = {**form.fields, **fields}
        headers = {"sec-fetch-site": self._site(form.action)}
        if form.method != "POST":
            return self._load("GET", form.action, headers, params=data)
        hides = self.page.response.headers.get("referrer-policy") == "no-referrer"
        return self._load("POST", form.action, {**headers, "origin": "null" if hides else _origin(self.page.url)}, data)

    def press(self, name: str, value: str) -> BrowserPage:
        """Press the button of the form whose field ``name`` has ``value``."""
        assert self.page is not None
        return self.submit(next(one for one in self.page.forms if one.fields.get(name) == value))

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, data: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx2.Response:  # fmt: skip
        """Send one request with the cookies of its origin, and keep those that it sets."""
        origin = _origin(url)
        path = urlsplit(url).path
        own = "; ".join(
            f"{name}={value}"
            for (place, name), value in self.cookies.items()
            if place == origin and (f"{path}/").startswith(self._paths.get((place, name), "") + "/")
        )
        sent = {**self.headers, **({"cookie": own} if own else {}), **(headers or {})}
        response = self._client.request(method, url, headers=sent, data=data, follow_redirects=False, **more)
        self.receive(response)
        return response

    def receive(self, response: httpx2.Response) -> None:
        """Keep the cookies that ``response`` sets."""
        for line in response.headers.get_list("set-cookie"):
            self._keep(_origin(str(response.url)), line)

    def cookie(self, name: str) -> str | None:
        """Return a cookie's value, of any origin. ``name`` ends before the first dot."""
        return next((value for (_, known), value in self.cookies.items() if known.partition(".")[0] == name), None)

    def _keep(self, origin: str, line: str) -> None:
        pair, *attributes = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        words = {word.lower() for word in attributes}
        if name.startswith("__Host-"):
            assert {"secure", "path=/"} <= words, line
            assert not any(word.startswith("domain") for word in words), line
        if name.startswith("__Secure-"):
            assert "secure" in words, line
        self._paths[origin, name] = next(word for word in words if word.startswith("path="))[5:].rstrip("/")
        self.cookies.pop((origin, name), None)
        if "max-age=0" not in words:
            self.cookies[origin, name] = value

    def _load(
        self, method: str, url: str, headers: Mapping[str, str], data: Mapping[str, str] | None = None, **more: Any
    ) -> BrowserPage:
        trail: list[httpx2.Response] = []
        for _ in range(_MOST):
            response = self.request(method, url, {"sec-fetch-mode": "navigate", **headers}, data, **more)
            trail.append(response)
            if response.status_code not in _REDIRECTS:
                break
            following = urljoin(url, response.headers["location"])
            if _origin(following) != _origin(url) or headers.get("sec-fetch-site") == "cross-site":
                headers = {"sec-fetch-site": "cross-site"}  # it stays so for the rest of the redirects
            else:
                headers = {name: value for name, value in headers.items() if name != "origin"}
            method, data, url, more = "GET", None, following, {}
        self.page = BrowserPage(url, trail[-1], trail)
        return self.page

    def _site(self, url: str) -> str:
        assert self.page is not None
        return "same-origin" if _origin(self.page.url) == _origin(url) else "cross-site"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _new_client() -> httpx2.Client:
    """Return a client that keeps no connection open, so nothing has to close it."""
    # Certificates take longer to read than all else.
    return httpx2.Client(verify=False, timeout=30, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))


def own_address() -> dict[str, str]:
    """Return the header of an address that no other test has, for a gateway that trusts it: limits count by address."""
    number = next(_NUMBERS)
    return {"x-forwarded-for": f"198.51.{number // 250}.{number % 250 + 1}"}
