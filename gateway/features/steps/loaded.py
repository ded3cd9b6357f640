"""The loaded steps of a configuration."""

import inspect
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

import attrs
import trio

from configfile.document import ConfigError, Mistake
from gateway.config.patterns import matches
from gateway.features.steps.breaker import StepBreakers
from gateway.features.steps.kinds import KindHold
from gateway.features.steps.mask_key import keep_mask_key, stored_mask_key
from gateway.features.steps.resources import StepResource, describe_error
from gateway.features.steps.settings import StepSettings
from gateway.features.steps.slots import StepSlots
from gateway.http.request_scope import RequestScope
from gateway.stores.errors import Unavailable
from gateway.stores.store import Store
from trigate.steps import Action, Moment, Part, Passage


@attrs.frozen(repr=False)
class ClientFacts:
    """The facts of a request that decide which steps apply.

    ``models`` are the configured name of the requested model, then the name that the client wrote; if there are none,
    it may be every model. ``endpoint`` is an endpoint's name, or the API of a conversation; "" may be each.
    ``requested`` are the steps that the client lists."""

    client: str | None = None
    group: str | None = None
    models: tuple[str, ...] = ()
    endpoint: str = ""
    requested: frozenset[str] = frozenset()


log = logging.getLogger("trigate.steps")

T = TypeVar("T")

MOST_APPLIED: Final = 256
"""The most combinations of steps whose conclusions are kept."""


@attrs.frozen(eq=False, repr=False)
class StepState:
    """The parts of a step that change: its slots, pauses and resources. A reload keeps those of unchanged steps."""

    slots: StepSlots
    breaker: StepBreakers = attrs.field(factory=StepBreakers)
    resource: StepResource | None = None
    logged: dict[str, float] = attrs.field(factory=dict)
    number: int = attrs.field(factory=count().__next__)
    """A number that no other state of the process has."""


def _computed_field(compute: "Callable[[Any], T]") -> T:
    """Return a field whose value ``compute`` finds from the fields before it."""
    return attrs.field(init=False, default=attrs.Factory(compute, takes_self=True))


@attrs.frozen(eq=False, repr=False)
class LoadedStep:
    """A step with its code and its settings, all defaults included.

    ``order`` is its position in the file, ``moments`` are its times. ``actions`` are one for all labels, or one by
    label; ``None`` means that the service decides. ``function`` is ``None`` for a step with a ``resource``. An observer
    gets records instead of checks. ``is_inline``: a fast pure function that needs no thread. ``remembers``: texts that
    were clean need no second check."""

    name: str
    order: int
    settings: StepSettings
    moments: tuple[Moment, ...]
    actions: Action | Mapping[str, Action] | None
    hold: KindHold
    parts: frozenset[Part]
    state: StepState
    function: Any = None
    is_observer: bool = False
    is_inline: bool = False
    remembers: bool = False
    wants_content: bool = False
    may_mask: bool = _computed_field(lambda self: "mask" in self.configured_actions)
    """True if the step may mask text. A mask that it returns otherwise is a refusal in responses."""
    only_reports: bool = _computed_field(lambda self: self.configured_actions <= {"report"})
    """True if the step changes, holds and delays nothing."""
    reports_later: bool = _computed_field(lambda self: self.only_reports and not self.is_inline)
    """True if no request waits for the calls of the step, which only reports."""
    refuses_unchecked: bool = _computed_field(
        lambda self: self.settings.unchecked == "refuse" and not self.only_reports
    )
    """True if the step refuses content that it could not check."""

    @property
    def callable(self) -> Any:
        """The function to call, ``None`` while its resource is closed."""
        resource = self.state.resource
        return self.function if resource is None else resource.function

    def at(self, moment: Moment) -> bool:
        """Return whether the step checks at ``moment``."""
        return moment in self.moments

    @property
    def only_finished(self) -> bool:
        """Whether the step concerns the records of finished requests alone."""
        return set(self.moments) <= {"finished"}

    def applies(self, facts: ClientFacts) -> bool:
        """Return whether the step applies to a request, if an entry that ``applies_to_entry`` serves it."""
        scope = self.settings.scope
        return scope.is_for_all or (
            (not scope.on_request or self.name in facts.requested)
            and matches(scope.clients, (facts.client,))
            and matches(scope.groups, (facts.group,))
            and (not facts.models or matches(scope.models, facts.models))
            and (not facts.endpoint or matches(scope.endpoints, (facts.endpoint,)))
        )

    @property
    def is_for_some_entries(self) -> bool:
        """Whether the step depends on the entry, and so runs before the first attempt at one."""
        return self.settings.scope.entries is not None

    def applies_to_entry(self, entry_name: str) -> bool:
        return matches(self.settings.scope.entries, (entry_name,))

    def covers_endpoint(self, endpoint: str) -> bool:
        """Return whether ``for`` includes ``endpoint``."""
        return matches(self.settings.scope.endpoints, (endpoint,))

    def action_for(self, label: str, returned: Action | None = None) -> Action:
        """Return the action for a finding with ``label``; ``returned`` is the one in the finding itself."""
        if self.actions == "report":
            return "report"
        configured = self.actions.get(label) if isinstance(self.actions, Mapping) else self.actions
        is_service = self.settings.kind_settings is not None and not self.is_inline
        if is_service and self.actions is not None:  # which it does not override
            return configured or "refuse"
        if configured == "report":
            return "report"
        return returned or configured or "refuse"

    @property
    def configured_actions(self) -> frozenset[Action]:
        """Every action that the settings name; without any, the service may return each."""
        if self.actions is None:
            return frozenset(("mask", "refuse", "report"))
        if isinstance(self.actions, Mapping):
            return frozenset((*self.actions.values(), "refuse"))
        return frozenset((self.actions,))

    @property
    def sees_text_so_far(self) -> bool:
        """Whether each call in a stream gets the text of a block from its beginning."""
        return getattr(self.callable, "sees_text_so_far", False)

    def held_back(self, passage: Passage) -> int:
        """Return the characters at the end of a checked ``passage`` that a service wants to see again with more
        text."""
        found = getattr(self.callable, "held_back", None)
        return 0 if found is None else found(passage)


def is_async(function: Any) -> bool:
    """Return whether a call of ``function`` returns an awaitable."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


@attrs.frozen(eq=False, repr=False)
class AnswerSteps:
    """The steps for the responses of an entry.

    ``may_change``: one of them may mask a response, or replace it by an answer that ends. ``may_cut``: one may refuse
    text that the client has already. ``may_wait``: a call of one may take long. ``holds_whole``: one holds the complete
    response."""

    steps: tuple[LoadedStep, ...]
    _enforcing: tuple[LoadedStep, ...] = _computed_field(
        lambda self: tuple(one for one in self.steps if not one.only_reports)
    )
    may_change: bool = _computed_field(
        lambda self: any(one.may_mask or one.settings.refusal.form == "stop" for one in self.steps)
    )
    may_cut: bool = _computed_field(lambda self: any(one.hold == "nothing" for one in self._enforcing))
    may_wait: bool = _computed_field(lambda self: not all(one.is_inline for one in self.steps))
    holds_whole: bool = _computed_field(lambda self: any(one.hold == "whole" for one in self._enforcing))
    plain_kinds: tuple[Any, ...] | None = _computed_field(
        lambda self: (
            tuple(one.function for one in self._enforcing if "assistant" in one.parts)
            if all(one.hold == "tail" for one in self._enforcing)
            else None
        )
    )
    """The built-in kinds that check the text of the model, ``None`` if other code checks or holds it."""


@attrs.frozen(eq=False, repr=False)
class AppliedSteps:
    """The steps that apply to a request, in the order of the file.

    ``parts`` are the parts of its texts that a step sees. ``at_request`` and ``at_during`` are the steps of these
    moments that run whatever entry serves the request; ``for_entries`` are those that run before an attempt at some
    entries. ``groups`` are the steps ``at_request`` by call: neighbours that cannot mask are called together.
    ``enforces``: one of them does more than report. ``refuses_unchecked``: one of these refuses content that it could
    not check. ``restores``: values that a step masked return to the client. ``may_hide_later``: a step may mask or
    refuse the request during the provider's work, or before an attempt."""

    steps: tuple[LoadedStep, ...]
    at_request: tuple[LoadedStep, ...] = _computed_field(lambda self: self._steps_at("request", for_entries=False))
    at_during: tuple[LoadedStep, ...] = _computed_field(lambda self: self._steps_at("during", for_entries=False))
    for_entries: tuple[LoadedStep, ...] = _computed_field(lambda self: self._steps_at("request", for_entries=True))
    groups: tuple[tuple[LoadedStep, ...], ...] = _computed_field(lambda self: concurrent_groups(self.at_request))
    parts: frozenset[Part] = _computed_field(lambda self: frozenset(part for one in self.steps for part in one.parts))
    enforces: bool = _computed_field(lambda self: not all(one.only_reports for one in self.steps))
    refuses_unchecked: bool = _computed_field(lambda self: any(one.refuses_unchecked for one in self.steps))
    restores: bool = _computed_field(lambda self: any(one.settings.restore for one in self.steps))
    may_hide_later: bool = _computed_field(
        lambda self: any(not one.only_reports for one in (*self.at_during, *self.for_entries))
    )
    _answers: dict[str, AnswerSteps] = attrs.field(factory=dict, init=False)

    def _steps_at(self, moment: Moment, *, for_entries: bool) -> tuple[LoadedStep, ...]:
        return tuple(one for one in self.steps if one.at(moment) and one.is_for_some_entries == for_entries)

    def for_answers_of(self, entry_name: str) -> AnswerSteps:
        """Return the steps for the responses of an entry."""
        if (known := self._answers.get(entry_name)) is None:
            steps = (step for step in self.steps if step.at("response") and step.applies_to_entry(entry_name))
            known = self._answers[entry_name] = AnswerSteps(tuple(steps))
        return known


def concurrent_groups(steps: Sequence[LoadedStep]) -> tuple[tuple[LoadedStep, ...], ...]:
    """Return ``steps`` in order, neighbours that cannot mask together."""
    groups: list[list[LoadedStep]] = []
    for step in steps:
        if groups and not step.may_mask and not groups[-1][-1].may_mask:
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(map(tuple, groups))


class StepSet:
    """The steps of one configuration, in the order of the file.

    Requests lease it, so that resources stay open until the last request of a replaced configuration."""

    def __init__(self, steps: Sequence[LoadedStep], mask_key: bytes = b"", before: "StepSet | None" = None) -> None:
        """Make the set with the configured ``mask_key``, else with that of the set ``before``."""
        self.steps = tuple(steps)
        self.mask_key: bytes = mask_key or (secrets.token_bytes(32) if before is None else before.mask_key)
        """The key of placeholders: with the same one, a value has the same placeholder in every worker."""
        self.has_own_key = bool(mask_key)
        """True if the configuration has the key."""
        self.by_name = {step.name: step for step in self.steps}
        self.failed: ConfigError | None = None
        """The reason why a resource could not be opened."""
        self.hidden = frozenset(step.name for step in self.steps if step.only_reports)
        """The names of steps that only report."""
        self.needs_run = any(not step.is_inline for step in self.steps)
        """True if a step or an observer gets the client's name for a group of requests. Built-in kinds ignore it."""
        self._checking = tuple(step for step in self.steps if not step.only_finished)
        self.is_for_all = all(step.settings.scope.is_for_all for step in self._checking)
        """True if every step that checks applies to every request."""
        self.applied_to_all = AppliedSteps(self._checking) if self.is_for_all and self._checking else None
        """The steps that check each request, if they are the same for all."""
        self._applied: dict[tuple[LoadedStep, ...], AppliedSteps] = {}
        self._is_leased = bool(self.resources) or any(step.is_observer for step in self.steps)
        self._leases = 0
        self._unused = trio.Event()
        self._keeping = trio.CancelScope()

    @property
    def resources(self) -> tuple[StepResource, ...]:
        return tuple(step.state.resource for step in self.steps if step.state.resource is not None)

    def steps_for(self, facts: ClientFacts) -> tuple[LoadedStep, ...]:
        """Return the steps that apply to a request, some of them only before an attempt at certain entries."""
        return tuple(step for step in self.steps if step.applies(facts))

    def applied_steps(self, facts: ClientFacts) -> AppliedSteps | None:
        """Return the steps that check a request, some of them only before an attempt at certain entries; ``None`` if
        there are none."""
        if self.is_for_all:
            return self.applied_to_all
        if not (steps := tuple(step for step in self._checking if step.applies(facts))):
            return None
        if (known := self._applied.get(steps)) is None:
            if len(self._applied) >= MOST_APPLIED:
                self._applied.clear()
            known = self._applied[steps] = AppliedSteps(steps)
        return known

    def unavailable_names(self, facts: ClientFacts) -> tuple[str, ...]:
        """Return the names in ``facts.requested`` that are no step, or none for this client."""
        return tuple(
            name
            for name in sorted(facts.requested)
            if (step := self.by_name.get(name)) is None or not step.applies(facts)
        )

    @property
    def observers(self) -> tuple[LoadedStep, ...]:
        """The steps that get records of finished requests, and those that mask them."""
        return tuple(step for step in self.steps if step.at("finished"))

    async def open(self, nursery: trio.Nursery, store: Store | None = None, *, is_reload: bool = False) -> None:
        """Read the key of placeholders from ``store``, if the configuration has none, and open the resources in order,
        as tasks of ``nursery``.

        Raises ``ConfigError`` for the first that fails. After a reload that is logged: the step checks nothing, so its
        ``unchecked`` decides."""
        self.begin()
        if store is not None and not self.has_own_key and any(step.may_mask for step in self.steps):
            try:
                self.mask_key = await stored_mask_key(store)
            except Unavailable as error:
                log.warning("values have new masks, because the state storage has no key for them: %s", error)
            else:
                nursery.start_soon(self._keep_key, store)
        for step in self.steps:
            if (resource := step.state.resource) is not None:
                try:
                    await nursery.start(resource.run)
                except (Exception, BaseExceptionGroup) as error:
                    written = step.settings.written or Mistake("", "steps", "", "")
                    found = f"the step {step.name} could not start: {describe_error(error)}"
                    failed = ConfigError((attrs.evolve(written, found=found, expected="correct its settings"),))
                    if is_reload:
                        log.error("%s", failed)
                        continue
                    self.failed = failed
                    await self.aclose()
                    raise failed from None

    async def _keep_key(self, store: Store) -> None:
        with self._keeping:
            await keep_mask_key(store, self.mask_key)

    async def aclose(self, resources: Sequence[StepResource] | None = None) -> None:
        """Close ``resources``, by default all, the last one first."""
        self._keeping.cancel()
        for resource in reversed(self.resources if resources is None else resources):
            await resource.aclose()

    def lease(self, scope: RequestScope) -> None:
        """Keep the resources open until the response of a request is complete."""
        if self._is_leased:
            self.acquire()
            scope.hold(self.release)

    def acquire(self) -> None:
        """Keep the resources open until ``release``."""
        self._leases += 1

    def release(self) -> None:
        self._leases -= 1
        if not self._leases:
            self._unused.set()

    def begin(self) -> None:
        """Keep the resources open until ``finish``."""
        for resource in self.resources:
            resource.users.add(self)

    async def finish(self) -> None:
        """Close the resources after the last request, the last one first, unless another configuration uses them."""
        while self._leases:
            self._unused = trio.Event()
            await self._unused.wait()
        for resource in self.resources:
            resource.users.discard(self)
        await self.aclose([one for one in self.resources if not one.users])
