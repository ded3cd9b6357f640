"""The edits of one request by the members of its client's key and group, its alias, and the entries of its targets.

Members of key, group and alias apply once, to the client's request. Members of an entry apply for each attempt, to the
request in the provider's API; the provider's quirks come last. Instructions are added for each attempt, too, so that no
stored turn contains them."""

from functools import partial
from typing import Final

import attrs

from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.features.request_members.settings import RequestMembers, request_of
from gateway.request.parse import Incoming
from gateway.request.prepare import omit_paths
from gateway.request.prepared import Preparation, Prepared
from gateway.routing.plan import Plan
from gateway.routing.target import NOTHING, Omissions, Target
from gateway.seams.edit_sent import Write
from providers.apis import CODECS
from providers.errors.member_paths import parse_paths
from providers.members.editing import (
    AppliedChanges,
    apply_for_provider,
    apply_level,
    present_members,
    without_overridden,
)
from providers.members.instructions import add_instructions
from providers.members.level import NO_MEMBERS, MemberLevel, combine
from providers.members.refused import drop_refused, drop_unsent, edit_contents, remove_placed
from providers.neutral.draft import Body, Draft, Edit
from streams.events import APIS

_INSTRUCTIONS: Final = Edit("system", lost=False, form="+", why="operator")


class ConfiguredMembers:
    """The request members of one configuration, by alias, client and entry."""

    def __init__(self, config: Config) -> None:
        names = {name: _compiled_level(request_of(route)) for name, route in config.routes.items()}
        self._names = {name: level for name, level in names.items() if level is not None}
        self._clients = config.by_client(_level_of_client)

    def edits_of(self, client: str | None, plan: Plan, wire: str) -> "MemberEdits":
        """Return the edits of a request of ``client`` with ``plan``.

        ``wire`` is the client's API, or the endpoint of a request that is no conversation."""
        return MemberEdits(self, client, plan, wire)

    def of_client(self, client: str | None) -> MemberLevel:
        """Return the members of a client's key and group."""
        return NO_MEMBERS if client is None else self._clients.get(client, NO_MEMBERS)

    def of_name(self, target: Target) -> MemberLevel:
        """Return the members of the alias under which ``target`` was requested."""
        return self._names.get(target.alias or "") or NO_MEMBERS

    @staticmethod
    def of_entry(target: Target) -> MemberLevel:
        """Return the members of the target's entry."""
        return _compiled_level(request_of(target.entry)) or NO_MEMBERS


def _level_of_client(key: ClientKey) -> MemberLevel | None:
    """Return the members of a client and its group, ``None`` without any."""
    level = combine(tuple(_compiled_level(request_of(one)) for one in (key, key.group) if one is not None))
    return None if level is NO_MEMBERS else level


def _compiled_level(members: RequestMembers | None) -> MemberLevel | None:
    return None if members is None else members.level


class MemberEdits:
    """The edits of one request. ``apply`` is called once, before the others."""

    def __init__(self, configured: ConfiguredMembers, client: str | None, plan: Plan, wire: str) -> None:
        self._configured = configured
        self._wire = wire
        self._applied = AppliedChanges()
        self._targets = plan.targets
        self._sent: frozenset[object] = frozenset()  # members that no default of an entry may replace
        aliases = {configured.of_name(target) for target in plan.targets}
        self._is_joined = len(aliases) > 1  # the request lists several names, so the alias depends on the target
        own = configured.of_client(client)
        self._level = own if self._is_joined else own.within(aliases.pop())

    def apply(self, incoming: Incoming) -> Incoming:
        """Return ``incoming`` with the members of key, group and alias. Raises ``GatewayError`` (400) for invalid JSON
        text."""
        incoming, self._applied = _edit_incoming(incoming, self._level.without_instructions(), self._wire)
        entries = (self._configured.of_entry(target) for target in self._targets)
        if wanted := {one.member for entry in entries for one in entry.defaults}:
            self._sent = present_members(Draft(incoming.json), self._wire, wanted)
        return incoming

    def with_lanes(self, plan: Plan) -> Plan:
        """Return ``plan`` with translated responses where a provider's would repeat the operator's instructions."""
        return plan.with_each_target(self._with_lane)

    def _with_lane(self, target: Target) -> Target:
        repeats = target.lane == "byte" and CODECS[target.api].wire.repeats_request
        return attrs.evolve(target, lane="hub") if repeats and self._all_members_of(target).has_instructions else target

    def preparation(self, write: Write, incoming: Incoming) -> Preparation:
        """Return a function that prepares the conversation ``incoming`` for a target; call it after ``apply``."""
        return partial(self._prepare_conversation, write, incoming, {})

    def with_entry_members(self, prepare: Preparation) -> Preparation:
        """Return ``prepare``, for an endpoint other than conversations, with the target entry's members added."""

        def prepare_with_members(target: Target, omissions: Omissions) -> Prepared:
            prepared = self._finish_request(prepare(target, omissions), target, omissions, self._applied)
            if not prepared.later_bodies:
                return prepared
            later = tuple(self._body_with_entry_members(body, target) for body in prepared.later_bodies)
            return attrs.evolve(prepared, later_bodies=later)

        return prepare_with_members

    def preparation_of_prompt(self, write: Write, incoming: Incoming) -> Preparation:
        """Return a function that prepares ``incoming`` for an operation without an answer, such as a count of tokens.

        Providers reject settings of answers there, so it only has instructions, maxima and drops."""
        draft, placed = Draft(incoming.json), self._applied.placed
        edit_contents(draft, self._wire, lambda inner: remove_placed(inner, placed))
        prompt, removed = _with_body(incoming, draft), {one.member.shown for one in placed}
        earlier = AppliedChanges(tuple(edit for edit in self._applied.edits if edit.path not in removed))

        def prepare_prompt(target: Target, omissions: Omissions) -> Prepared:
            own, later = _edit_incoming(prompt, self._all_members_of(target).instructions(), self._wire)
            prepared = write(own, target, omissions)
            edits = _join_edits(earlier.plus(later), prepared.outgoing.edits)
            return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, edits=edits))

        return prepare_prompt

    def has_instructions(self, target: Target) -> bool:
        """Return whether requests to ``target`` get instructions."""
        return self._all_members_of(target).has_instructions

    def with_instructions(self, incoming: Incoming, target: Target) -> Incoming:
        """Return ``incoming`` with the instructions for ``target``."""
        return _edit_incoming(incoming, self._all_members_of(target).instructions(), self._wire)[0]

    def edit_line(self, incoming: Incoming, target: Target) -> bytes:
        """Return the body of a batch's request ``incoming`` with all members for ``target``. Call instead of ``apply``.

        Raises ``GatewayError`` (400) for invalid JSON text."""
        draft = Draft(self.with_instructions(self.apply(incoming), target).json)
        last = self._apply_entry_members(self._level, target, draft, self._wire)
        placed = (*self._applied.placed, *last.placed)
        if placed and self._wire in APIS:
            drop_refused(draft, self._wire, target.recipient.quirks, placed)
            sent = Draft.of(draft.encode())
            _apply_quirks(sent, target, NOTHING, is_conversation=True)
            drop_unsent(draft, sent, placed)
        return draft.encode()

    def _all_members_of(self, target: Target) -> MemberLevel:
        """Return the members of all levels for ``target``."""
        level = self._level.within(self._configured.of_name(target)) if self._is_joined else self._level
        return level.within(self._configured.of_entry(target))

    def _prepare_conversation(
        self,
        write: Write,
        incoming: Incoming,
        made: dict[MemberLevel, tuple[Incoming, AppliedChanges]],
        target: Target,
        omissions: Omissions,
    ) -> Prepared:
        """Write the request with its instructions for ``target``, and apply the entry's members.

        ``made`` has the client's request by level."""
        level = self._all_members_of(target).instructions()
        if self._is_joined:
            level = self._configured.of_name(target).with_instructions_of(level)
        if level not in made:
            made[level] = _edit_incoming(incoming, level, self._wire)
        own, later = made[level]
        applied = self._applied.plus(later)
        return self._finish_request(write(own, target, omissions), target, omissions, applied)

    def _finish_request(
        self, prepared: Prepared, target: Target, omissions: Omissions, applied: AppliedChanges
    ) -> Prepared:
        """Return ``prepared`` with the members that apply after the translation, and with a report of all changes."""
        level = self._all_members_of(target) if self._is_joined else self._level
        outgoing = prepared.outgoing
        draft = Draft.of(outgoing.body)
        is_conversation = target.endpoint_place is None
        wire = target.api if is_conversation else self._wire
        last = self._apply_entry_members(level, target, draft, wire)
        if draft.changed or applied.placed:
            if is_conversation:
                placed = (*applied.placed, *last.placed)
                last = last.plus(drop_refused(draft, wire, target.recipient.quirks, placed))
            if draft.changed:
                _apply_quirks(draft, target, omissions, is_conversation)
        earlier = without_overridden(outgoing.edits, last, self._wire)
        edits = _join_edits(applied.plus(last), (*earlier, *draft.edits))
        body = draft.encode()
        return attrs.evolve(prepared, outgoing=attrs.evolve(outgoing, body=body, edits=edits))

    def _apply_entry_members(self, level: MemberLevel, target: Target, draft: Draft, wire: str) -> AppliedChanges:
        entry = self._configured.of_entry(target)
        if self._sent:
            defaults = (one for one in entry.defaults if one.member not in self._sent or isinstance(one.value, dict))
            entry = attrs.evolve(entry, defaults=tuple(defaults))
        last = level.for_attempt(self._wire, wire, entry)
        return apply_for_provider(last, draft, wire, target.recipient.quirks, self._applied)

    def _body_with_entry_members(self, body: bytes, target: Target) -> bytes:
        draft = Draft.of(body)
        self._apply_entry_members(self._level, target, draft, self._wire)
        return draft.encode()


def _edit_incoming(incoming: Incoming, level: MemberLevel, wire: str) -> tuple[Incoming, AppliedChanges]:
    """Return ``incoming`` with the members and instructions of ``level``."""

    def edit(draft: Draft) -> AppliedChanges:
        applied = apply_level(level, draft, wire) if level.edits_members else AppliedChanges()
        if level.has_instructions and wire in APIS:
            add_instructions(draft, wire, level.before, level.after)
            applied = applied.plus(AppliedChanges((_INSTRUCTIONS,)))
        return applied

    draft = Draft(incoming.json)
    applied = edit_contents(draft, wire, edit)
    return _with_body(incoming, draft), applied


def _with_body(incoming: Incoming, draft: Draft) -> Incoming:
    if not draft.changed:
        return incoming
    body = draft.encode()
    return attrs.evolve(incoming, body=body, members=Body.of(body).members)


def _apply_quirks(draft: Draft, target: Target, omissions: Omissions, is_conversation: bool) -> None:
    """Remove what the provider is known to reject or has rejected, as for the client's members."""
    omit_paths(draft, parse_paths(target.recipient.quirks.refused_fields), "provider")
    omit_paths(draft, omissions.paths, "rejected")
    if is_conversation:
        CODECS[target.api].adapt(draft, target.recipient)


def _join_edits(applied: AppliedChanges, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Return the ``edits`` of a request together with the operator's. A default that is lost is the operator's loss."""
    own: list[Edit] = []
    gone: set[str] = set()
    for edit in edits:
        placed = applied.placed_at(edit.path) if edit.lost else ()
        gone.update(one.member.shown for one in placed)
        is_default = bool(placed) and all(one.is_default for one in placed)
        own.append(attrs.evolve(edit, why="operator") if is_default else edit)
    gone.update(edit.path for edit in applied.edits if edit.lost)
    return (*own, *(edit for edit in applied.edits if edit.lost or edit.path not in gone))
