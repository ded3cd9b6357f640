"""The row of web searches by the gateway, and their key ``web_search``: the service that searches."""

from typing import Annotated, Final, Literal, TypeAlias

import attrs

from configfile.keys import part_of, setting
from configfile.kinds import LateSecret, Natural, Url, Wait, text_matching
from gateway.config.kinds import Dollars
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

ServiceName: TypeAlias = Literal["brave", "tavily", "searxng", "exa"]

Domain: TypeAlias = Annotated[
    str, text_matching(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", "a domain such as example.com, without https://")
]


@attrs.frozen(repr=False)
class WebSearchSettings:
    """The search service, and the limits of its use."""

    type: ServiceName | None = setting(
        "The service: `brave`, `tavily`, `exa` or `searxng`.", None, shown="by the host of `url`, else `searxng`"
    )
    url: Url | None = setting(
        "The whole address of its searches, such as `http://localhost:8080/search`.",
        None,
        shown="that of `type`; `searxng` needs one",
    )
    key: LateSecret | None = setting("Its key. `searxng` needs none.", None, secret=True)
    price: Dollars = setting("The price of one search in dollars, which clients are charged.", 0.0)
    max_uses: Natural = setting("The most searches of one answer. A client's own `max_uses` can lower it.", 5)
    results: Natural = setting("The most pages of a search.", 5)
    timeout: Wait = setting("The time for a search. Then the model gets an error as the result.", 10.0)
    allowed_domains: tuple[Domain, ...] = setting(
        "The only domains of results, with their subdomains, in addition to a client's own list.", (), shown="all"
    )
    blocked_domains: tuple[Domain, ...] = setting("The domains without results, with their subdomains.", ())


@attrs.frozen(repr=False)
class WebSearchKeys:
    """The keys of the root."""

    web_search: WebSearchSettings | None = setting(
        "The service that searches the web for models whose provider has no search.",
        None,
        shown="no search by the gateway",
    )


def _searches(config: Config) -> bool:
    return part_of(config, WebSearchKeys).web_search is not None


FEATURE: Final = Feature(
    "web_search",
    "gateway.features.web_search.opening:open_web_search",
    _searches,
    keys=(Keys(Config, WebSearchKeys),),
    build="gateway.features.web_search.checks:build_web_search",
)
