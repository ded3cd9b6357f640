"""Opens web searches of a configuration."""

from functools import partial

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.web_search.feature import WebSearchKeys
from gateway.features.web_search.origin import searched_origin
from gateway.features.web_search.services import SearchService
from gateway.seams.hooks import Hooks
from gateway.seams.running import Addition, Ports, Running


def open_web_search(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the web searches of ``config``."""
    settings = part_of(config, WebSearchKeys).web_search
    assert settings is not None, "it is wanted"
    service = SearchService(settings, ports.upstream, ports.lifecycle)
    return Addition(Hooks(wrap_origin=(partial(searched_origin, service),)))
