"""The key ``ledger`` of the state storage."""

from typing import TYPE_CHECKING, Final

import attrs

from configfile.document import Path
from configfile.keys import part_of, setting
from configfile.kinds import Duration, Size
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Instead, ItemPart
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS, StateStorage

if TYPE_CHECKING:
    from gateway.config_files.building import Building


@attrs.frozen(repr=False)
class KeptLedgerSettings:
    """The part of the ledger kept in a database: the lines of the last ``keep`` seconds (0: none), at most
    ``max_bytes``."""

    keep: Duration = setting(
        "The lifetime of the lines of the [kept ledger](costs.md#the-kept-ledger). `0` keeps none.", 400 * 86400.0
    )
    max_bytes: Size = setting(
        "The size at which the oldest lines become [sums](costs.md#when-the-ledger-is-full), which keep their costs. A "
        "line takes about 256 bytes.",
        2**30,
    )


@attrs.frozen
class LedgerKeys(ItemPart):
    """The keys of the state storage."""

    ledger: KeptLedgerSettings = setting(
        "The part of the ledger that is kept there, with `sqlite` and `postgres`.",
        KeptLedgerSettings(),
    )

    def complete(self, item: StateStorage, path: Path, config: Config, findings: Findings) -> "LedgerKeys":
        if "ledger" in findings.given_attributes(path) and item.type not in KEEPING_KEYS:
            found = f"type {item.type} stores no ledger, only sqlite and postgres do; ignored"
            findings.no_effect((*path, "ledger"), found)
        return self


def ledger_in(storage: StateStorage | None) -> KeptLedgerSettings:
    """Return the settings of the ledger in ``storage``."""
    return part_of(storage or StateStorage(), LedgerKeys).ledger


def build_ledger(config: Config, building: "Building") -> Config:
    """Note for how long spending is kept."""
    return attrs.evolve(config, kept_spending=ledger_in(config.state_storage).keep)


ADVICE: Final = (
    Instead("`trigate reconcile` compares invoices by day and model, so leave it out", "billed_as", (ModelEntry,)),
    Instead(
        "`state_storage: {type: sqlite, path: state.sqlite}` keeps it; its settings are in `state_storage.ledger`",
        "ledger kept_ledger costs spend usage",
        (Config,),
    ),
)
