"""The rules of providers' prompt caches, as ``trigate explain`` shows them."""

from collections.abc import Iterator

from gateway.routing.plan import Plan
from providers.catalog.prompt_caching import CachingRow


def cache_texts(plan: Plan) -> Iterator[str]:
    """Yield the known rules of the prompt cache of each target of ``plan``."""
    for one in plan.candidates:
        row = one.target.caching
        text = "its rules are not known, so few cache misses get a cause" if row is None else row_text(row)
        yield f"{one.target.place}: {text}" if len(plan.candidates) > 1 else text


def row_text(row: CachingRow) -> str:
    """Return the rules of ``row`` in a line, with their source."""
    parts = [
        "caches marked prompts only" if row.needs_marks else "caches prompts without marks",
        "" if row.minimum is None else f"from {row.minimum:,} tokens",
        "" if row.step is None else f"in steps of {row.step:,} tokens",
        _lifetime_text(row),
        "" if not row.takes_marks else f"at most {row.takes_marks} marks",
        "" if row.key_member is None else f"{row.key_member.removeprefix('header:')} selects the cache",
        "reports cached tokens only if its server is started with a flag" if row.reports == "flag" else "",
    ]
    source = row.sources.get("")
    where = "" if source is None else f" ({source.url}, read {source.read})"
    return ", ".join(filter(None, parts)) + where


def _lifetime_text(row: CachingRow) -> str:
    if row.lifetime is None:
        return ""
    usual = _duration(row.lifetime)
    if row.longest is not None and row.longest != row.lifetime:
        usual = f"{usual} to {_duration(row.longest)}"
    longer = [word for word, seconds in row.lifetimes.items() if seconds > row.lifetime]
    return f"kept for {usual}" + (f" ({', '.join(longer)} on request)" if longer else "")


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
