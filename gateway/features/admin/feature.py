"""The row of the HTTP API of keys, groups and people, and of keys in the state storage (``stored_keys``)."""

from typing import TYPE_CHECKING, Any, Final

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.keys import part_of, setting
from gateway.config.amounts import Budget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.findings import Findings
from gateway.config.parts import ClientRights, ItemPart
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS, is_storage_in_doubt
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from gateway.config_files.building import Building


def _change_text(on: bool) -> str:
    return f"clients in the state storage are {'now' if on else 'no longer'} accepted"


@attrs.frozen
class AdminKeys:
    """The keys of the root."""

    stored_keys: bool = setting(
        "Also accept keys made with `trigate keys`. Every request then needs a key.",
        False,
        told=_change_text,
        admits=True,
    )


@attrs.frozen
class RaiseRights(ItemPart):
    """The keys of clients, groups and rules."""

    raise_to: tuple[Budget, ...] = setting(
        "The highest amounts to which a [raise](people-reference.md#raises) may lift its own `budgets`.",
        (),
        shown="none: no raise",
    )

    def complete(self, item: ClientKey | ClientGroup, path: Path, config: Config, findings: Findings) -> "RaiseRights":
        """Report amounts that raise none of the holder's ``budgets``."""
        own = {(budget.currency, budget.period): budget for budget in item.budgets}
        for i, most in enumerate(self.raise_to):
            if isinstance(most, Unresolved):
                continue
            place = (*path, "raise_to", i)
            budget = own.get((most.currency, most.period))
            if budget is None:
                findings.no_effect(place, f"`budgets` has no amount for the period of {most.text}")
            elif most.most < budget.most:
                findings.wrong(place, f"{most.text} is less than the budget of {budget.text}", "set a higher amount")
        return self

    def beyond_lead(self) -> None:
        """Let a lead permit raises."""


def build_stored_keys(config: Config, building: "Building") -> Config:
    """Let the stored clients be read, and report a storage that cannot have them."""
    kept = config.state_storage
    if not part_of(config, AdminKeys).stored_keys:
        return config
    if not is_storage_in_doubt(kept, building.findings) and (kept is None or kept.type not in KEEPING_KEYS):
        found = f"keys cannot be stored: state_storage is {'not set' if kept is None else f'of type {kept.type}'}"
        building.findings.wrong(("stored_keys",), found, "set the type of state_storage to sqlite or postgres")
    served = ("stored_keys", "only `trigate serve` reads keys that are created at run time")
    return attrs.evolve(config, stored_clients="unread", only_served=(*config.only_served, served))


def add_storage_rule(schema: dict[str, Any]) -> None:
    """Add to a JSON Schema that stored keys need a storage."""
    schema["if"] = {"properties": {"stored_keys": {"const": True}}, "required": ["stored_keys"]}
    kept = {"properties": {"type": {"enum": list(KEEPING_KEYS)}}}
    schema["then"] = {"required": ["state_storage"], "properties": {"state_storage": kept}}


def _can_store_clients(config: Config) -> bool:
    return config.state_storage is not None and config.state_storage.type in KEEPING_KEYS


FEATURE: Final = Feature(
    "admin",
    "gateway.features.admin.opening:open_admin",
    keys=(Keys(Config, AdminKeys), Keys(ClientRights, RaiseRights), Keys(ClientGroup, RaiseRights)),
    build="gateway.features.admin.feature:build_stored_keys",
    schema="gateway.features.admin.feature:add_storage_rule",
    first_steps=("me", "admin"),
    find_client="gateway.features.admin.commands.client_by_name:find_stored",
    client_source="gateway.features.admin.storage:open_keys",
    stores_clients=_can_store_clients,
)
