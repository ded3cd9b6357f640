"""Where limits are counted, and what that needs."""

from typing import Final
from urllib.parse import urlsplit

from configfile.expanded import Unresolved
from gateway.config.allowances import CounterSettings
from gateway.config.findings import Findings
from gateway.config.schema import RawCounters
from gateway.config.urls import crosses_in_clear

_SUCH_AS: Final = {
    "redis": "rediss://:$PASSWORD@redis.example:6379/0",
    "postgres": "postgresql://trigate:$PASSWORD@db.example:5432/trigate",
}
_SCHEMES: Final = {"redis": ("redis", "rediss", "unix"), "postgres": ("postgresql", "postgres")}


def build_counters(raw: RawCounters | None, findings: Findings) -> CounterSettings:
    if raw is None:
        return CounterSettings()
    url, place = raw.url, ("counters", "url")
    if raw.type == "memory":
        if url is not None:
            findings.no_effect(place, "memory has no use for it, ignored")
    elif place not in findings.faulty and not isinstance(url, Unresolved):
        advice = f"write one such as {_SUCH_AS[raw.type]}"
        if not url:
            findings.wrong(place, f"{raw.type} needs a url", advice)
        elif not _is_address(url, raw.type):
            findings.wrong(place, f"no address of {raw.type}", advice)
        elif crosses_in_clear(url):
            findings.warn("counters: Redis on another machine is asked without TLS: write rediss://, if it can")
    return CounterSettings(raw.type, url, raw.when_down)


def _is_address(url: str, kind: str) -> bool:
    try:
        parts = urlsplit(url)
        # PostgreSQL's may have several hosts, each with its port
        return url.partition("://")[0] in _SCHEMES[kind] and (kind == "postgres" or parts.port != 0)
    except ValueError:  # brackets that nothing closes, a port that is no number
        return False
