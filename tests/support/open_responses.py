"""The schemas of Open Responses (openresponses.org), from the OpenAPI document in the package llm-comply."""

import importlib.resources
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema

_URI = "urn:open-responses"

# Corrections where the document rejects values that the specification and every client need: a path and its
# replacement.
DEPARTURES: Mapping[tuple[str, ...], Any] = {
    # The document only allows to repeat null for the requested schema.
    ("JsonSchemaResponseFormat", "properties", "schema"): {"type": "object"},
    # The document describes `minimal` but does not allow it.
    ("ReasoningEffortEnum", "enum"): ["none", "minimal", "low", "medium", "high", "xhigh"],
}


@cache
def _document() -> dict[str, Any]:
    text = importlib.resources.files("llm_comply").joinpath("specs/openresponses.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    for (*way, last), value in DEPARTURES.items():
        inner = document["components"]["schemas"]
        for step in way:
            inner = inner[step]
        assert last in inner, f"{last} is not where the document had it: look whether it is mended"
        inner[last] = value
    return document


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    specification = referencing.jsonschema.DRAFT202012
    resource = referencing.Resource(contents=_document(), specification=specification)
    registry: referencing.Registry[Any] = referencing.Registry().with_resource(_URI, resource)
    return jsonschema.Draft202012Validator({"$ref": f"{_URI}#/components/schemas/{name}"}, registry=registry)


@cache
def _events() -> Mapping[str, str]:
    """Return the schema names of a stream's events, by their type."""
    schemas = _document()["components"]["schemas"]
    return {
        schema["properties"]["type"]["enum"][0]: name
        for name, schema in schemas.items()
        if name.endswith("StreamingEvent")
    }


def misfits(value: Any, name: str = "ResponseResource") -> list[str]:
    """Return the violations of the schema ``name`` by ``value``."""
    return [
        f"{name} {error.json_path}: {cause.message[:200]}"
        for error in _validator(name).iter_errors(value)
        for cause in (jsonschema.exceptions.best_match([error]),)
    ]


def misfits_of_stream(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the violations in the events of a stream."""
    known = _events()
    return [
        wrong
        for event in events
        for wrong in (misfits(event, known[event["type"]]) if event["type"] in known else [f"unknown: {event['type']}"])
    ]
