"""Random and given lines of the kept ledger."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import yaml

from gateway.features.kept_ledger.line import LedgerLine, LineAttempt
from gateway.features.kept_ledger.table import LedgerTable
from gateway.stores.sqlite import SqliteDatabase
from streams.events import Usage

AT = 1_790_000_000_000_000  # a moment in microseconds
DAY = 86_400_000_000


def attempt(nanos: int = 0, target: str = "gpt", **given: Any) -> LineAttempt:
    given = {"model": f"openai/{target}", "reason": "ok", "usage": Usage(10, 5, 1, output=7), "grade": 0, **given}
    return LineAttempt(target, nanos=nanos, **given)


def line(*attempts: LineAttempt, **given: Any) -> LedgerLine:
    fields: dict[str, Any] = {
        "began": AT, "request": "r", "client": "alice", "group": None, "run": None, "requested_model": "best",
        "route": "best", "ended": "complete", "status": 200,
    }  # fmt: skip
    return LedgerLine(attempts=attempts, **{**fields, **given})


def random_line(draw: random.Random, days: int = 3) -> LedgerLine:
    attempts = [
        attempt(
            draw.choice((0, 1, draw.randrange(10**12))),
            draw.choice(("gpt", "claude", "local")),
            reason=draw.choice(("ok", "overloaded", "hedge_lost")),
            usage=Usage(draw.randrange(10**6), draw.randrange(10**6), draw.randrange(9), output=draw.randrange(10**5)),
            grade=draw.choice((None, 0, 1, 2, 3)),
        )
        for _ in range(draw.choice((0, 1, 1, 1, 2, 3)))
    ]
    return line(
        *attempts,
        began=AT + draw.randrange(days * DAY),
        client=draw.choice((None, "alice", "ben")),
        group=draw.choice((None, "search")),
        run=draw.choice((None, "one", "two")),
        ended=draw.choice(("complete", "upstream_error", "refused", "client_disconnected")),
        delivered=draw.random() < 0.8,
    )


def verdict(
    could: int, missed: int, *causes: tuple[Any, int, int], grade: Any = "exact", **more: Any
) -> dict[str, Any]:
    """Return the verdict of an attempt about the prompt cache, whose causes have a name, tokens and nano-dollars."""
    verdicts = pytest.importorskip(
        "gateway.features.prompt_caches.interface", reason="the gateway has no feature prompt_caches"
    )
    shares = tuple([verdicts.CauseShare(name, None, tokens) for name, tokens, _ in causes])
    fields = {"read": could - missed, "missed": missed, "causes": shares, **more}
    nanos = tuple([one for *_, one in causes])
    return {
        "verdict": verdicts.CacheVerdict(could, **fields),
        "loss": grade and verdicts.CacheLoss(sum(nanos), nanos, grade),
    }


def random_verdict(draw: random.Random) -> dict[str, Any]:
    """Return a verdict about the prompt cache with up to two causes, or none."""
    names = draw.sample(("system", "tools", "moved", "expired", "provider", "unknown"), draw.choice((0, 1, 1, 2)))
    causes = [(name, draw.randrange(10**6), draw.randrange(10**10)) for name in names]
    missed = sum(tokens for _, tokens, _ in causes) if causes else draw.randrange(2000)
    could, grade = missed + draw.randrange(10**6), draw.choice(("exact", "estimated", "at_least")) if causes else None
    more = {"read": draw.choice((could - missed, None)), "unread": draw.randrange(-(10**9), 10**10)}
    found = verdict(could, missed, *causes, grade=grade, **more)
    return draw.choice(({}, found, found))


def random_line_with_verdicts(draw: random.Random, days: int = 3) -> LedgerLine:
    """Return a random line whose attempts may have verdicts about the prompt cache."""
    found = random_line(draw, days)
    return attrs.evolve(found, attempts=tuple([attrs.evolve(one, **random_verdict(draw)) for one in found.attempts]))


def write_ledger_file(
    folder: Path, entry: Mapping[str, Any], lines: Sequence[LedgerLine], more: Mapping[str, Any]
) -> Path:
    """Write ``lines`` to a database, and return a configuration with ``entry`` and ``more`` keys that names it."""
    file, config = folder / "state.sqlite", folder / "trigate.yaml"
    storage = {"type": "sqlite", "path": str(file)}
    content = {"version": "v0.4.0", "model_providers": [entry], "state_storage": storage, **more}
    config.write_text(yaml.safe_dump(content))
    trio.run(add_lines, file, lines)
    return config


async def add_lines(file: Path, lines: Sequence[LedgerLine]) -> None:
    table = LedgerTable(SqliteDatabase(file))
    await table.add(list(enumerate(lines)))
    await table.database.aclose()
