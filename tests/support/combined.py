"""One conversation through a gateway with any combination of features, and the invariants of all combinations.

A case maps factors to values. ``play`` plays it, and ``check`` compares it with its plain twin: the same request to
the same provider, without the features.
"""

import contextlib
import functools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx2
import trio

from gateway.config_files.loading import from_mapping
from gateway.open_store import open_store
from providers.grammar import judge
from tests.support.covering import Case
from tests.support.features import rows_of
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.played_provider import TOKENS, PlayedProvider, entry
from tests.support.postgres import Server as Postgres
from tests.support.redis import RedisServer
from tests.support.relayed_requests import body_of as relayed_body_of
from tests.support.settled_lines import SettledLines
from tests.support.signed_tokens import mint, signing_key
from tests.support.wire_clients import ALL, body_of, path_of, text_of, usage_of, with_tool

FACTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "client": ALL,
    "provider": ALL,
    "form": ("whole", "streamed"),
    "route": ("lone", "several"),
    "course": ("well", "busy", "wrong", "empty", "no answer", "cut early", "cut"),
    "leaves": ("stays", "before the head", "in the answer"),
    "tools": ("none", "function"),
    "hedge": ("off", "waiting", "wins", "loses"),
    "cache": ("off", *rows_of("answer_cache", "memory", "redis", "redis lost")),
    "limits": ("none", "memory", "redis", "redis lost"),
    "state": ("none", "memory", "sqlite", "postgres"),
    "reload": ("no", "in mid-course"),
    "members": ("none", *rows_of("request_members", "of the operator")),
    "caller": ("key", *rows_of("people", "person")),
}

ENDPOINTS: Final[Mapping[str, tuple[str, str]]] = {
    "embeddings": ("/v1/embeddings", "embeddings"),
    "completions": ("/v1/completions", "completions"),
    "moderations": ("/v1/moderations", "moderations"),
    "pictures": ("/v1/images/generations", "image_generations"),
    "speech": ("/v1/audio/speech", "speech"),
    "transcriptions": ("/v1/audio/transcriptions", "transcriptions"),
}
"""Endpoints other than conversations: their path, and the name of a request in ``relayed_requests``."""

NEVER_CACHED: Final = ("pictures", "speech", "transcriptions")

ENDPOINT_FACTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "client": tuple(ENDPOINTS),
    **{name: FACTORS[name] for name in ("route", "leaves", "cache", "limits", "state", "reload", "members", "caller")},
    "hedge": ("off", "waiting"),
    "course": tuple(course for course in FACTORS["course"] if course != "empty"),
}

_OF_CONVERSATIONS: Final[Mapping[str, str]] = {"provider": "chat", "form": "whole", "tools": "none"}
"""The values of an endpoint's case for the factors that only conversations have."""

FEATURES: Final[Mapping[str, str]] = {
    "hedge": "off", "cache": "off", "limits": "none", "state": "none", "reload": "no", "members": "none",
    "caller": "key",
}  # fmt: skip
"""The values of a plain twin."""

KEY: Final = "tg-a-key-for-alice-of-more-than-enough-characters"
ISSUER: Final = "https://id.example"
NAMES: Final[Mapping[str, str]] = {"key": "alice", "person": "idp:alice"}
"""The client's name by the case's ``caller``."""
PRICE: Final = {"input": 3, "cached": 0.3, "output": 15}
NANOS: Final = 71 * 3000 + 40 * 300 + 17 * 15000
"""The price of one answer, in nano-dollars."""
BUDGET: Final = "200 usd/day"
MEMBERS: Final[tuple[dict[str, Any], ...]] = (
    {"default": {"seed": 1}, "system": {"after": "Of the entry."}},
    {
        "default": {"temperature": 0.5},
        "drop": ["user"],
        "max": {"max_tokens": 5000},
        "system": {"before": "Of the name."},
    },
    {"set": {"embeddings.user": "u"}, "max": {"max_tokens": 6000}, "system": {"before": "Of the key."}},
)
"""Request members of an entry, a name and a key."""
_AFTER: Final = {"waiting": "10s", "wins": "10ms", "loses": "10ms"}


def possible(case: Mapping[str, str]) -> bool:
    """Return whether a case with these values, and perhaps more, can be played."""
    hedged, left = case.get("hedge", "off"), case.get("leaves", "stays")
    held = hedged in ("wins", "loses") or left != "stays" or case.get("reload", "no") != "no"
    if held and case.get("course", "well") != "well":  # the provider is controlled then
        return False
    if [hedged in ("wins", "loses"), left != "stays", case.get("reload", "no") != "no"].count(True) > 1:
        return False
    if {case.get("cache"), case.get("limits")} == {"redis", "redis lost"}:  # both use one server
        return False
    return hedged == "off" or case.get("route", "several") == "several"


def twin(case: Mapping[str, str]) -> Case:
    """Return the case without features."""
    plain = {**case, **FEATURES}
    return {name: plain[name] for name in FACTORS if name in plain}


@attrs.frozen
class Reading:
    """The response that the client read. ``failed``: a stream ended in an error event, or broke off."""

    status: int
    text: str = ""
    usage: tuple[int, int] | None = None
    failed: bool = False


@attrs.frozen
class Played:
    """The result of a case: a reading, a log line and a count of provider requests for each request."""

    readings: tuple[Reading, ...]
    lines: tuple[Mapping[str, Any], ...]
    asked: tuple[int, ...]


@attrs.frozen
class Servers:
    """The servers that cases may need besides the gateway; ``None`` if not installed."""

    provider: PlayedProvider
    folder: Path
    redis: RedisServer | None = None
    postgres: Postgres | None = None

    def has(self, case: Mapping[str, str]) -> bool:
        words = set(case.values())
        if words & {"redis", "redis lost"} and self.redis is None:
            return False
        return case["state"] != "postgres" or self.postgres is not None


def content(case: Mapping[str, str], servers: Servers) -> dict[str, Any]:
    """Return the configuration of ``case``."""
    own = {} if case["state"] == "none" else {"state": "ours"}
    limited = {"budgets": [BUDGET], "ratelimits": {"tokens": "90M/m", "concurrent": 30}}
    limits = {} if case["limits"] == "none" else limited
    entries = [
        entry(servers.provider, case["provider"], name, price=PRICE, **own, **limits) for name in ("first", "second")
    ]
    members = [{"request": one} for one in MEMBERS] if case["members"] != "none" else [{}, {}, {}]
    entries = [{**one, **members[0]} for one in entries]
    if case["client"] in ENDPOINTS:
        entries = [{**one, "model": one["model"].replace("vllm", "openai")} for one in entries]
    route: dict[str, Any] = {"targets": ["first"], "sticky": False, **members[1]}
    if case["route"] == "several":
        route |= {"targets": ["first", "second"], "retries": {"attempts": 2}}
    if case["hedge"] != "off":
        route["hedge"] = {"after": _AFTER[case["hedge"]], "at_most": "100%"}
    if case["cache"] != "off":
        route["cache"] = {"ttl": "1h"}
    return {
        "version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": route},
        "circuit": {"failures": 1000, "error_rate": "100%"}, **storage_config(case, servers),
        **clients_config(case, servers, limits, members[2]),
    }  # fmt: skip


def clients_config(
    case: Mapping[str, str], servers: Servers, limits: Mapping[str, Any], members: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of the client: a key, or the people of an issuer whose keys are in a file."""
    if case["caller"] == "key":
        return {"client_keys": [{"name": "alice", "key": KEY, **limits, **members}]}
    keys = servers.folder / "keys.json"
    keys.write_text(json.dumps({"keys": [signing_key().jwk()]}))
    rule = {"when": {"sub": "alice"}, "group": "people", **limits}
    issuer = {"name": "idp", "issuer": ISSUER, "audience": ["trigate"], "jwks": {"file": str(keys)}, "admit": [rule]}
    return {"issuers": [issuer], "client_groups": [{"name": "people", **members}]}


@functools.cache
def _token() -> str:
    return mint({"iss": ISSUER, "aud": "trigate", "sub": "alice", "exp": int(time.time()) + 36_000})


def key_of(case: Mapping[str, str]) -> str:
    """Return the credential of the client."""
    return KEY if case["caller"] == "key" else _token()


def storage_config(case: Mapping[str, str], servers: Servers) -> dict[str, Any]:
    """Return the configuration of the storage, of the counters and of other stores."""
    more: dict[str, Any] = {}
    if servers.redis is not None:
        redis = {"type": "redis", "url": servers.redis.url}
        more |= {"cache": redis} if "redis" in case.get("cache", "off") else {}
        more |= {"counters": redis} if "redis" in case["limits"] else {}
    if case["state"] == "none":
        more["state_storage"] = {"type": "none"}
    elif case["state"] == "sqlite":
        more["state_storage"] = {"type": "sqlite", "path": str(servers.folder / "state.sqlite")}
    elif case["state"] == "postgres" and servers.postgres is not None:
        more["state_storage"] = {"type": "postgres", "connection_string": servers.postgres.new_schema()}
    return more


def provider_acts(case: Mapping[str, str]) -> dict[str, str]:
    """Return the provider's behaviour for each model."""
    if case["leaves"] != "stays":
        act = "silent" if case["leaves"] == "before the head" else "stall"
        return {"first": act, "second": act}
    match case["hedge"]:
        case "wins":
            return {"first": "silent"}
        case "loses":
            return {"first": "late", "second": "silent"}
    return {"first": "late" if case["reload"] != "no" else case["course"]}


async def play(case: Mapping[str, str], servers: Servers) -> Played:
    """Play ``case``, and check the invariants of every case."""
    case = {**_OF_CONVERSATIONS, **case}
    written, provider = content(case, servers), servers.provider
    if servers.redis is not None and "redis" in case["cache"] + case["limits"]:
        servers.redis.say("FLUSHALL")
    store = await open_store(from_mapping(written))
    async with gateway(written, real=True, store=store, drains=True) as running:
        playing = _Playing(case, servers, running)
        with without_lost_redis(case, servers):
            for _ in range(2 if case["cache"] != "off" and case["leaves"] == "stays" else 1):
                provider.reset(**provider_acts(case))
                await playing.once(written)
        played = Played(tuple(playing.readings), tuple(playing.lines), tuple(playing.asked))
        await playing.check_end(played)
    return played


def request_of(case: Mapping[str, str]) -> tuple[str, Mapping[str, str], bytes]:
    """Return the path, the headers and the body of the client's request."""
    client, stream = case["client"], case["form"] == "streamed"
    if client in ENDPOINTS:
        path, name = ENDPOINTS[client]
        headers, written = relayed_body_of(name, "r")
        return path, {**headers, "x-trigate-key": key_of(case)}, written
    body = body_of(client, "r", stream=stream)
    if case["tools"] != "none":
        body = with_tool(client, body)
    if client == "responses" and case["state"] == "none":
        body["store"] = False
    headers = {"content-type": "application/json", "x-trigate-key": key_of(case)}
    return path_of(client, "r", stream=stream), headers, json.dumps(body).encode()


@contextlib.contextmanager
def without_lost_redis(case: Mapping[str, str], servers: Servers) -> Iterator[None]:
    """Stop Redis during the block if it is unavailable in this case."""
    lost = "redis lost" in case.values()
    if lost:
        servers.redis.stop()
    try:
        yield
    finally:
        if lost:
            servers.redis.start()


async def check_budget(case: Mapping[str, str], running: InProcess, lines: Iterable[Mapping[str, Any]]) -> None:
    """Check that the client's budget is the sum of its ``lines``, and nothing is reserved."""
    name = NAMES[case["caller"]]
    billed = sum(round(line.get("cost_usd", 0) * 10**9) for line in lines)
    with trio.move_on_after(PATIENCE / 2):
        while spent_nanos(running, name) != billed or reserved_limits(running, name):  # noqa: ASYNC110  # a store learns it later
            await trio.sleep(0.001)
    assert (spent_nanos(running, name), reserved_limits(running, name)) == (billed, [])


def reserved_limits(running: InProcess, client: str) -> list[tuple[str, str, int]]:
    """Return the limits with remaining reservations."""
    allowances = running.service.allowances
    levels = [
        (str(one.holder), one.text, allowances.counters.level(counter).held)
        for one in {*allowances.list_all(), *allowances.of_client(client)}
        if (counter := one.counter(allowances.now(), "")) is not None
    ]
    return [level for level in levels if level[2]]


def spent_nanos(running: InProcess, client: str) -> int:
    """Return the amount charged to the client's budget, in nano-dollars."""
    allowances = running.service.allowances
    own = f"client_keys.{client}"
    budgets = [one for one in allowances.of_client(client) if one.text == BUDGET and str(one.holder) == own]
    counters = [one.counter(allowances.now(), "") for one in budgets]
    return sum(allowances.counters.level(one).used for one in counters if one is not None)


class _Playing:
    """One case in a running gateway."""

    def __init__(self, case: Mapping[str, str], servers: Servers, running: InProcess) -> None:
        self._case, self._servers, self._running = case, servers, running
        self._settled = SettledLines(running)
        self._stream = case["form"] == "streamed"
        self.readings: list[Reading] = []
        self.lines: list[Mapping[str, Any]] = []
        self.asked: list[int] = []

    async def once(self, written: dict[str, Any]) -> None:
        """Send the request once, and read its response and its line."""
        provider = self._servers.provider
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._perform_actions, written)
            await self._send()
            nursery.cancel_scope.cancel()
        self.lines += await self._settled.next()
        self.asked.append(provider.asked.total())

    async def _perform_actions(self, written: dict[str, Any]) -> None:
        """Perform the actions of the case during the request."""
        provider = self._servers.provider
        needed = 2 if self._case["hedge"] == "loses" else 1
        while provider.asked.total() < needed:  # noqa: ASYNC110  # no event exists for it
            await trio.sleep(0.001)
        if self._case["reload"] != "no":
            self._running.reload(
                {**written, "model_aliases": {**written["model_aliases"], "other": {"target": "first"}}}
            )
        provider.released.set()

    async def _send(self) -> None:
        case = self._case
        path, headers, body = request_of(case)
        async with httpx2.AsyncClient(
            base_url=self._running.url, timeout=PATIENCE, verify=False, trust_env=False
        ) as client:
            if case["leaves"] != "stays":
                await self._leave(client, path, body, headers)
                return
            try:
                reply = await client.post(path, content=body, headers=headers)
            except httpx2.RemoteProtocolError:  # bytes that pass unchanged break off unchanged
                assert case["client"] == "speech"
                self.readings.append(Reading(200, failed=True))
                return
            self.readings.append(self._read(reply))
            await self._check_kept(client, reply)

    async def _leave(self, client: httpx2.AsyncClient, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Leave once the provider has the request, or the client a part of the answer."""

        async def send() -> None:
            async with client.stream("POST", path, content=body, headers=dict(headers)) as reply:
                async for _ in reply.aiter_raw():
                    arrived.set()

        arrived = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with trio.fail_after(PATIENCE):
                if self._case["leaves"] == "in the answer" and self._stream:
                    await arrived.wait()
                while not self._may_leave():  # noqa: ASYNC110  # no event exists for it
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()

    def _may_leave(self) -> bool:
        provider = self._servers.provider
        return provider.asked.total() > 0 and (self._case["leaves"] == "before the head" or provider.stalls > 0)

    def _read(self, reply: httpx2.Response) -> Reading:
        api = self._case["client"]
        if reply.status_code != 200:
            assert reply.headers["content-type"].startswith("application/json"), reply.text
            assert json.loads(reply.content), "an error says what was wrong"
            return Reading(reply.status_code)
        if api in ENDPOINTS:
            return Reading(200, reply.content.hex())
        tolerant = reply.headers["x-trigate-lane"] == "byte"
        verdict = judge(api, reply.content, streamed=self._stream, tolerant=tolerant)  # type: ignore[arg-type]
        failed = verdict.outcome != "complete"
        assert verdict.broken is None or (failed and verdict.outcome == "cut"), verdict
        assert verdict.outcome != "cut", "a stream that breaks off says so"
        text = text_of(api, reply.content, stream=self._stream)
        return Reading(200, text, None if failed else usage_of(api, reply.content, stream=self._stream), failed)

    async def _check_kept(self, client: httpx2.AsyncClient, reply: httpx2.Response) -> None:
        """Check that a stored Responses turn is the one that its client has."""
        case, reading = self._case, self.readings[-1]
        if case["client"] != "responses" or case["state"] == "none" or reading.status != 200 or reading.failed:
            return
        events = reply.text.splitlines() if self._stream else [reply.text]
        last = next(line for line in reversed(events) if '"output"' in line)
        value = json.loads(last.removeprefix("data:"))
        given = value.get("response", value)
        kept = await client.get(f"/v1/responses/{given['id']}", headers={"x-trigate-key": key_of(case)})
        assert text_of("responses", kept.content, stream=False) == reading.text

    async def check_end(self, played: Played) -> None:
        """Check that nothing is open, reserved or counted in excess."""
        running, provider, service = self._running, self._servers.provider, self._running.service
        with trio.fail_after(PATIENCE):
            while provider.open or service.upstream.stats().active or service.ledger.open_records:  # noqa: ASYNC110
                await trio.sleep(0.001)
        for name in ("first", "second"):
            target = service.router.resolve(name, "chat")  # one target for all APIs
            assert service.balancer.loads.counts.count(target.identity.place) == 0, name
        if self._case["limits"] in ("memory", "redis"):
            await check_budget(self._case, running, played.lines)


def check(case: Mapping[str, str], played: Played, plain: Played) -> None:
    """Compare ``played`` with its twin."""
    for number, line in enumerate(played.lines):
        hit = line.get("cache") == "hit"
        beside = case["hedge"] == "wins" or (case["hedge"] == "loses" and not hit)
        assert played.asked[number] == plain.asked[0] + beside - hit, (played.asked, plain.asked)
        if case["leaves"] != "stays":
            assert (line["ended"], line["status"]) == ("client_disconnected", 499)
            continue
        reading = played.readings[number]
        assert reading == plain.readings[0]
        if reading.status == 200 and reading.text and not reading.failed:
            counts = _check_counts_of_endpoint if case["client"] in ENDPOINTS else _check_counts
            counts(case, reading, line, plain.lines[0])
    if case["client"] in NEVER_CACHED:
        assert all(line.get("cache") != "hit" for line in played.lines)
    elif case["cache"] in ("memory", "redis") and case["leaves"] == "stays":
        reading = plain.readings[0]
        kept = reading.status == 200 and reading.text and not reading.failed
        # A slow Redis is a miss. The answer of a hedge is cached for its own target, not for the first one.
        may_miss = case["cache"] == "redis" or case["hedge"] == "wins"
        allowed = {"hit" if kept else "miss", "miss" if may_miss else None}
        assert played.lines[-1].get("cache") in allowed, played.lines


def _check_counts(case: Mapping[str, str], reading: Reading, line: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
    """Check that the log line of a good answer has the right tokens and cost."""
    assert reading.usage == (TOKENS.prompt, TOKENS.output)
    cost, of_twin = (round(one["cost_usd"] * 10**9) for one in (line, plain))
    assert of_twin >= NANOS
    if line.get("cache") == "hit":
        assert (line["input_tokens"], line["output_tokens"]) == (0, 0)
        of_twin -= NANOS
    else:
        assert (line["input_tokens"], line["output_tokens"]) == (TOKENS.prompt, TOKENS.output)
    if case["hedge"] in ("wins", "loses"):  # its provider may bill the losing attempt
        assert cost >= of_twin
        assert line["cost_grade"] == "at_least" or line.get("cache") == "hit"
    elif case["course"] in ("no answer", "cut early", "cut"):  # estimated by the size of the request
        assert cost >= of_twin // 2
        assert line["cost_grade"] == plain["cost_grade"] or line.get("cache") == "hit"
    else:
        assert cost == of_twin


def _check_counts_of_endpoint(
    case: Mapping[str, str], reading: Reading, line: Mapping[str, Any], plain: Mapping[str, Any]
) -> None:
    """Check that the log line of a good response counts as its twin's, and nothing for a cached response."""
    hit = line.get("cache") == "hit"
    for name in ("input_tokens", "output_tokens", "units"):
        assert (line.get(name) or None) == (None if hit else plain.get(name) or None), name
    cost, of_twin = line.get("cost_usd", 0), plain.get("cost_usd", 0)
    if not hit and case["members"] != "none" and case["course"] in ("no answer", "cut early", "cut"):
        assert cost >= of_twin  # estimated by the size of the request, which has more members
        return
    assert cost <= of_twin if hit else cost == of_twin  # a target that failed before the hit may bill, too
