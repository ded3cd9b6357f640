"""Checks of ``web_search`` in a configuration file."""

from configfile.expanded import Unresolved
from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.config_files.building import Building
from gateway.features.web_search.feature import WebSearchKeys
from gateway.features.web_search.services import ROWS, row_of
from gateway.http.urls import host_of_url, is_loopback


def build_web_search(config: Config, building: Building) -> Config:
    """Return ``config``, and report mistakes in the settings of the search service."""
    settings, findings = part_of(config, WebSearchKeys).web_search, building.findings
    if settings is None or isinstance(settings.url, Unresolved):
        return config
    if findings.is_faulty(("web_search",), ("type", "url", "key")):  # it may have what would be missing
        return config
    row = row_of(settings)
    if settings.url is None and row.url is None:
        findings.wrong(
            ("web_search",), "it has no `url`",
            "add the address of the service, such as `url: http://localhost:8080/search` of SearXNG, or `type: brave`, "
            "`tavily` or `exa`",
        )  # fmt: skip
    elif row is not ROWS["searxng"] and not settings.key and settings.url in (None, row.url):
        findings.wrong(("web_search",), "it has no `key`", "add the service's key: `key: $SEARCH_KEY`")
    elif settings.key and settings.url and _is_sent_in_clear(settings.url):
        findings.warn("web_search.url: the key crosses the network without TLS: write https:// if the service has it")
    return config


def _is_sent_in_clear(url: str) -> bool:
    return url.lower().startswith("http://") and not is_loopback(host_of_url(url))
