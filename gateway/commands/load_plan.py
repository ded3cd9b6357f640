"""Builds the plan of ``trigate load`` from its command line."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final
from urllib.parse import urlsplit

from configfile.document import ConfigError, Mistake, sentence
from configfile.kinds import read_positive_duration
from configfile.wording import Wrong, describe
from gateway.commands.terminal import say
from loadtest.masking import mask_url
from loadtest.plan.limits import parse_condition, parse_objectives
from loadtest.plan.plan import STEP, Leaving, Lengths, LoadPlan
from loadtest.requests import FileBodies
from providers.apis import api_of_path

ROUNDS: Final = 10  # of a comparison, if the user gives none
MOST: Final = 10**6  # tokens

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
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%:(?:([1-9]\d{0,6}) ?tokens?|(.+))", value.strip())
    try:
        if found is not None and 0 < float(found[1]) <= 100:
            share = float(found[1]) / 100
            return (
                Leaving(share, tokens=int(found[2])) if found[2] else Leaving(share, read_positive_duration(found[3]))
            )
    except Wrong:
        pass
    raise Wrong(describe(value), "expected a share and a time or tokens, such as 10%:2s or 10%:20tokens")


def _read_warmup(value: str) -> float:
    return 0.0 if value.strip() == "0" else read_positive_duration(value)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "prompt": _read_lengths, "output": _read_lengths, "leave": _read_leaving, "warmup": _read_warmup,
    "seconds": read_positive_duration, "timeout": read_positive_duration, "slo": parse_objectives,
    "fail_if": parse_condition,
}  # fmt: skip
"""The functions that read the texts of options."""

_PLAIN: Final = ("stream", "poisson", "find_rate", "requests", "rate", "max_rate", "concurrency", "count", "rounds")


# The plan


def build_plan(options: Mapping[str, Any]) -> LoadPlan:
    """Return the plan. Raises ``ConfigError``."""
    values = {name: options[name] for name in _PLAIN if options[name] is not None}
    for name, read in _READERS.items():
        if isinstance(option := options[name], str):
            values[name] = _read_option(name, option, read)
        elif option:
            values[name] = tuple(_read_option(name, one, read) for one in option)
    values["slo"] = tuple(chain.from_iterable(values.get("slo", ())))
    if not options["targets"]:
        raise input_error("", "no URL given", "add one, such as trigate load http://127.0.0.1:12000 --model demo")
    for name, found, expected in _conflicts(options):
        raise input_error(_option_name(name), found, expected)
    targets = _name_targets(options["targets"])
    if options["find_rate"]:
        values.setdefault("rate", min(1.0, options["max_rate"] or 1.0))
        values.setdefault("seconds", STEP)
    if len(targets) == 2:
        values["rounds"] = min(values.get("rounds", ROUNDS), values.get("count", MOST))  # a round has a request
    if options["count"] is not None:
        values.setdefault("seconds", math.inf)
    api = options["api"] or next(filter(None, map(api_of_path, targets.values())), "chat")
    model = options["model"] or ""
    if not model and options["requests"] is None:
        raise input_error("--model", "missing", "choose a model with --model MODEL")
    plan = LoadPlan(targets=targets, api=api, model=model, **values)
    if plan.requests is not None:
        bodies = _read_option("requests", plan, FileBodies)
        say(sentence(f"{plan.requests}: {len(bodies):,} {'body' if len(bodies) == 1 else 'bodies'} of {plan.api}"))
    return plan


def _read_option(name: str, value: Any, read: Callable[[Any], Any]) -> Any:
    """Return the value of an option. Raises ``ConfigError``."""
    try:
        return read(value)
    except Wrong as wrong:
        raise input_error(_option_name(name), wrong.found, wrong.expected) from None


def _option_name(name: str) -> str:
    """Return the name of an option on the command line."""
    return "-n" if name == "count" else f"--{name.replace('_', '-')}"


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


def describe_tokens(plan: LoadPlan) -> str:
    """Return an estimate of the tokens that the load costs, or "" if it is unknown."""
    if plan.requests is not None:
        return ""
    number = plan.planned_requests * len(plan.targets)
    inputs, outputs = ((lengths.least + lengths.most) / 2 for lengths in (plan.prompt, plan.output))
    if math.isinf(number):
        return f"about {inputs:.0f} input tokens and at most {outputs:.0f} output tokens per request"
    return f"about {number * inputs:,.0f} input tokens and at most {number * outputs:,.0f} output tokens"
