"""The causes of a difference between an invoice and the ledger, each with dollars. They add up to the difference.

If the invoice states its tokens, the difference has a part by quantity, at our prices, and a part by price."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import attrs

from gateway.invoices.cells import Cell
from gateway.invoices.ledger_side import OwnSide
from gateway.invoices.line import TOKEN_KINDS, ZERO, TokenKind, Tokens

Cause: TypeAlias = Literal[
    "past_gateway", "missing", "doubled", "price", "tier", "cached", "estimated", "unpriced", "edge_of_day", "rounding",
    "late", "credit", "unknown",
]  # fmt: skip

MEANINGS: Final[Mapping[Cause, str]] = {
    "past_gateway": "the provider counts more requests or tokens: its key is used without the gateway",
    "missing": "the ledger is known to lack lines of that day",
    "doubled": "the ledger has two lines for one request of the provider",
    "price": "the tokens agree, the price differs",
    "tier": "the provider billed another service tier, such as batch or priority",
    "cached": "the input agrees, the part read from a cache differs",
    "estimated": "the ledger's tokens or prices are estimates",
    "unpriced": "the ledger has tokens of models without a price",
    "edge_of_day": "the provider counts requests around midnight (UTC) on another day",
    "rounding": "within the decimals of the invoice",
    "late": "less than 48 hours old: providers still add charges",
    "credit": "credits, discounts, taxes and corrections, which no request causes",
    "unknown": "no known cause",
}

LATE: Final = timedelta(hours=48)
NANO: Final = Decimal("1e-9")
_NEARLY: Final = Decimal("0.005")
"""Parts by price below this share of the part by quantity come from averaging prices."""


@attrs.define(eq=False, repr=False)
class Explained:
    """The causes of a cell's difference. ``open`` is the part by quantity that needs other cells to be explained:
    positive if the provider counts more. ``is_inseparable``: without tokens, price and quantity are one."""

    cell: Cell
    causes: dict[Cause, Decimal] = attrs.field(factory=dict)
    open: Decimal = ZERO
    is_inseparable: bool = False

    def add(self, cause: Cause, usd: Decimal) -> None:
        if usd:
            self.causes[cause] = self.causes.get(cause, ZERO) + usd

    def close(self, own: OwnSide) -> None:
        """Name the cause of the open part."""
        usd, self.open = self.open, ZERO
        if self.is_inseparable and not own.gap_days & _days_of(self.cell):
            self.add("past_gateway" if usd > 0 and not self.cell.own.requests else "unknown", usd)
        elif usd > 0:
            self.add("missing" if own.gap_days & _days_of(self.cell) else "past_gateway", usd)
        else:
            self.add("unknown", usd)


def _days_of(cell: Cell) -> frozenset[date]:
    return cell.own_days if cell.key.day is None else frozenset((cell.key.day,))


def explain(
    cells: Sequence[Cell], own: OwnSide, now: datetime, billed_ids: AbstractSet[str] = frozenset()
) -> list[Explained]:
    """Return the causes of all differences. ``billed_ids`` are the ids of all requests in the invoice."""
    found = [_explain_cell(cell, own, now, billed_ids) for cell in cells]
    _pair_days(found)
    for one in found:
        one.close(own)
    return found


def _explain_cell(cell: Cell, own: OwnSide, now: datetime, billed_ids: AbstractSet[str]) -> Explained:
    found, rest = Explained(cell), cell.difference
    if rest < 0 and _is_late(cell, now):
        found.add("late", rest)
        return found
    allowed = cell.billed.rounding + cell.own.requests * NANO
    if abs(rest) <= allowed:
        found.add("rounding", rest)
        return found
    if rest < 0 and cell.own.doubled:
        rest = _attribute(found, "doubled", rest, -min(cell.own.doubled, -rest))
    if billed_ids and own.requests and cell.has_ids:
        _explain_requests(found, rest, own, billed_ids)
    elif cell.has_tokens:
        _explain_tokens(found, rest, own)
    else:
        _explain_dollars(found, rest)
    return found


def _is_late(cell: Cell, now: datetime) -> bool:
    """Return whether the cell's day ended less than 48 hours ago."""
    if cell.key.day is None:
        return False
    return now - datetime.combine(cell.key.day + timedelta(days=1), time(), UTC) < LATE


def _attribute(found: Explained, cause: Cause, rest: Decimal, usd: Decimal) -> Decimal:
    """Attribute ``usd`` to ``cause``, and return the rest."""
    found.add(cause, usd)
    return rest - usd


def _clamp(usd: Decimal, most: Decimal) -> Decimal:
    """Return ``usd``, but at most ``most`` in either direction."""
    return max(-most, min(most, usd))


def _explain_requests(found: Explained, rest: Decimal, own: OwnSide, billed_ids: AbstractSet[str]) -> None:
    """Explain a difference request by request, by the provider's ids."""
    cell = found.cell
    for id, (usd, rounding) in cell.billed.ids.items():
        mine = own.requests.get(id)
        if mine is None:
            found.open += usd
            rest -= usd
            continue
        if id not in cell.own_requests:
            cause: Cause = "edge_of_day" if mine.place[1] != cell.key.day else "unknown"
            rest = _attribute(found, cause, rest, mine.usd)
        if mine.is_unpriced or mine.is_estimated:
            cause = "unpriced" if mine.is_unpriced else "estimated"
        else:
            cause = "rounding" if abs(usd - mine.usd) <= rounding + NANO else "price"
        rest = _attribute(found, cause, rest, usd - mine.usd)
    for id, mine in cell.own_requests.items():
        if id not in cell.billed.ids:
            cause = "edge_of_day" if id in billed_ids else "estimated" if mine.is_estimated else "unknown"
            rest = _attribute(found, cause, rest, -mine.usd)
    found.add("unknown", rest)


def _explain_dollars(found: Explained, rest: Decimal) -> None:
    """Explain a difference without the provider's tokens."""
    own, billed = found.cell.own, found.cell.billed
    found.is_inseparable = True
    if rest > 0 and own.unpriced_requests:
        share = own.unpriced_requests / own.requests if own.requests else ZERO
        rest = _attribute(found, "unpriced", rest, min(rest, (billed.usd * share).quantize(NANO)))
    if own.estimated:
        rest = _attribute(found, "estimated", rest, _clamp(rest, own.estimated))
    found.open = rest


def _explain_tokens(found: Explained, rest: Decimal, own: OwnSide) -> None:
    """Explain a difference by its quantity and its price."""
    cell = found.cell
    billed, ours = cell.billed, cell.own
    if not ours.requests:
        found.open = rest
        return
    prices = _effective_prices(cell, own)
    theirs, mine, unpriced = billed.tokens, ours.tokens, ours.unpriced
    if found.causes.get("doubled"):
        mine -= ours.doubled_tokens
    if not billed.splits_cache:
        prices = _without_split(prices, mine)
        theirs, mine, unpriced = _join_input(theirs), _join_input(mine), _join_input(unpriced)
    if rest > 0 and ours.unpriced_requests:
        value = _value(unpriced, _billed_prices(theirs, billed.usd, prices))
        rest = _attribute(found, "unpriced", rest, min(rest, value))
    quantity = (_value(theirs, prices) - _value(mine, prices)).quantize(NANO)
    if theirs.equals(mine):
        _explain_price(found, rest)
        return
    if theirs.prompt == mine.prompt and theirs.output == mine.output:
        rest = _attribute(found, "cached", rest, quantity)
        _explain_price(found, rest)
        return
    if abs(rest - quantity) <= max(abs(quantity) * _NEARLY, billed.rounding + ours.requests * NANO):
        quantity = rest
    by_price = rest - quantity
    if ours.estimated:
        quantity = _attribute(found, "estimated", quantity, _clamp(quantity, ours.estimated))
    found.open = quantity
    _explain_price(found, by_price)


def _explain_price(found: Explained, rest: Decimal) -> None:
    cell = found.cell
    if abs(rest) <= cell.billed.rounding + cell.own.requests * NANO:
        found.add("rounding", rest)
    elif cell.billed.tier_usd or cell.billed.tier_tokens:
        rest = _attribute(found, "tier", rest, _clamp(rest, _tier_value(cell)))
        found.add("price", rest)
    elif cell.own.estimated and not cell.own.unpriced_requests:
        rest = _attribute(found, "estimated", rest, _clamp(rest, cell.own.estimated))
        found.add("price", rest)
    else:
        found.add("price", rest)


def _tier_value(cell: Cell) -> Decimal:
    """Return the most by which other service tiers can change the price: the dollars of their tokens."""
    billed, tokens = cell.billed, cell.own.tokens
    counted = tokens.prompt + tokens.output
    average = cell.own.usd / counted if counted else ZERO
    return max(abs(billed.tier_usd), billed.tier_tokens * average)


def _value(tokens: Tokens, prices: Mapping[TokenKind, Decimal]) -> Decimal:
    return sum((getattr(tokens, kind) * prices[kind] for kind in TOKEN_KINDS), start=ZERO)


def _effective_prices(cell: Cell, own: OwnSide) -> Mapping[TokenKind, Decimal]:
    """Return the dollars for a token of each kind that our costs of this cell had.

    The present prices give their proportions; without them, all kinds of tokens cost the average."""
    tokens = cell.own.tokens - cell.own.unpriced
    listed = None if cell.key.model is None else own.prices.get((cell.key.family, cell.key.model))
    value = ZERO if listed is None else _value(tokens, listed)
    if listed is not None and not (value and cell.own.usd):
        return listed
    if listed is not None:
        factor = cell.own.usd / value
        return {kind: price * factor for kind, price in listed.items()}
    usd, counted = cell.own.usd, tokens.prompt + tokens.output
    if not (usd and counted):
        usd, counted = cell.billed.usd, cell.billed.tokens.prompt + cell.billed.tokens.output
    return dict.fromkeys(TOKEN_KINDS, usd / counted if counted else ZERO)


def _billed_prices(tokens: Tokens, usd: Decimal, prices: Mapping[TokenKind, Decimal]) -> Mapping[TokenKind, Decimal]:
    """Return ``prices`` in the proportion of the invoice: for our tokens that had no price."""
    value = _value(tokens, prices)
    return {kind: price * (usd / value) for kind, price in prices.items()} if value else prices


def _join_input(tokens: Tokens) -> Tokens:
    """Return the tokens with all input as one kind."""
    return Tokens(input=tokens.prompt, output=tokens.output)


def _without_split(prices: Mapping[TokenKind, Decimal], tokens: Tokens) -> Mapping[TokenKind, Decimal]:
    """Return the prices with that of the average input."""
    inputs = attrs.evolve(tokens, output=ZERO)
    average = _value(inputs, prices) / tokens.prompt if tokens.prompt else prices["input"]
    return {**prices, "input": average}


def _pair_days(found: Sequence[Explained]) -> None:
    """Attribute opposite open parts of adjacent days to the edge of the day."""
    days = {(one.cell.key.family, one.cell.key.model, one.cell.key.account, one.cell.key.day): one for one in found}
    for one in sorted((one for one in found if one.cell.key.day is not None), key=_day_of):
        key = one.cell.key
        following = days.get((key.family, key.model, key.account, _day_of(one) + timedelta(days=1)))
        if following is None or one.open * following.open >= 0:
            continue
        moved = min(abs(one.open), abs(following.open))
        moved = moved if one.open > 0 else -moved
        one.open = _attribute(one, "edge_of_day", one.open, moved)
        following.open = _attribute(following, "edge_of_day", following.open, -moved)


def _day_of(one: Explained) -> date:
    assert one.cell.key.day is not None, "its day is known"
    return one.cell.key.day
