"""The result of ``trigate import``: the sections of the new one, what of the old one is lost,
and the text that says both."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import attrs
import yaml

from gateway.commands.litellm import Group, Loss
from gateway.config.loading import from_mapping
from gateway.config.names import Names
from streams.errors import GatewayError

VERSION = "v0.4.0"
PORT = 4000  # LiteLLM's
NO_DOOR: Final = (
    "Everybody who can connect may come in: the file has no master_key. If LITELLM_MASTER_KEY was set beside it, list "
    "it under client_keys."
)

_SHOWN = 6  # of what is lost in a group, in the summary


@attrs.frozen
class Deployment:
    """An item of LiteLLM's ``model_list``: the ``entry`` that it has become, its place among those of its name, its
    share of them (``rate`` where none is said), and how many requests there may be for one."""

    entry: dict[str, Any]
    order: float | None = None
    weight: float | None = None
    rate: float | None = None
    attempts: int | None = None

    @property
    def name(self) -> str:
        return str(self.entry.get("name", self.entry["model"]))


@attrs.define
class Result:
    """The sections of the new file, and what of the old one they do not hold."""

    entries: list[tuple[list[str], dict[str, Any]]] = attrs.field(factory=list)
    deployments: dict[str, list[Deployment]] = attrs.field(factory=dict)
    """By the name that clients ask for, those of patterns left out."""
    aliases: dict[str, Any] = attrs.field(factory=dict)
    same: dict[str, str] = attrs.field(factory=dict)
    """Aliases of names with several targets, and these: each has the targets itself."""
    attempts: int | None = None
    retries: dict[str, Any] = attrs.field(factory=dict)
    circuit: dict[str, Any] = attrs.field(factory=dict)
    notes_on_retries: list[str] = attrs.field(factory=list)
    client_keys: list[dict[str, Any]] = attrs.field(factory=list)
    timeouts: dict[str, str] = attrs.field(factory=dict)
    limits: dict[str, Any] = attrs.field(factory=dict)
    access_groups: dict[str, list[str]] = attrs.field(factory=dict)
    models: int = 0
    """Items in the old ``model_list``."""
    losses: list[Loss] = attrs.field(factory=list)
    unpriced: bool = False
    """Whether models without a price are asked though there is a budget of money."""
    knows_keys: bool = False
    """Whether the clients' keys in LiteLLM's database have been exported."""
    no_longer_good: tuple[str, ...] = ()
    """Clients' keys that are blocked or have expired."""
    remarks: list[str] = attrs.field(factory=list)
    """What stands at the end: settings that were left out."""

    @property
    def lost(self) -> int:
        return len(self.losses)

    @property
    def names(self) -> set[str]:
        """The names of entries, as they are written in the new file."""
        return {entry.get("name", entry["model"]) for _, entry in self.entries}

    def known(self) -> Callable[[str], bool]:
        """A function that says whether a model can be asked for by a name, written as in the new file."""
        entries = {entry.get("name", entry["model"]): entry for _, entry in self.entries}  # some share one as yet
        content = {"version": VERSION, "model_providers": [*entries.values()]}
        direct, written = Names(from_mapping(content).entries, {}).direct, {*self.names, *self.aliases}

        def known(name: str) -> bool:
            try:
                return name in written or direct(name) is not None
            except GatewayError:  # it means several
                return False

        return known

    def leave_out(self, what: str, reason: tuple[Group, str]) -> str:
        loss = Loss(reason[0], what, reason[1])
        self.losses.append(loss)
        return str(loss)


def literal(text: str) -> str:
    """``text`` as the file has it, where ``$`` begins a variable."""
    return text.replace("$", "$$")


# The text


def lines(result: Result, source: str) -> Iterator[str]:
    """The lines of the new file."""
    yield f"# From {_one_line(source)} by trigate import. Try it: trigate check"
    if counts := ", ".join(f"{group.value} {len(losses)}" for group, losses in _grouped(result.losses)):
        yield f"# Not carried, and named below: {counts}"
    yield f"version: {VERSION}"
    yield ""
    yield "listeners:"
    yield f"  # {PORT} is LiteLLM's port; it listens on all addresses of its machine, which is `address: 0.0.0.0`"
    yield f"  - {{type: model, name: models, address: 127.0.0.1, port: {PORT}}}"
    yield ""
    yield "model_providers:"
    for remarks, entry in result.entries:
        yield from (f"  # {_one_line(remark)}" for remark in remarks)
        for number, (key, value) in enumerate(entry.items()):
            yield f"  {' ' if number else '-'} {key}: {_yaml(value)}"
    if result.aliases:
        yield from ("", "model_aliases:")
        for alias, target in result.aliases.items():
            yield from _alias(alias, target)
    if result.client_keys:
        yield from ("", "client_keys:")
        yield from (f"  - {_yaml(key)}" for key in result.client_keys)
    else:
        yield from ("", f"# {NO_DOOR}")
    if result.unpriced:
        yield from ("", "unpriced: allow")
    yield from _attempts(result)
    if result.timeouts:
        yield from ("", f"timeouts: {_yaml(result.timeouts)}")
    if result.limits:
        yield ""
        if "in_flight" in result.limits:
            yield "# in_flight is for each worker"
        yield f"limits: {_yaml(result.limits)}"
    if result.remarks:
        yield ""
        yield from (f"# {_one_line(remark)}" for remark in result.remarks)


def _attempts(result: Result) -> Iterator[str]:
    if result.retries:
        yield ""
        yield from (f"# {_one_line(note)}" for note in result.notes_on_retries)
        yield f"retries: {_yaml(result.retries)}"
    if result.circuit:
        yield from ("", "# When a target is left alone, and for how long", f"circuit: {_yaml(result.circuit)}")


def _alias(alias: str, target: dict[str, Any]) -> Iterator[str]:
    """An alias; of one with several targets each on a line of its own."""
    if "targets" not in target:
        yield f"  {_yaml(alias)}: {_yaml(target)}"
        return
    yield f"  {_yaml(alias)}:"
    yield "    targets:"
    yield from (f"      - {_yaml(one)}" for one in target["targets"])
    yield from (f"    {key}: {_yaml(value)}" for key, value in target.items() if key != "targets")


def summary(result: Result) -> Iterator[str]:
    """Summarise what is carried over and what is lost, by what the loss means."""
    counts = [_counted(result.models, "model")]
    counts[0] = f"{len(result.entries)} of {counts[0]}"
    routes = sum("targets" in target for target in result.aliases.values())
    aliases = len(result.aliases) - routes
    counts += [_counted(aliases, "alias", "es")] if aliases else []
    counts += [f"{_counted(routes, 'name')} with several targets (groups and fallbacks)"] if routes else []
    counts += [_counted(len(result.client_keys), "client key")] if result.client_keys else []
    last = counts.pop()
    yield f"Carried over: {' and '.join(filter(None, (', '.join(counts), last)))}."
    if not result.client_keys:
        yield NO_DOOR
    if result.no_longer_good:
        yield f"Keys that were no longer good are left out: {', '.join(map(_one_line, result.no_longer_good))}."
    if not result.losses:
        yield "Nothing is lost."
        return
    trifles = all(loss.group is Group.TRIFLES for loss in result.losses)
    yield "Not carried are trifles alone, named in comments:" if trifles else "Not carried, and named in comments:"
    for group, losses in _grouped(result.losses):
        shown = [_one_line(loss.what) for loss in losses[:_SHOWN]]
        more = [f"{len(losses) - _SHOWN} more"] if len(losses) > _SHOWN else []
        yield f"  {group.value} ({len(losses)}): {', '.join((*shown, *more))}."


def _counted(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def _grouped(losses: Sequence[Loss]) -> Iterator[tuple[Group, list[Loss]]]:
    for group in Group:
        if found := [loss for loss in losses if loss.group is group]:
            yield group, found


def _yaml(value: Any) -> str:
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)[1:-2]


def _one_line(text: str) -> str:
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", text)
