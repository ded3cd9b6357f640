"""The judgement of steps before they are served: mistakes that only loading shows, and remarks for the operator."""

import re
from collections.abc import Sequence
from typing import Any, Final

from configfile import json_schema
from configfile.document import Mistake
from configfile.keys import with_part
from gateway.config.settings import Config, Remark
from gateway.features.steps.advice import consequences, describe_step, steps_changing_lane, steps_of_request
from gateway.features.steps.kinds import KINDS
from gateway.features.steps.loading import load_steps, try_steps
from gateway.features.steps.settings import StepKeys, StepSettings, has_unresolved, steps_of
from gateway.seams.feature import Explained, ExplainedRequest

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
    found = steps_of_request(config, loaded, request.model, request.route, request.api, request.client)
    steps = [step for step in found if any(map(step.applies_to_entry, request.entries))]
    return Explained(list(map(describe_step, steps)), steps_changing_lane(steps, request.first))


async def open_once(config: Config) -> Sequence[tuple[Remark, str]]:
    """Load, open and close the steps of ``config``, and return the remarks. Raises ``ConfigError``."""
    return tuple(consequences(config, await try_steps(config)))


def add_kinds(definitions: dict[str, Any]) -> None:
    """Add the settings of the built-in kinds of steps to a JSON Schema, and the rule that ``use`` selects them."""
    rules = []
    for row in KINDS.values():
        kind = json_schema.json_schema(row.settings_class, {})
        definitions |= {name: shape for name, shape in kind["$defs"].items() if name not in definitions}
        name = row.settings_class.__name__
        definitions[name] = {key: value for key, value in kind.items() if key not in ("$schema", "$defs")}
        required = ["with"] if "required" in kind else []
        settings = {"required": required, "properties": {"with": {"$ref": f"#/$defs/{name}"}}}
        rules.append({"if": {"properties": {"use": {"const": row.name}}, "required": ["use"]}, "then": settings})
    definitions[StepSettings.__name__]["allOf"] = rules
