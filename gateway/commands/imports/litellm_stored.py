"""Reads what LiteLLM's web pages store in its database: models, credentials, variables and settings.

LiteLLM encrypts all but the settings; ``litellm_secrets`` decrypts them."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

from gateway.commands.imports import litellm_tables as tables
from gateway.commands.imports.imported_values import section_of
from gateway.commands.imports.litellm_database import Row, Tables
from gateway.commands.imports.litellm_models import STORED
from gateway.commands.imports.litellm_rows import (
    CREDENTIALS,
    MODELS,
    SETTINGS,
    is_set,
    name_list,
    read_mapping,
    read_text,
)
from gateway.commands.imports.litellm_secrets import NO_KEY, Decryption, Undecryptable, is_encrypted
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result

_VARIABLES: Final = "environment_variables"
_SECTIONS: Final = ("general_settings", "router_settings", "litellm_settings")
"""The sections of the table of settings that LiteLLM adds to those of its file."""


def with_stored(content: Mapping[str, Any], stored: Tables, decryption: Decryption, result: Result) -> dict[str, Any]:
    """Return ``content`` with the models, credentials and settings of the database; LiteLLM's file has precedence.

    No wildcard of the new file may serve the models that are only in the database."""
    rows = stored.get(MODELS, ())
    blocked = [read_text(row.get("model_name")) for row in rows if row.get("blocked") is True]
    served = [row for row in rows if row.get("blocked") is not True]
    models, lost = _decrypt_rows(served, "models", MODELS, lambda row: _model_item(row, decryption), result)
    credentials, _ = _decrypt_rows(
        stored.get(CREDENTIALS, ()), "credentials", CREDENTIALS, lambda row: _credential_item(row, decryption), result
    )
    result.remarks += (f"omitted, because LiteLLM blocks the model: {name}" for name in blocked)
    result.missing_names |= {name: "a model in the database" for name in (*lost, *blocked) if name}
    result.undecrypted = len(lost) + len(blocked)
    merged = {**content, "model_list": [*content["model_list"], *models]}
    result.models = len(merged["model_list"]) + result.undecrypted
    if credentials:
        merged["credential_list"] = [*(content.get("credential_list") or ()), *credentials]
    result.variables = section_of(content, _VARIABLES)
    for row in stored.get(SETTINGS, ()):
        _add_settings(read_text(row.get("param_name")), row.get("param_value"), merged, decryption, result)
    return merged


def _decrypt_rows(
    rows: Iterable[Row], noun: str, table: str, convert: Callable[[Row], Row], result: Result
) -> tuple[list[Row], list[str]]:
    """Return the converted rows, and the names of those that cannot be decrypted, which are losses."""
    found: list[Row] = []
    lost: dict[str, list[str]] = {}
    for row in rows:
        try:
            found.append(convert(row))
        except Undecryptable as error:
            lost.setdefault(str(error), []).append(read_text(row.get("model_name", row.get("credential_name"))))
    for why, names in lost.items():
        what = f"{noun} that are only in the database: {name_list([*dict.fromkeys(names)], noun)}"
        result.lose(what, (Group.NAMES, why), table, names)
    return found, [*chain(*lost.values())]


def _model_item(row: Row, decryption: Decryption) -> Row:
    """Return an item of ``model_list`` for a stored model. Raises ``Undecryptable``."""
    params, info = read_mapping(row.get("litellm_params")), read_mapping(row.get("model_info"))
    if not is_encrypted(params.get("model")):
        raise Undecryptable("LiteLLM did not encrypt them: write them into the file")
    found = {"model_name": row.get("model_name"), "litellm_params": decryption.decrypt(params)}
    return {**found, "model_info": {**info, STORED: True}}


def _credential_item(row: Row, decryption: Decryption) -> Row:
    """Return an item of ``credential_list`` for a stored credential. Raises ``Undecryptable``."""
    values = decryption.decrypt(read_mapping(row.get("credential_values")))
    return {"credential_name": row.get("credential_name"), "credential_values": values}


def _add_settings(section: str, value: Any, merged: dict[str, Any], decryption: Decryption, result: Result) -> None:
    """Add a section of the table of settings to ``merged`` or to the variables, or record its loss."""
    settings, what = read_mapping(value), f"{section} in the database"
    if section in _SECTIONS:
        merged[section] = _merge_section(section, settings, section_of(merged, section), result)
    elif section == _VARIABLES and is_set(value):
        try:
            found = decryption.decrypt(settings) if decryption.key else {}
        except Undecryptable:
            found = {}
        result.variables = {**result.variables, **{name: str(one) for name, one in found.items()}}
        if not found:
            what = f"{section} ({', '.join(sorted(settings))}) in the database"
            result.lose(what, (Group.NAMES, f"set these variables where trigate starts; {NO_KEY}"), SETTINGS)
    elif is_set(value):
        why = "people sign in with `issuers` (docs/people.md)"
        result.lose(what, (Group.PROTECTION, why) if section == "sso_config" else (Group.UNKNOWN, ""), SETTINGS)


def _merge_section(
    section: str, settings: Mapping[str, Any], given: Mapping[str, Any], result: Result
) -> dict[str, Any]:
    """Return the ``given`` section of the file with the ``settings`` of the database that it lacks."""
    for name in (name for name, value in settings.items() if name in given and given[name] != value):
        group, _ = tables.reason_of(name, (Group.PROTECTION, ""))
        why = "the file has another value, which new versions of LiteLLM prefer"
        result.lose(f"{section}.{name} in the database", (group, why), SETTINGS)
    if added := [f"{section}.{name}" for name in settings if name not in given]:
        result.remarks.append(f"from the database, as in LiteLLM: {', '.join(added)}")
    return {**settings, **given}
