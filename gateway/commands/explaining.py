"""``trigate explain``: shows where requests for a model go."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias, get_args

import attrs
import click
import msgspec

from configfile.document import ConfigError
from configfile.keys import keys_of
from configfile.kinds import spell_duration
from gateway.access.authentication import Authenticator
from gateway.allowances.allowance import Allowance
from gateway.allowances.allowances import Allowances
from gateway.commands.check import load_or_explain
from gateway.commands.client import KEY_VARIABLE
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.judging import explain_features
from gateway.commands.terminal import columns, print_rows, say
from gateway.config.settings import Config
from gateway.config_reports.spelling import spelled_value
from gateway.health.circuit import CREDENTIAL_PAUSE
from gateway.routing.plan import Candidate, Plan
from gateway.routing.router import Router
from gateway.seams.feature import Explained, ExplainedRequest
from gateway.viewing.explained import Explanation, explain_plan
from providers.apis import CODECS
from providers.catalog.prices import NAMED_PRICES, NANOS, Price
from providers.catalog.prompt_caching import CachingRow
from providers.neutral.quirks import Quirks
from streams.errors import GatewayError
from streams.events import UNAVAILABLE, Api, FailureReason
from streams.surrogates import NOT_JSON


class RunningLimit(msgspec.Struct, frozen=True):
    """The usage of a limit in a running gateway, from ``GET /readyz?verbose``."""

    holder: str
    limit: str
    text: str
    measure: str
    used: int
    held: int
    most: int


Levels: TypeAlias = Mapping[tuple[str, str, str], RunningLimit]
"""The usage of limits, by holder, measure and text."""


def limit_texts(config: Config, plan: Plan, key: str | None, running: Levels | None) -> list[str]:
    """Return the limits and budgets for requests of the client ``key``, with their usage if it is known."""
    allowances = Allowances(config)
    found = list(allowances.of_client(key))
    for one in plan.candidates:
        found += [limit for limit in allowances.of_target(one.target) if limit not in found]
    return [*(_limit_text(one, running) for one in found), *_share_texts(config, key)]


def _share_texts(config: Config, key: str | None) -> Iterator[str]:
    """Yield the shares of the client ``key`` that the file sets, its own or those of each client."""
    if key is not None:
        own, every = config.by_client(lambda one: one.limits)[key], config.limits.per_client
        for name, field in keys_of(type(own)).items():
            holders = ((f"client_keys.{key}", own), ("limits.per_client", every))
            found = ((holder, field.value_in(limits)) for holder, limits in holders)
            if (first := next((pair for pair in found if pair[1] is not None), None)) is not None:
                yield f"{first[0]}: {name} {spelled_value(name, first[1], field.type)}"


def _limit_text(allowance: Allowance, running: Levels | None) -> str:
    named = allowance.text if " " in allowance.text else f"{allowance.measure} {allowance.text}"
    return f"{allowance.holder}: {named}{'' if running is None else _usage_text(allowance, running)}"


def _usage_text(allowance: Allowance, running: Levels) -> str:
    level = running.get((str(allowance.holder), allowance.measure, allowance.text))
    if level is None:
        return ", counted per run" if allowance.text.endswith("/run") else ", unknown to that gateway"
    used, most = (_amount_text(number, level.measure) for number in (level.used, level.most))
    held = f", {_amount_text(level.held, level.measure)} reserved" if level.held else ""
    share = f" ({(level.used + level.held) / level.most:.0%})" if level.most else ""
    return f", {used} of {most} used{held}{share}"


def _amount_text(number: int, measure: str) -> str:
    return f"{_decimal(number)} usd" if measure == "usd" else f"{number:,}"


def price_texts(plan: Plan) -> Iterator[str]:
    """Yield the price of each target of ``plan``."""
    for one in plan.candidates:
        price = one.target.price
        text = "unknown: set `price` in the entry" if price is None else _price_text(price)
        yield f"{one.target.place}: {text}" if len(plan.candidates) > 1 else text


_NAMED: Final = {"free": "free", "subscription": "paid by a subscription, not per token"}


def _price_text(price: Price) -> str:
    if price.origin in NAMED_PRICES:
        return _NAMED[price.origin]
    kinds = {"input": price.input, "cached": price.cached, "cache write": price.cache_write, "output": price.output}
    each = ", ".join(f"{name} {_decimal(nanos)}" for name, nanos in kinds.items() if nanos is not None)
    tiers = f", more above {price.above[0][0]:,} tokens" if price.above else ""
    source = "from the config" if price.origin == "config" else "from the price list"
    return f"{each}{tiers} (dollars per million tokens, {source})"


def _decimal(nanos: int) -> str:
    return f"{(Decimal(nanos) / NANOS).normalize():f}"


LANES: Final = {
    "byte": "byte: the provider speaks {api} too, so the request passes unchanged,"
    " except for the model name and fields that the provider rejects",
    "hub": "hub: translated to {api}",
}

TIMEOUT: Final = 3.0
"""The time limit for a running gateway's response, in seconds."""

_REASONS: Final = get_args(FailureReason)


class RunningTarget(msgspec.Struct, frozen=True):
    """The state of a target in a running gateway, from ``GET /readyz?verbose``."""

    target: str
    state: str
    reason: FailureReason | None = None
    seconds: float = 0.0
    clients_out: int = 0
    open: int = 0
    first_content_ms: float | None = None


class ReadyReport(msgspec.Struct):
    """The response of a gateway that is ready or draining."""

    targets: list[RunningTarget]
    limits: list[RunningLimit] = []

    @property
    def levels(self) -> Levels:
        return {(one.holder, one.measure, one.text): one for one in self.limits}

    @property
    def states(self) -> Mapping[str, RunningTarget]:
        return {one.target: one for one in self.targets}


def explain(
    model: str,
    api: Api,
    path: Path | None,
    no_env: bool,
    url: str | None = None,
    key: str | None = None,
) -> int:
    """Run ``trigate explain`` and return its exit status.

    It is 0, 1 for an invalid config, 2 for an unknown model or a gateway at ``url`` without information on its targets.
    ``key`` is the name of a client key or a person."""
    config = load_or_explain(path, not no_env)
    if config is None:
        return 1
    try:
        if key is not None:
            from gateway.commands.client_names import with_client  # imported only where it is needed

            config = with_client(config, key)
        found = _explain_for(config, model, api, key)
        running = None if url is None else running_gateway(url, os.environ.get(KEY_VARIABLE))
    except GatewayError as error:
        report_unknown(config, error)
        return 2
    except click.ClickException as error:
        say(error.message)
        return 2
    try:
        request = ExplainedRequest(model, api, key, found.plan, found.target.entry.name)
        rows = [*_output_rows(request, found, config, explain_features(config, request), running)]
    except ConfigError as error:
        say(str(error))
        return 1
    print_rows(rows, 9, columns(sys.stdout), indent="")
    return 0


def _explain_for(config: Config, model: str, api: Api, key: str | None) -> Explanation:
    """Return the targets that may serve the client ``key``.

    Raises ``GatewayError``, as for its request, and ``click.UsageError`` if the client has expired."""
    if key is None:
        return explain_plan(Router(config), model, api)
    rights = Authenticator(config)
    if not rights.knows(key):
        raise click.UsageError(f"--key: the access of the client {key} has expired, so its requests get 401")
    found = explain_plan(Router(config), model, api, rights.wall(key), key)
    for target in found.plan.targets:
        rights.check(key, target.requested_name, target.entry, target.model, None)
    return found


def report_unknown(config: Config, error: GatewayError) -> None:
    """Print ``error``, and which names there are if a model has none."""
    say(error.info.message)
    if error.info.kind != "permission":
        names = (*(entry.name for entry in config.entries), *config.aliases, *config.routes)
        say(f"{config.path} has these models: {', '.join(names)}")


def running_gateway(url: str, key: str | None) -> ReadyReport:
    """Fetch the state of targets and limits from the gateway at ``url``. Raises ``click.ClickException``."""
    from gateway.commands.running_gateways import ConnectFailed, root_url  # imported only where it is needed

    try:
        place = f"{root_url(url)}/readyz?verbose"
        status, body = fetch(place, {"authorization": f"Bearer {key}"} if key else {}, TIMEOUT)
        return msgspec.json.decode(body, type=ReadyReport)
    except ConnectFailed as error:
        raise click.ClickException(str(error)) from None
    except FetchError as error:
        raise click.ClickException(f"{place}: {error}") from None
    except NOT_JSON:
        advice = (
            f"set {KEY_VARIABLE} to its metrics_key or ui_key, or, if it has neither, "
            "a client key that may use all models"
            if status in (401, 403)
            else "give the URL of a trigate gateway"
        )
        raise click.ClickException(f"{place} returned status {status}: {advice}") from None


# The text


def _output_rows(
    request: ExplainedRequest,
    found: Explanation,
    config: Config,
    parts: Sequence[Explained],
    ready: ReadyReport | None,
) -> Iterator[tuple[str, str]]:
    api, key = request.api, request.client
    edited = next((one.plan for one in parts if one.plan is not None), None)
    found = found if edited is None else attrs.evolve(found, plan=edited)
    plan, running = found.plan, None if ready is None else ready.states
    yield (
        "request",
        f"{request.model} from {'an' if api[0] in 'aeiou' else 'a'} {api} client"
        + ("" if key is None else f" with the key of {key}"),
    )
    if len(plan.candidates) > 1:
        yield "route", _route_text(plan)
        yield from _labelled_rows("targets", (_target_text(one, api) for one in plan.candidates))
    yield from _labelled_rows(
        "kinds", (f"{' or '.join(sorted(one.kinds))}: first {one.target.place}" for one in found.special)
    )
    if running is not None:
        targets = [one.target for one in plan.candidates]
        states = (running.get(one.place) or running.get(one.entry.name) for one in targets)  # a wildcard: its entry's
        yield from _labelled_rows(
            "now", (f"{one.place}: {_state_text(state)}" for one, state in zip(targets, states, strict=True))
        )
    yield "target", f"{found.target.name} ({found.why})"
    yield "lane", _lane_text(found, [name for one in parts for name in one.changing], edited is not None)
    for one in parts:
        yield from _labelled_rows(one.label, one.parts)
    yield "url", f"POST {found.url}"
    yield from _labelled_rows("headers", (f"{name}: {value}" for name, value in _outgoing_headers(found)))
    yield from _labelled_rows("model", _model_facts(found.target.recipient.quirks))
    yield from _labelled_rows("price", price_texts(plan))
    yield from _labelled_rows("cache", cache_texts(plan))
    levels = None if ready is None else ready.levels
    yield from _labelled_rows("limits", limit_texts(config, plan, key, levels))


def _lane_text(found: Explanation, changing: Sequence[str], members: bool) -> str:
    """Return the lane of the first target, and all other changes to the request or the response."""
    target = found.target
    if changing and found.lane == "byte":
        return (
            f"hub: {', '.join(changing)} may change the response, which is read and written in {target.api} if it "
            "streams"
        )
    return LANES[found.lane].format(api=target.api) + (
        ", and for the members below" if members and found.lane == "byte" else ""
    )


def _model_facts(quirks: Quirks) -> Iterator[str]:
    """Yield known facts about the model that can affect routing."""
    if quirks.context_window is not None:
        longest = "" if quirks.max_output is None else f", answers up to {quirks.max_output:,}"
        yield f"context window {quirks.context_window:,} tokens{longest}"
    if quirks.can:
        yield f"supports: {', '.join(quirks.can)}"
    if quirks.cannot:
        yield f"does not support: {', '.join(quirks.cannot)}"


def _labelled_rows(name: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield a row for each of ``texts``. The first row has the label ``name``, the others have none."""
    return ((name if number == 0 else "", text) for number, text in enumerate(texts))


def _route_text(plan: Plan) -> str:
    """Return a line with the targets in their order."""
    groups = [[*group] for _, group in groupby(plan.candidates, key=lambda one: one.group)]
    several = any(len(group) > 1 for group in groups)
    balance = f"; within a group by {plan.route.balance}" if plan.route is not None and several else ""
    retries = plan.retries
    limits = f"at most {retries.attempts} attempts in {retries.deadline:g} s"
    return f"{', then '.join(map(_group_text, groups))}{balance}; {limits}"


def _group_text(group: Sequence[Candidate]) -> str:
    words = ", ".join(one.target.place for one in group)
    when = "" if all(one.when >= UNAVAILABLE for one in group) else f" (for {', '.join(_conditions(group[0]))})"
    return (f"[{words}]" if len(group) > 1 else words) + when


def _conditions(candidate: Candidate) -> list[str]:
    rest = candidate.when - UNAVAILABLE if candidate.when >= UNAVAILABLE else candidate.when
    return [
        *(["unavailable"] if candidate.when >= UNAVAILABLE else []),
        *(reason for reason in _REASONS if reason in rest),
    ]


def _target_text(candidate: Candidate, api: Api) -> str:
    target = candidate.target
    share = "" if candidate.weight == 1 else f", weight {candidate.weight:g}"
    translated = f"passed on in {target.api}" if target.api == api else f"translated to {target.api}"
    return f"{target.place}: {target.name}, {translated}{share}"


def _state_text(target: RunningTarget | None) -> str:
    """Return a text for the state of a target, its open requests and its latency."""
    if target is None:
        return "unknown to that gateway"
    first = (
        ""
        if target.first_content_ms is None
        else f", first content after {_seconds_text(target.first_content_ms / 1000)}"
    )
    scores = f"{target.open} open requests{first}"
    if target.reason is None:
        clients = f"{target.clients_out} client{'s' * (target.clients_out > 1)}"
        return f"available, but in cooldown for {clients}, {scores}" if target.clients_out else f"available, {scores}"
    state = "tried by one request" if target.state == "tried" else f"in cooldown for {_seconds_text(target.seconds)}"
    if target.reason == "credential" and target.state != "tried" and target.seconds > CREDENTIAL_PAUSE:
        scores = f"at most {_seconds_text(CREDENTIAL_PAUSE)} for requests without another target, {scores}"
    return f"{state} ({target.reason}), {scores}"


def _seconds_text(seconds: float) -> str:
    return f"{seconds:.3g} s"


def _outgoing_headers(found: Explanation) -> list[tuple[str, str]]:
    """Return the headers that the gateway adds to the request. In the byte lane, it also forwards most client
    headers."""
    headers = [("content-type", "application/json"), ("accept-encoding", "identity")]
    if found.lane == "hub" and found.target.api == "messages":
        headers.append(("anthropic-version", found.target.recipient.quirks.anthropic_version))
    wire = CODECS[found.target.api].wire
    if wire.version_header is not None and wire.default_version:  # the byte lane passes a client's own
        headers.append((wire.version_header, wire.default_version))
    own = {name for name, _ in found.headers}
    return [*((name, value) for name, value in headers if name not in own), *found.headers]


# Prompt caches


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
    usual = spell_duration(row.lifetime)
    if row.longest is not None and row.longest != row.lifetime:
        usual = f"{usual} to {spell_duration(row.longest)}"
    longer = [word for word, seconds in row.lifetimes.items() if seconds > row.lifetime]
    return f"kept for {usual}" + (f" ({', '.join(longer)} on request)" if longer else "")
