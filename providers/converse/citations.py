"""Citations for Converse clients: the API's own, and pages that the text of an answer by another API cites.

A citation belongs to a whole block, because the API has no positions in the generated text. Source: ``Citation`` and
``WebLocation`` of Amazon's service model.
"""

import re
from typing import Any, Final

from providers.neutral.cited_text import link_of
from providers.neutral.values import as_string
from streams.events import Citation

# The user ends at the last `@`, as in browsers. Otherwise `https://a.org@@b.org` would appear as a page of a.org.
_HOST: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#\\]*@)?(\[[^\]/?#@\\]+\]|[^/?#:@\\\[\]]+)(?::[^/?#@\\]*)?(?=[/?#\\]|$)", re.IGNORECASE
)


def write_citation(citation: Citation) -> dict[str, Any] | None:
    """Return a citation in the API's form, or ``None`` for one without a URL, such as a passage of a document."""
    if citation.api == "converse":
        item = citation.item
        return {name: value for name, value in item.items() if name != "url"} if isinstance(item, dict) else None
    link = link_of(citation)
    if not (url := as_string(link.get("url"))):
        return None
    title, cited, host = as_string(link.get("title")), as_string(link.get("cited_text")), _HOST.match(url)
    page = {"url": url} if host is None else {"url": url, "domain": host[1]}
    return {
        **({"title": title} if title else {}),
        "location": {"web": page},
        **({"sourceContent": [{"text": cited}]} if cited else {}),
    }
