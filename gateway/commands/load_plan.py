"""Builds the scenario of ``trigate load`` from its command line, and reports all mistakes together."""

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import attrs
import msgspec

from configfile.document import ConfigError, Document, Mistake, sentence
from configfile.kinds import read_positive_duration
from configfile.wording import Wrong
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.load_outputs import OutputOptions, input_error
from gateway.commands.terminal import say
from loadtest.crew.opening import concurrency_mistake
from loadtest.exchange.masking import SecretWords
from loadtest.exchange.plain_text import plain_text
from loadtest.figures.conditions import InvalidCondition
from loadtest.plan import scenario_file
from loadtest.plan.contradictions import READERS, indivisible_reason, unknown_parts
from loadtest.plan.kinds import parse_percentiles
from loadtest.plan.load_endpoints import LoadApi
from loadtest.plan.masked_urls import mask_url, url_secrets
from loadtest.plan.recorded_load import is_recorded
from loadtest.plan.requested_loads import OF_SEARCHES
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import format_start, parse_part, parse_processes, parse_start
from loadtest.reports.parts import plan_digest
from loadtest.requests.bodies import api_of, request_headers
from loadtest.requests.keys import credential_for
from streams.surrogates import decode_or

_LOOPS: Final = {"rate", "concurrency", "burst", "trace", "find_rate", "find_concurrency"}
"""The options that set the amount of load."""

_TARGET = re.compile(r"(?:([\w.-]+)=)?(https?://.+)")
_OTHER = re.compile(r"(?:[\w.-]+=)?\w+://.*")
_BARE = re.compile(  # host:port, or localhost or a name with a dot before a path
    r"([\w.-]+=)?((?:\w[\w.-]*|\[[\da-f:]+\]):\d+(?:[/?].*)?|(?:localhost|\w[\w-]*(?:\.[\w-]+)+)/.*(?<!\.yml)(?<!\.yaml))"
)


_NAME = re.compile(r"([\w.-]+=)?((?:\w[\w-]*\.)*\w[\w-]*)(?<!\.yml)(?<!\.yaml)(?<!\.json)(?<!\.jsonl)")


@attrs.frozen
class LoadOptions:
    """The options of the command line. ``load`` and ``request`` have the given options, named as in a scenario."""

    targets: tuple[str, ...]
    load: Mapping[str, Any]
    request: Mapping[str, Any]
    outputs: OutputOptions = attrs.field(factory=OutputOptions)
    fail_if: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    compare: tuple[Path, Path] | None = None
    self_test: bool = False
    check: bool = False
    wait_ready: str | None = None
    percentiles: str | None = None
    processes: str | None = None
    part: str | None = None
    start_at: str | None = None


QUESTIONS: Final = ("fail_if", "until", "slo")
"""The options that are also allowed with a scenario file."""


def plan_scenario(options: LoadOptions) -> Scenario:
    """Return the scenario with the conditions of the options. Raises ``ConfigError`` with the mistakes of both."""
    mistakes: list[Mistake] = []
    try:
        check_conditions(options)
    except ConfigError as error:
        mistakes += error.mistakes
    try:
        plan = _with_share(_build_scenario(options), options)
    except ConfigError as error:
        raise ConfigError((*mistakes, *error.mistakes)) from None
    if (wrong := concurrency_mistake(plan)) is not None:
        mistakes.append(Mistake("", "--concurrency" if plan.concurrency else "", *wrong))
    if plan.part.of > 1 and (undivided := indivisible_reason(attrs.evolve(plan, until=(*options.until, *plan.until)))):
        mistakes.append(Mistake("", "--part", *undivided))
    if options.until and plan.search:
        mistakes.append(Mistake("", "--until", "it does not work with a search", OF_SEARCHES))
    if mistakes:
        raise ConfigError(tuple(mistakes))
    asked = {name: getattr(options, name) for name in QUESTIONS}
    kinds = tuple(request.name for request in plan.requests)
    for name, unknown in unknown_parts(asked, plan.targets, kinds):
        mistakes.append(Mistake("", _option(name), unknown.found, unknown.expected))
    if mistakes:
        raise ConfigError(tuple(mistakes))
    return attrs.evolve(
        plan,
        fail_if=(*options.fail_if, *plan.fail_if),
        until=(*options.until, *plan.until),
        slo=(*plan.slo, *options.slo),
    )


def _with_share(plan: Scenario, options: LoadOptions) -> Scenario:
    """Return the plan with the options for percentiles, processes and parts. Raises ``ConfigError``."""
    parsers = {"percentiles": parse_percentiles, "processes": parse_processes, "part": parse_part,
               "start_at": parse_start}  # fmt: skip
    read = {name: _read_option(options, name, parser) for name, parser in parsers.items()}
    given = {name: value for name, value in read.items() if value is not None}
    if "part" in given and "start_at" not in given:
        raise input_error("--part", "--start-at is missing", "give all parts the same start time with --start-at")
    if given.get("start_at", math.inf) < time():
        raise input_error("--start-at", f"{format_start(given['start_at'])} is in the past", "give a future time")
    plan = attrs.evolve(plan, **given)
    if plan.part.of == 1:
        return plan
    mark = hashlib.sha256(f"{plan_digest(plan)} {plan.start_at}".encode()).hexdigest()[:16]
    return attrs.evolve(plan, mark=mark)  # the same for all parts: their prompts share prefixes


def _read_option(options: LoadOptions, name: str, parse: Callable[[str], Any]) -> Any:
    """Return the parsed value of an option, ``None`` without it. Raises ``ConfigError``."""
    try:
        return None if (text := getattr(options, name)) is None else parse(text)
    except Wrong as wrong:
        raise input_error(_option(name), wrong.found, wrong.expected) from None


def wait_before(options: LoadOptions) -> float | None:
    """Return how long to wait for a first good response, ``None`` to start immediately. Raises ``ConfigError``."""
    wait: float | None = _read_option(options, "wait_ready", read_positive_duration)
    return 0.0 if wait is None and options.check else wait


def check_excluded_options(options: LoadOptions) -> None:
    """Check that ``--compare`` and ``--self-test`` come without options of a load. Raises ``ConfigError``."""
    what = "--compare" if options.compare is not None else "--self-test"
    if given := [*map(mask_url, options.targets), *map(_option, (*options.request, *options.load))]:
        raise input_error(what, f"it does not work with {', '.join(given)}", f"leave out {what} or these")


def check_conditions(options: LoadOptions) -> None:
    """Check the syntax of conditions and objectives. Raises ``ConfigError``."""
    mistakes: list[Mistake] = []
    for name in QUESTIONS:
        for words in getattr(options, name):
            try:
                READERS[name](words)
            except InvalidCondition as error:
                mistakes.append(Mistake("", _option(name), error.found, error.expected))
    if mistakes:
        raise ConfigError(tuple(mistakes))


def _option(name: str) -> str:
    """Return the name on the command line of an option in a scenario."""
    return OPTION_NAMES.get(name) or f"--{name.replace('_', '-')}"


OPTION_NAMES: Final = {"count": "-n", "spacing": "--poisson"}


def _build_scenario(options: LoadOptions) -> Scenario:
    """Build the scenario of the command line or its file. Raises ``ConfigError``."""
    files = [word for word in options.targets if not _TARGET.fullmatch(word)]
    _check_files(files)
    targets = _name_targets([word for word in options.targets if word not in files])
    if len(files) > 1:
        raise input_error(
            files[1], "this is a second file", "give one scenario, or URLs that start with http:// or https://"
        )
    if files:
        if given := [*options.request, *options.load]:
            found = f"these options do not work with a scenario: {', '.join(given)}"
            raise input_error(files[0], found, "write them into the scenario; only URLs can be given in addition")
        found_in_file = scenario_file.load(Path(files[0]), os.environ)
        return attrs.evolve(found_in_file, targets=targets) if targets else found_in_file
    if not targets:
        raise input_error("", "no URL given", "add one, such as trigate load http://127.0.0.1:12000 --model demo")
    api = options.request.get("api") or next(filter(None, map(api_of, targets.values())), "chat")
    recorded = is_recorded(Path(options.request.get("requests", "synthetic")))
    loop = {} if recorded or _LOOPS & set(options.load) else {"concurrency": 1}
    request = {**options.request, "api": api}
    if "requests" in options.request:
        request.setdefault("model", "")
    if "images" in request:
        request["images"] = {"size": request["images"]}
    content = {"targets": targets, **loop, **options.load}
    if "model" not in request and len(targets) == 1:
        (url,) = targets.values()
        if _is_valid(content, {**request, "model": "any"}):  # query the server only if the rest is valid
            request["model"] = _only_model(url, request["api"], options)
    return _build(content, request)


def _build(content: Mapping[str, Any], request: Mapping[str, Any]) -> Scenario:
    """Build a scenario with one kind of request. Raises ``ConfigError`` with the names of options."""
    try:
        return scenario_file.build_scenario(Document("command line", {**content, "requests": [request]}), {})
    except ConfigError as error:
        raise ConfigError(tuple(map(_with_option_name, error.mistakes))) from None


def _is_valid(content: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    try:
        _build(content, request)
    except ConfigError:
        return False
    return True


def _only_model(url: str, api: LoadApi, options: LoadOptions) -> str:
    """Return and print the only model of the server. Raises ``ConfigError``."""
    key = credential_for(url, options.load.get("key_env"), os.environ)
    model = only_model(url, api, key.value)
    say(sentence(f"{mask_url(url)}: using {plain_text(model)}, the only model that it lists"))
    return model


def _check_files(words: Sequence[str]) -> None:
    """Check that all arguments are URLs or files. Raises ``ConfigError`` with a suggestion for mistyped URLs."""
    for word in words:
        if Path(word).exists():
            continue
        if _OTHER.fullmatch(word):
            raise input_error(mask_url(word), "this URL scheme is not supported", "give a URL with http:// or https://")
        if bare := _BARE.fullmatch(word):
            right = mask_url(f"{bare[1] or ''}http://{bare[2]}")
            raise ConfigError((Mistake(mask_url(word), "", "http:// is missing", "", suggestion=right),))
        if name := _NAME.fullmatch(word):
            right = f"{name[1] or ''}http://{name[2]}"
            raise ConfigError((Mistake(word, "", "this is neither a file nor a URL", "", suggestion=right),))


def _with_option_name(mistake: Mistake) -> Mistake:
    """Return the mistake with the name of the option: the user has not seen the scenario that the options became."""
    name = mistake.path.removeprefix("requests[0].").removesuffix(".size")
    if name.startswith("targets"):
        return attrs.evolve(mistake, file="", path="")
    return attrs.evolve(mistake, file="", path=_option(name)) if name.isidentifier() else mistake


def _name_targets(words: Sequence[str]) -> dict[str, str]:
    """Return the URLs by name: the given one, or the address if there are several."""
    found: dict[str, str] = {}
    for word in words:
        match = _TARGET.fullmatch(word)
        assert match is not None
        try:
            urlsplit(match[2])
        except ValueError:
            raise input_error(
                mask_url(word), "the URL is not valid", "write IPv6 addresses like http://[::1]:8000"
            ) from None
        name = match[1] or ("" if len(words) == 1 else re.sub(r"^https?://", "", mask_url(match[2])))
        if name in found:
            raise input_error(
                mask_url(word), f"two targets have the name {name}", "give names: trigate=http://127.0.0.1:12000"
            )
        found[name] = match[2]
    return found


TIMEOUT: Final = 10.0  # seconds
LONGEST: Final = 256  # characters of a model's name, which is in every request and report
SHOWN: Final = 12  # models that a message lists
EXPECTED: Final = "choose a model with --model MODEL"


def only_model(url: str, api: LoadApi, key: str | None) -> str:
    """Return the only model that the server at ``url`` lists at ``/v1/models``.

    Raises ``ConfigError`` if it lists none, or several; the message has their names."""
    parts = urlsplit(url)
    root = parts.path.partition("/v1")[0].rstrip("/")
    place = urlunsplit((parts.scheme, parts.netloc, f"{root}/v1/models", parts.query, ""))
    try:
        headers = {name: value for name, value in request_headers(api, key, ()) if name != "content-type"}
        status, body = fetch(place, headers, TIMEOUT)
    except FetchError as error:
        why = f"missing, and {mask_url(place)} did not return a list of models: {error}"
        raise input_error("--model", why, EXPECTED) from error
    names = _listed_models(body) if status == 200 else []
    if len(names) == 1 and len(names[0]) <= LONGEST and names[0].isprintable():
        return names[0]
    if not names:
        why = f"missing, and {mask_url(place)} returned status {status} and no list of models"
        raise input_error("--model", why, EXPECTED)
    words = SecretWords.from_values((key or "", *url_secrets(url)))
    shorter = (words.mask(plain_text(name, 100)) for name in names[:SHOWN])
    listed = ", ".join(shorter) + (", …" if len(names) > SHOWN else "")
    why = f"missing; models at {mask_url(url)}: {len(names)} ({listed})"
    raise input_error("--model", why, "choose one with --model MODEL")


def _listed_models(body: bytes) -> Sequence[str]:
    value = decode_or(msgspec.json.decode, body, None)
    data = value.get("data") if isinstance(value, dict) else None
    found = [one.get("id") for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    return [name for name in found if isinstance(name, str) and name]
