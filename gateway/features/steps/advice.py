"""The judgement of steps before they are served, and their consequences in words: mistakes that only loading shows, and
remarks for the operator."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from configfile import json_schema
from configfile.document import Mistake
from configfile.keys import value_of, with_part
from gateway.config.settings import Config, Remark
from gateway.features.steps.endpoints import closed_endpoints
from gateway.features.steps.kinds import KINDS
from gateway.features.steps.loaded import ClientFacts, LoadedStep, StepSet
from gateway.features.steps.loading import load_steps, try_steps
from gateway.features.steps.settings import StepKeys, StepSettings, has_unresolved, steps_of
from gateway.seams.feature import Explained, ExplainedRequest
from providers.endpoints.endpoint import ENDPOINTS


def describe_step(step: LoadedStep) -> str:
    """Return one line about a step: its moments and actions, and what the client waits for."""
    scope = step.settings.scope
    conditions = [
        *(["if the request lists it"] if scope.on_request else []),
        *(["for attempts at " + ", ".join(scope.entries)] if scope.entries is not None else []),
    ]
    when = f" ({'; '.join(conditions)})" if conditions else ""
    moments = "; ".join(_describe_moment(step, moment) for moment in step.moments)
    return f"{step.name}{when}: {_describe_actions(step)}; {moments}"


def _describe_actions(step: LoadedStep) -> str:
    if step.is_observer:
        return "records finished requests" + (" with their texts" if step.wants_content else "")
    if step.actions is None:
        return "the service decides"
    if isinstance(step.actions, str):
        return {"mask": "masks", "refuse": "refuses", "report": "reports"}[step.actions]
    return ", ".join(f"{label}: {action}" for label, action in step.actions.items()) + ", others: refuse"


def _describe_moment(step: LoadedStep, moment: str) -> str:
    match moment:
        case "request":
            return "request: runs before the request is sent" + _describe_deadline(step)
        case "during":
            return "during: runs while the provider works; the first token waits for it" + _describe_deadline(step)
        case "finished":
            return "finished: delays nothing"
    return f"response: {_describe_hold(step)}"


def _describe_deadline(step: LoadedStep) -> str:
    return "" if step.is_inline else f", at most {step.settings.deadline:g} s"


def _describe_hold(step: LoadedStep) -> str:
    if step.only_reports:
        return "delays nothing"
    if step.hold == "whole":
        return "the first token waits for the complete response (hold: whole)"
    if step.hold == "nothing":
        return "text flows (hold: nothing): it detects, and does not prevent that the client sees text"
    if step.hold == "tail":
        return "text flows, except an end that may become a match; a tool call waits until it is complete"
    return f"text arrives {step.hold} characters later (hold: {step.hold}); a tool call waits until it is complete"


def changes_responses(step: LoadedStep) -> bool:
    """Return whether the step may mask responses, or restore values in them."""
    return step.settings.restore or (step.at("response") and step.may_mask and not step.only_reports)


def steps_of_request(
    config: Config, steps: StepSet, model: str, route: str | None, endpoint: str, client: str | None
) -> tuple[LoadedStep, ...]:
    """Return the steps that apply to requests of ``client`` for ``model``, also those that it must request."""
    groups = {key.name: key.group_name for key in config.client_keys}
    group = None if client is None else groups.get(client)
    models = (model,) if route is None else (route, model)
    return steps.steps_for(ClientFacts(client, group, models, endpoint, frozenset(steps.by_name)))


def consequences(config: Config, steps: StepSet) -> Iterator[tuple[Remark, str]]:
    """Yield what an operator should know about the steps of ``config``: the kind of a remark and its text."""
    enforcing = [step for step in steps.steps if not step.only_reports and not step.is_observer]
    yield from _describe_closed_endpoints(config, enforcing)
    changing = [step.name for step in enforcing if changes_responses(step)]
    if changing:
        text = (
            f"steps: {', '.join(changing)} may change responses, so streams are translated (lane hub) even if the "
            "provider speaks the client's API; complete responses only if a step changes them"
        )
        yield "note", text
    storage = config.state_storage
    has_mask_key = bool(config.signing_key) or (storage is not None and storage.type != "memory")
    if not has_mask_key and any(step.may_mask for step in enforcing):
        yield "warning", "steps: masks change with each restart: set signing_key, or a state_storage that lasts"
    if any(step.settings.restore for step in enforcing) and storage is not None and not storage.encryption_key:
        text = (
            "steps: stored turns contain the values that masks hide, because of `restore`: set "
            "state_storage.encryption_key"
        )
        yield "warning", text
    for step in enforcing:
        if step.settings.latest and step.may_mask:
            text = "masks only the latest messages (`latest: true`), so providers read their values in later turns"
            yield "warning", f"steps: {step.name} {text}"
        elif step.settings.restore and "assistant" not in step.parts:
            text = "restores values in answers, which providers read in later turns: add assistant to `parts`"
            yield "warning", f"steps: {step.name} {text}"
        if step.at("response") and step.hold == "nothing":
            yield "note", f"steps: {step.name} with `hold: nothing` detects, and does not prevent that clients see text"
    if enforcing:
        yield "note", "steps: no step reads text inside pictures, audio and video"


def _describe_closed_endpoints(config: Config, steps: Sequence[LoadedStep]) -> Iterator[tuple[Remark, str]]:
    """Yield a note for each step that closes endpoints of the configured providers."""
    served = {name for name in ENDPOINTS if any(entry.place_of(name, entry.model) for entry in config.entries)}
    if any(value_of(entry, "passthrough") for entry in config.entries):
        served.add("passthrough")
    if value_of(config, "mcp_servers"):
        served.add("mcp")
    by_closed: dict[tuple[str, ...], list[str]] = {}
    for step in steps:
        if closed := tuple(name for name in closed_endpoints(step) if name in served):
            by_closed.setdefault(closed, []).append(step.name)
    for endpoints, names in by_closed.items():
        text = (
            f"steps: no step checks {', '.join(endpoints)}, so clients of {', '.join(names)} get 403 there; to "
            "open them unchecked, list the others in `for: {endpoints: …}`, or set `unchecked: pass`"
        )
        yield "note", text


_UNLOADABLE: Final = re.compile(r"(steps\[\d+\])\.(?:use|with|action|at|hold|restore)\b")
"""The keys of a step that its loading needs."""


def judge_steps(config: Config, mistakes: Sequence[Mistake] = ()) -> Sequence[tuple[Remark, str]]:
    """Load the steps of ``config``, and return the remarks; none if there are other ``mistakes``.

    Steps are left out if they cannot be loaded because of these, or of variables without a value. Raises
    ``ConfigError`` with the mistakes that only loading shows."""
    faulty = {step[1] for one in mistakes if (step := _UNLOADABLE.match(one.path))}
    known = tuple(
        step
        for step in steps_of(config)
        if not has_unresolved((step.use, step.settings))
        and (step.written is None or step.written.path.removesuffix(".use") not in faulty)
    )
    loaded = load_steps(with_part(config, StepKeys(known)))
    return () if mistakes else tuple(consequences(config, loaded))


def explain_steps(config: Config, request: ExplainedRequest) -> Explained:
    """Return the steps that apply to ``request`` at one of its entries. Raises ``ConfigError``."""
    loaded = load_steps(config)
    plan = request.plan
    route = None if plan.route is None else plan.route.name
    found = steps_of_request(config, loaded, request.model, route, request.api, request.client)
    steps = [step for step in found if any(step.applies_to_entry(one.target.entry.name) for one in plan.candidates)]
    changing = [step.name for step in steps if changes_responses(step) and step.applies_to_entry(request.first)]
    texts = [f"{number}. {describe_step(step)}" for number, step in enumerate(steps, 1)]
    return Explained("steps", texts, changing)


async def open_once(config: Config) -> Sequence[tuple[Remark, str]]:
    """Load, open and close the steps of ``config``, and return the remarks. Raises ``ConfigError``."""
    return tuple(consequences(config, await try_steps(config)))


def add_kinds(schema: dict[str, Any]) -> None:
    """Add the settings of the built-in kinds of steps to a JSON Schema, and the rule that ``use`` selects them."""
    definitions, rules = schema["$defs"], []
    for row in KINDS.values():
        kind = json_schema.json_schema(row.settings_class, {})
        definitions |= {name: shape for name, shape in kind["$defs"].items() if name not in definitions}
        name = row.settings_class.__name__
        definitions[name] = {key: value for key, value in kind.items() if key not in ("$schema", "$defs")}
        required = ["with"] if "required" in kind else []
        settings = {"required": required, "properties": {"with": {"$ref": f"#/$defs/{name}"}}}
        rules.append({"if": {"properties": {"use": {"const": row.name}}, "required": ["use"]}, "then": settings})
    definitions[StepSettings.__name__]["allOf"] = rules
