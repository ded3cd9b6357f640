"""Values that need the rest of the file: retries, circuits, prices, endpoints and the keys of features."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.document import Path
from configfile.keys import part_of, parts_of, with_parts
from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.endpoints import EndpointPlace
from gateway.config.findings import Findings
from gateway.config.parts import ItemPart
from gateway.config.price_table import PriceTable
from providers.catalog.prices import Price, read_price
from providers.catalog.provider import Provider
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES, EndpointName, Place

H = TypeVar("H")

_IMPLAUSIBLE: Final = 0.0005
"""Dollars per million tokens below which the price was probably written per token."""

_IMPLAUSIBLE_UNIT: Final = 20
"""Dollars per unit above which the price was probably written per thousand or hour."""


def build_retries(retries: Retries | None, max_retries: int | None, findings: Findings) -> Retries | None:
    """Return the root's retries, ``None`` if the file has none.

    ``max_retries`` of a listener is Plano's name for additional attempts; ``attempts`` overrides it."""
    base = Retries(attempts=max_retries + 1) if max_retries else None
    return base if retries is None else findings.laid_over(base or Retries(), retries, ("retries",))


def changed_circuit(base: CircuitSettings, circuit: CircuitSettings, path: Path, findings: Findings) -> CircuitSettings:
    """Return ``base`` with the file's settings; a longer ``cooldown`` alone also raises ``longest``."""
    made = findings.laid_over(base, circuit, path)
    if not made.error_rate:
        findings.wrong((*path, "error_rate"), "0% would make every target unavailable", "set a share, such as 50%")
    if made.cooldown <= made.longest:
        return made
    if "longest" in findings.given_attributes(path):
        findings.wrong(
            (*path, "longest"), "this is shorter than cooldown", "set it to at least cooldown, which doubles up to it"
        )
    return attrs.evolve(made, longest=made.cooldown)


def build_price(
    table: PriceTable | Price | None, provider: str, model: str, path: Path, findings: Findings
) -> Price | None:
    """Return the price of ``model``, and report mistakes and suspicious values."""
    if not isinstance(table, PriceTable):
        return table
    for kind in ("input", "output"):
        dollars: float | None = getattr(table, kind)
        if dollars is None and not table.per and (*path, kind) not in findings.faulty:
            findings.wrong((*path, kind), "missing", "this is required")
        if dollars is not None and 0 < dollars < _IMPLAUSIBLE:
            findings.warn(
                f"{provider}/{model}: {dollars:g} dollars per million {kind} tokens is very low: if that is the "
                f"price of one token, write {dollars * 10**6:g}"
            )
    if table.above.keys() & {0}:
        findings.wrong(
            (*path, "above"), "0 is not a limit for longer prompts", "set the price of all prompts outside `above`"
        )
    for unit, dollars in table.per.items():
        if dollars > _IMPLAUSIBLE_UNIT:
            findings.warn(
                f"{provider}/{model}: {dollars:g} dollars per {unit} is very high: `per` has the price of a single one"
            )
    row = attrs.asdict(table, filter=lambda _, value: value is not None)
    return read_price(row, "config", provider, model)


def build_endpoints(
    given: Mapping[str, EndpointPlace | None],
    row: Provider,
    base_url: str | None,
    path: Path,
    findings: Findings,
) -> Mapping[EndpointName, Place | None]:
    """Return the endpoints ``given`` for ``row`` below ``base_url``; ``None`` for absent ones."""
    base = base_url or row.base_url
    found: dict[EndpointName, Place | None] = {}
    for name in (name for name in ENDPOINTS if name in given):
        own = given[name]
        usual = row.endpoints.get(name) or STANDARD_PLACES.get(name)
        if own is None:
            found[name] = None
        elif usual is None and own.path is None:
            mistake = f"{name} has no standard path"
            findings.wrong((*path, "endpoints", name), mistake, f"set the path: `{{{name}: /…}}`")
        else:
            found[name] = _merge_endpoint(own, usual or Place(""), base)
    return found


def _merge_endpoint(own: EndpointPlace, usual: Place, base: str | None) -> Place:
    """Return an entry's ``own`` endpoint, with defaults from the ``usual`` one."""
    place = usual if own.shape is None else attrs.evolve(usual, shape=own.shape)
    return place if own.path is None else attrs.evolve(place, path=_append_path(base, own.path), prefix=None)


def _append_path(base: str | None, path: str) -> str:
    """Return the whole URL of ``path``, appended directly to the base URL."""
    if base is None or "://" in path:
        return path
    parts, (end, _, query) = urlsplit(base), path.partition("?")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + end, query or parts.query, ""))


def with_completed_parts(item: H, path: Path, config: Any, findings: Findings) -> H:
    """Return ``item``, read at ``path``, with its parts in their final form."""
    made = dict[type, ItemPart]()
    for part in _with_checks(parts_of(type(item))):
        keys = part_of(item, part)
        if (completed := keys.complete(item, path, config, findings)) is not keys:
            made[part] = completed
    return with_parts(item, {**item.parts, **made}) if made else item  # type: ignore[attr-defined]


@cache
def _with_checks(parts: tuple[type[ItemPart], ...]) -> tuple[type[ItemPart], ...]:
    return tuple(part for part in parts if part.complete is not ItemPart.complete)
