"""Builds the plan of ``trigate load`` from its command line, and reports all mistakes together."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from configfile.document import ConfigError, Mistake, sentence
from configfile.kinds import read_positive_duration
from configfile.wording import Wrong, describe
from gateway.commands.terminal import say
from loadtest.masking import mask_url
from loadtest.plan.limits import parse_condition, parse_objectives
from loadtest.plan.plan import STEP, Leaving, Lengths, LoadPlan
from loadtest.requests.bodies import api_of
from loadtest.requests.sources import FileBodies

ROUNDS: Final = 10
"""The rounds of a comparison, if the user gives none."""
MOST: Final = 10**6  # requests a second, clients, and tokens

_TARGET: Final = re.compile(r"(?:([\w.-]+)=)?(https?://.+)")
_NO_SCHEME: Final = re.compile(r"([\w.-]+=)?([\w.-]+(?::\d+)?(?:/.*)?)")


def input_error(place: str, found: str, expected: str, suggestion: str | None = None) -> ConfigError:
    """Return the error for a mistake in an option or argument."""
    return ConfigError((Mistake(place, "", found, expected, suggestion=suggestion),))


# Values


def _read_lengths(value: str) -> Lengths:
    found = re.fullmatch(r"\s*(\d{1,7})\s*(?:-\s*(\d{1,7})\s*)?", value)
    lengths = Lengths(int(found[1]), int(found[2] or found[1])) if found else None
    if lengths is None or not 1 <= lengths.least <= lengths.most <= MOST:
        raise Wrong(describe(value), f"expected a number of tokens, 1 to {MOST}, or a range such as 50-2000")
    return lengths


def _read_leaving(value: str) -> Leaving:
    wrong = Wrong(describe(value), "expected a share and a time or tokens, such as 10%:2s or 10%:20tokens")
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*:\s*(\S.*?)\s*", value)
    if found is None or not 0 < float(found[1]) <= 100:
        raise wrong
    share = float(found[1]) / 100
    if tokens := re.fullmatch(r"([1-9]\d{0,6})\s*tokens?", found[2]):
        return Leaving(share, tokens=int(tokens[1]))
    try:
        return Leaving(share, seconds=read_positive_duration(found[2]))
    except Wrong:
        raise wrong from None


def _read_warmup(value: str) -> float:
    return 0.0 if value.strip() == "0" else read_positive_duration(value)


def _read_number(value: float) -> float:
    if not 0 < value <= MOST:
        raise Wrong(describe(value), f"expected a number above 0 and at most {MOST}")
    return value


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "prompt": _read_lengths, "output": _read_lengths, "leave": _read_leaving, "warmup": _read_warmup,
    "seconds": read_positive_duration, "timeout": read_positive_duration, "rate": _read_number,
    "max_rate": _read_number, "concurrency": _read_number, "count": _read_number, "rounds": _read_number,
    "slo": parse_objectives,
    "fail_if": parse_condition,
}  # fmt: skip
_PLAN_NAMES: Final = {"leave": "leaving"}


def option_name(name: str) -> str:
    """Return the name of an option on the command line."""
    return "-n" if name == "count" else f"--{name.replace('_', '-')}"


# The plan


def build_plan(options: Mapping[str, Any]) -> LoadPlan:
    """Return the plan. Raises ``ConfigError`` with all mistakes."""
    mistakes: list[Mistake] = []
    values = _read_values(options, mistakes)
    mistakes += [Mistake("", option_name(name), found, expected) for name, found, expected in _conflicts(options)]
    try:
        targets = _name_targets(options["targets"])
    except ConfigError as error:
        raise ConfigError((*mistakes, *error.mistakes)) from None
    if mistakes:
        raise ConfigError(tuple(mistakes))
    for name in ("stream", "poisson", "find_rate", "slo", "fail_if", "requests"):
        values[name] = options[name]
    if options["find_rate"]:
        values.setdefault("rate", min(1.0, options["max_rate"] or 1.0))
        values.setdefault("seconds", STEP)
    if len(targets) == 2:
        values.setdefault("rounds", ROUNDS)
    api = options["api"] or next(filter(None, map(api_of, targets.values())), "chat")
    model = options["model"] or ""
    if not model and options["requests"] is None:
        raise input_error("--model", "missing", "choose a model with --model MODEL")
    plan = LoadPlan(targets=targets, api=api, model=model, **values)
    if plan.requests is not None:
        _check_bodies(plan)
    return plan


def _read_values(options: Mapping[str, Any], mistakes: list[Mistake]) -> dict[str, Any]:
    """Return the values of the given options, and add their mistakes to ``mistakes``."""
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _READERS or value is None:
            continue
        try:
            for one in value if isinstance(value, tuple) else (value,):
                values[_PLAN_NAMES.get(name, name)] = _READERS[name](one)
        except Wrong as wrong:
            mistakes.append(Mistake("", option_name(name), wrong.found, wrong.expected))
    return values


def _conflicts(options: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    """Return the options that do not work with others, with the finding and the advice."""
    given = {name for name, value in options.items() if value not in (None, False, ())}
    several = len(options["targets"]) > 1
    rules = (
        (len(options["targets"]) > 2, "rounds", "more than two servers", "give one URL, or two to compare them"),
        ("rounds" in given and not several, "rounds", "there is one server", "give a second URL, or remove it"),
        ({"rate", "concurrency"} <= given, "concurrency", "it does not work with --rate",
         "use one of them: a cap on requests would hide the waiting of the others"),
        ({"find_rate", "concurrency"} <= given, "concurrency", "it does not work with --find-rate", "remove it"),
        ({"find_rate", "count"} <= given, "count", "it does not work with --find-rate", "remove it"),
        ("find_rate" in given and several, "find_rate", "it does not work with two servers", "give one URL"),
        ("max_rate" in given and "find_rate" not in given, "max_rate", "--find-rate is missing", "add --find-rate"),
        ("poisson" in given and not {"rate", "find_rate"} & given, "poisson", "--rate is missing", "add --rate N"),
        ("requests" in given and bool({"prompt", "output"} & given), "requests",
         "it does not work with --prompt and --output", "remove these: the bodies set both"),
        ({"rate", "max_rate"} <= given and (options["rate"] or 0) > (options["max_rate"] or 0), "max_rate",
         "it is below --rate, where the search begins", "give a higher rate"),
    )  # fmt: skip
    return [rule[1:] for rule in rules if rule[0]]


def _name_targets(words: Sequence[str]) -> dict[str, str]:
    """Return the URLs by name: the given one, or the address if there are two. Raises ``ConfigError``."""
    found: dict[str, str] = {}
    for word in words:
        match = _TARGET.fullmatch(word)
        if match is None:
            raise _wrong_target(word)
        try:
            parts = urlsplit(match[2])
            if not parts.hostname or parts.port == 0:
                raise ValueError
        except ValueError:
            raise input_error(mask_url(word), "the URL is not valid", "write one like http://[::1]:8000") from None
        if "@" in parts.netloc or parts.fragment:
            raise input_error(
                mask_url(word), "the URL has a user name or a fragment", "remove it; set the key with --key-env NAME"
            )
        name = match[1] or ("" if len(words) == 1 else re.sub(r"^https?://", "", mask_url(match[2])))
        if name in found:
            raise input_error(mask_url(word), f"two servers have the name {name}", "give names, such as new=http://…")
        found[name] = match[2]
    return found


def _wrong_target(word: str) -> ConfigError:
    if word.endswith((".yml", ".yaml")):
        return input_error(word, "scenario files were removed", "give a URL and options")
    bare = _NO_SCHEME.fullmatch(word)
    right = mask_url(f"{bare[1] or ''}http://{bare[2]}") if bare else None
    return input_error(mask_url(word), "this is not a URL", "give one that starts with http:// or https://", right)


def _check_bodies(plan: LoadPlan) -> None:
    try:
        bodies = FileBodies(plan)
    except Wrong as wrong:
        raise input_error("--requests", wrong.found, wrong.expected) from None
    often = plan.planned_requests / len(bodies)
    repeated = f", each is sent about {often:.3g} times" if 1 < often < math.inf else ""
    say(sentence(f"{plan.requests}: {len(bodies):,} bodies of {plan.api}{repeated}"))


def describe_tokens(plan: LoadPlan) -> str:
    """Return an estimate of the tokens that the load costs, or "" if it is unknown."""
    if plan.requests is not None:
        return ""
    number = plan.planned_requests * len(plan.targets)
    inputs, outputs = ((lengths.least + lengths.most) / 2 for lengths in (plan.prompt, plan.output))
    if math.isinf(number):
        return f"about {inputs:.0f} input tokens and at most {outputs:.0f} output tokens per request"
    return f"about {number * inputs:,.0f} input tokens and at most {number * outputs:,.0f} output tokens"
