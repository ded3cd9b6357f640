"""The keys of clients in LiteLLM's database, as ``client_keys``: it keeps the SHA-256 of each, and so do we.

An export of the table ``LiteLLM_VerificationToken`` is read as psql, a JSON function or ``GET /key/list`` writes it:
CSV with a head, a JSON list, or an object on each line.
"""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from itertools import chain, count
from typing import Any, Final

import attrs
import msgspec

from gateway.commands.litellm import MOST_AT_ONCE, Group, Loss
from gateway.config.amounts import read_budget
from gateway.config.document import ConfigError, Mistake
from gateway.config.wording import Wrong
from streams.surrogates import NOT_JSON

_LISTS: Final = ("keys", "data", "tokens")
"""Where an answer of LiteLLM's API has them."""

_OF_ITS_PAGES: Final = "litellm-dashboard"
"""The team of the keys that LiteLLM makes for a visit of its pages."""

_ALL: Final = frozenset({"all-proxy-models", "*"})
_NONE: Final = "no-default-models"
_OF_THE_TEAM: Final = "all-team-models"

_LIMITS: Final[Mapping[Group, tuple[str, ...]]] = {
    Group.PROTECTION: (
        "rpm_limit", "tpm_limit", "max_parallel_requests", "allowed_routes", "permissions", "object_permission_id",
        "policies",
    ),
    Group.MONEY: ("max_budget", "soft_budget", "model_max_budget", "budget_id"),
    Group.NAMES: ("aliases",),
}  # fmt: skip
"""Columns with limits and names of a single key, which do not exist here."""

_WHY: Final[Mapping[Group, str]] = {
    Group.PROTECTION: "there are no such limits for a client yet",
    Group.MONEY: "a budget here is dollars for an hour, a day, a month or so many days",
    Group.NAMES: "a client has no names of its own: write model_aliases, which are for all",
}


_RATES: Final = (
    ("rpm_limit", "requests", "/m"),
    ("tpm_limit", "tokens", "/m"),
    ("max_parallel_requests", "concurrent", ""),
)
_PERIODS: Final[Mapping[str, str]] = {"1d": "day", "24h": "day", "1mo": "month"}
_DAYS: Final = re.compile(r"[1-9][0-9]{0,3}d")


@attrs.frozen
class Token:
    """A row of the table. ``digest`` is in hexadecimal, ``expires`` None for a key without an end; ``row`` has all
    columns."""

    name: str
    digest: str
    models: tuple[str, ...]
    blocked: bool
    expires: datetime | None
    unreadable: str | None
    """What cannot be understood of the row, and might say that the key is no longer good."""
    row: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class ClientKeys:
    """Items of ``client_keys``, what they do not keep of the old ones, and those that LiteLLM would refuse."""

    items: tuple[dict[str, Any], ...]
    losses: tuple[Loss, ...]
    no_longer_good: tuple[str, ...]


# Reading


def tokens(data: bytes, file: str) -> tuple[Token, ...]:
    """The keys in an export. Raises ``ConfigError``, which repeats nothing of the file."""
    try:
        text = data.decode("utf-8-sig").strip()
        rows = tuple(_rows(text))
    except (*NOT_JSON, csv.Error):
        raise _unreadable(file, "neither CSV nor JSON") from None
    if not rows or not all(isinstance(row.get("token"), str) and row["token"].strip() for row in rows):
        raise _unreadable(file, "no column `token`" if rows else "no keys")
    return tuple(_token(row) for row in rows if row.get("team_id") != _OF_ITS_PAGES)


def _unreadable(file: str, found: str) -> ConfigError:
    advice = "export it by psql: \\copy \"LiteLLM_VerificationToken\" TO 'keys.csv' CSV HEADER"
    return ConfigError((Mistake(file, "", found, f"give LiteLLM's table of keys; {advice}"),))


def _rows(text: str) -> Iterator[dict[str, Any]]:
    """Raises what the decoders raise."""
    if text[:1] not in ("[", "{"):
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:  # an object on each line
        found = [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = next((found[name] for name in _LISTS if isinstance(found.get(name), list)), [found])
    yield from (row for row in found if isinstance(row, dict))


def _token(row: dict[str, Any]) -> Token:
    token = row["token"].strip()
    hashed = re.fullmatch(r"[0-9a-fA-F]{64}", token)
    digest = token.lower() if hashed else hashlib.sha256(token.encode()).hexdigest()
    expires, wrong = _time(row.get("expires"))
    blocked, odd = _boolean(row.get("blocked"))
    return Token(
        name=_text(row.get("key_alias")) or _text(row.get("key_name")) or f"key-{digest[:8]}",
        digest=digest,
        models=_list(row.get("models")),
        blocked=blocked,
        expires=expires,
        unreadable=wrong or odd,
        row=row,
    )


def _text(value: Any) -> str:
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", value).strip() if isinstance(value, str) else ""


def _time(value: Any) -> tuple[datetime | None, str | None]:
    """The time, in UTC as in the database where it names no zone; or what cannot be understood."""
    if value in (None, "", "null", "NULL"):
        return None, None
    try:
        found = datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", str(value).strip()))
    except ValueError:
        return None, "its expires is no time"
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC), None


def _boolean(value: Any) -> tuple[bool, str | None]:
    word = str(value).strip().lower()
    if value in (None, "") or word in ("f", "false", "0", "null", "none"):
        return False, None
    return True, None if word in ("t", "true", "1") else "its blocked is neither true nor false"


def _list(value: Any) -> tuple[str, ...]:
    """A list as JSON has it, or as PostgreSQL writes an array: ``{gpt-4o,"a b"}``."""
    if isinstance(value, str) and value.strip()[:1] == "[":
        try:
            value = msgspec.json.decode(value)
        except NOT_JSON:
            return ()
    if isinstance(value, str):
        inner = value.strip().removeprefix("{").removesuffix("}")
        value = next(csv.reader([inner], escapechar="\\", doublequote=False), [])
    return tuple(text for one in value if (text := _text(one))) if isinstance(value, list) else ()


# Taking over


def taken_over(
    keys: Sequence[Token],
    known: Callable[[str], bool],
    groups: Mapping[str, Sequence[str]],
    taken: Set[str],
    now: datetime | None = None,
) -> ClientKeys:
    """``known`` says of a name whether a model can be asked for by it; ``groups`` are the models of each access group,
    and ``taken`` the names of clients that there are."""
    now = now or datetime.now(UTC)
    items: dict[str, dict[str, Any]] = {}
    losses: list[Loss] = []
    no_longer_good: list[str] = []
    called = set(taken)
    for key in keys:
        name = _unique(key.name, called)
        if (reason := _refused(key, now)) is not None:
            no_longer_good.append(f"{name} ({reason})")
            continue
        if key.unreadable is not None:
            losses.append(Loss(Group.PROTECTION, f"the key {name}", f"it may be no longer good: {key.unreadable}"))
            continue
        if key.digest in items:
            continue
        allowed, unknown = _models(key, known, groups)
        if allowed == ():
            losses.append(Loss(Group.NAMES, f"the key {name}", _none_left(unknown)))
            continue
        if unknown:
            losses.append(Loss(Group.NAMES, f"models of the key {name}: {', '.join(unknown)}", "they are not above"))
        called.add(name)
        models = {} if allowed is None else {"models": list(allowed)}
        items[key.digest] = {"name": name, "sha256": key.digest, **models, **_limits(key.row)}
    held = [key for key in keys if key.digest in items]
    return ClientKeys(tuple(items.values()), (*losses, *_without_limits(held, items)), tuple(no_longer_good))


def _limits(row: Mapping[str, Any]) -> dict[str, Any]:
    """The limits of a key that have a counterpart."""
    found: dict[str, Any] = {}
    for column, limit, unit in _RATES:
        number = _number(row.get(column))
        if number is not None and number == int(number):
            found.setdefault("ratelimits", {})[limit] = (
                f"{int(number)}{unit}" if unit else min(int(number), MOST_AT_ONCE)
            )
    budget, duration = _number(row.get("max_budget")), str(row.get("budget_duration") or "")
    period = _PERIODS.get(duration) or (duration if _DAYS.fullmatch(duration) else None)
    if budget is not None and period is not None and _is_budget(text := f"{_plain(budget)} usd/{period}"):
        found["budgets"] = [text]
    return found


def _is_budget(text: str) -> bool:
    try:
        read_budget(text)
    except Wrong:
        return False
    return True


def _plain(number: float) -> str:
    """``number`` without an exponent, to the billionth."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def _number(value: Any) -> float | None:
    """A number above 0, of JSON or CSV."""
    try:
        number = float(value) if not isinstance(value, bool) else 0.0
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 10**15 else None


def _refused(key: Token, now: datetime) -> str | None:
    """The reason why LiteLLM would not let its holder in."""
    if key.blocked and key.unreadable is None:
        return "blocked"
    return f"expired {key.expires:%Y-%m-%d}" if key.expires is not None and key.expires <= now else None


def _unique(name: str, taken: Set[str]) -> str:
    return next(one for one in chain([name], (f"{name}-{i}" for i in count(2))) if one not in taken)


def _models(
    key: Token, known: Callable[[str], bool], groups: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """The models that ``key`` may use, ``None`` for all, and those of them that do not exist here."""
    if not key.models or _ALL & set(key.models) or key.models == (_OF_THE_TEAM,):
        return None, []
    wanted = [model for one in key.models for model in groups.get(one, (one,)) if one not in (_NONE, _OF_THE_TEAM)]
    each = tuple(dict.fromkeys(wanted))
    return tuple(one for one in each if known(one)), [one for one in each if not known(one)]


def _none_left(unknown: Sequence[str]) -> str:
    return f"of its models none is above: {', '.join(unknown)}" if unknown else "it may use no model of its own"


def _without_limits(held: Sequence[Token], items: Mapping[str, dict[str, Any]]) -> Iterator[Loss]:
    """The limits that holders of keys were held to and are no longer, a loss for each kind: two hundred keys are
    usual."""
    for group, columns in _LIMITS.items():
        for column in columns:
            lost = [key for key in held if _says(key.row.get(column)) and column not in _carried(items[key.digest])]
            if some := [items[key.digest]["name"] for key in lost]:
                yield Loss(group, f"{column} of {_some(some)}", _WHY[group])
    if some := [items[key.digest]["name"] for key in held if key.expires is not None]:
        yield Loss(Group.PROTECTION, f"expires of {_some(some)}", "a key holds until it is taken out of the file")
    team = [key for key in held if key.row.get("team_id") and "models" not in items[key.digest]]
    if some := [items[key.digest]["name"] for key in team if key.models not in (("all-proxy-models",), ("*",))]:
        yield Loss(
            Group.PROTECTION, f"the teams of {_some(some)}", "their models are not in the export: all may be used"
        )


def _carried(item: Mapping[str, Any]) -> Iterator[str]:
    """The columns of which an ``item`` has the limit."""
    yield from (column for column, limit, _ in _RATES if limit in item.get("ratelimits", {}))
    if "budgets" in item:
        yield "max_budget"


def _says(value: Any) -> bool:
    return value not in (None, "", "{}", "[]", "null", "NULL", 0, False) and value != [] and value != {}


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    if len(names) == 1:
        return shown
    return f"{len(names)} keys ({shown}{', …' if len(names) > 5 else ''})"
