"""The row of pass-through, and its keys in entries and clients."""

import re
from typing import Any, Final

import attrs

from configfile.document import Path
from configfile.keys import part_of, setting
from gateway.config.clients import ClientKey
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Absent, ItemPart
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.config_files.client_access import check_patterns
from gateway.seams.feature import Feature, Keys

TAKEN_STEPS: Final = frozenset(
    ("v1", "v2", "v1beta", "v1alpha", "v1beta1", "ui", "metrics", "healthz", "readyz", "livez", "health", "ready",
     "live", "upload", "download", "ws", "model", "models", "chat", "messages", "responses", "conversations",
     "projects", "publishers", "")
)  # fmt: skip
"""First steps of the gateway's own paths, which entries cannot use."""

_PATH_NAME: Final = re.compile(r"[A-Za-z0-9._-]+(?:/(?:[A-Za-z0-9._:@-]+|\*))*")


@attrs.frozen
class PassThroughKeys(ItemPart):
    """The keys of an entry."""

    passthrough: bool = setting(
        "[Serve every path](endpoints.md#pass-through) of the provider under `/NAME/…`, with this entry's credential. "
        "NAME is the entry's, or the provider's if only one of its entries passes through.",
        False,
    )

    def complete(self, item: ModelEntry, path: Path, config: Any, findings: Findings) -> "PassThroughKeys":
        """Report an entry whose name cannot begin a path."""
        if self.passthrough and (item.name.split("/")[0] in TAKEN_STEPS or not _PATH_NAME.fullmatch(item.name)):
            found = f"{item.name} cannot be the start of a path"
            advice = (
                "give the entry a `name` of letters, digits, `-`, `_` and `.` that is not the start of a path of the "
                "gateway"
            )
            findings.wrong((*path, "passthrough"), found, advice)
        return self


@attrs.frozen
class PassThroughRights(ItemPart):
    """The keys of a client."""

    passthrough: tuple[str, ...] = setting(
        "The entries with `passthrough: true` that accept any request from it, by name with `*`.", ()
    )

    def complete(self, item: ClientKey, path: Path, config: Config, findings: Findings) -> "PassThroughRights":
        if self.passthrough or "passthrough" in findings.given_attributes(path):
            check_patterns(self.passthrough, (*path, "passthrough"), config.entries or None, findings)
        return self


def may_pass_through(client: ClientKey, entry: ModelEntry) -> bool:
    """Return whether ``client`` may send any request through ``entry``, if it may use that at all."""
    return matches_one(entry.name, part_of(client, PassThroughRights).passthrough)


def passes_through(entry: ModelEntry) -> bool:
    """Return whether all paths of its provider are served below the name of ``entry``."""
    return part_of(entry, PassThroughKeys).passthrough


ADVICE: Final = (
    Absent(
        "Fine-tuning",
        "trigate starts no jobs, but `passthrough: true` on an entry forwards requests for them",
        "fine_tuning finetuning finetune_settings",
        (Config,),
    ),
)

FEATURE: Final = Feature(
    "pass_through",
    "gateway.features.pass_through.routes:open_pass_through",
    lambda config: any(map(passes_through, config.entries)),
    keys=(Keys(ModelEntry, PassThroughKeys), Keys(ClientKey, PassThroughRights)),
    advice="gateway.features.pass_through.feature:ADVICE",
)
