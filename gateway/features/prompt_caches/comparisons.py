"""A request compared with its parent: the tokens that the cache could serve, and those that are unchanged."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs

from gateway.features.prompt_caches.conversations import Boundary, Parent, Situation
from gateway.features.prompt_caches.differences import Difference, changed_members, first_difference
from gateway.features.prompt_caches.interface import CauseName
from gateway.features.prompt_caches.positions import boundary_positions, lookup_ranges, marks
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.rows import strict_at
from gateway.features.prompt_caches.structures import Structure, once_property
from gateway.features.prompt_caches.tables.kinds import COMPACTION
from gateway.features.prompt_caches.values import LEAST_SHARE
from providers.catalog.prompt_caching import CachingRow


class PromptComparison(Structure, frozen=True, dict=True, gc=True):
    """A request compared with its parent and with the boundaries in memory.

    - ``prompt``: as sent; ``client_prompt``: as the client wrote it, in the words of the client's API, or ``None`` if
      it is the same but for the model.
    - ``parent``: the exchange that the request continues, ``None`` for a first turn, or if it is not remembered.
    - ``boundaries``: the boundaries of this client's own exchanges in the scope of the request, for those of its
      ``lookup_positions`` that the memory has (``Boundary.position`` is the position in ``prompt``), live or not.
    - ``row``: the provider's rules.

    Its values:

    - ``could``: the tokens up to the parent's last boundary, without a parent those of the client's own boundary.
    - ``intact``: the tokens up to the deepest boundary that the request leaves unchanged.
    - ``readable``: those up to the deepest one that is also alive and where the provider searches.

    ``verdicts`` has the causes that follow from it."""

    prompt: PromptDigest
    client_prompt: PromptDigest | None
    parent: Parent | None
    boundaries: tuple[Boundary, ...]
    row: CachingRow
    situation: Situation

    @property
    def is_unseen(self) -> bool:
        """True if the request continues a conversation that the memory does not have."""
        return self.parent is None and self.prompt.has_answer

    @once_property
    def could(self) -> int:
        """The tokens that the cache could serve; none if the provider has refused the client's marks before."""
        if self.parent is None:
            return max((boundary.tokens for boundary in self.boundaries), default=0)
        if self.has_lost_marks and _has_lost_marks(self.parent.prompt, self.parent.prompts[1], self.row):
            return 0
        last = self.last_boundary
        return self.parent.end.tokens if last is None else last.tokens

    @property
    def is_exact(self) -> bool:
        """True if ``could`` is the provider's count."""
        last = self.last_boundary
        if self.parent is None:
            return all(boundary.is_exact for boundary in self.boundaries if boundary.tokens == self.could)
        return last is None or last.is_exact

    @once_property
    def difference(self) -> Difference | None:
        """The first difference of the request as sent from the parent's."""
        if self.parent is None:
            return None
        return first_difference(self.parent.prompt, self.prompt, self.parent.end.position)

    @once_property
    def intact(self) -> int:
        """The tokens up to the deepest boundary that is unchanged, in the scope of the request."""
        least = self.row.minimum or 0
        known = max([boundary.tokens for boundary in self.boundaries if boundary.tokens >= least], default=0)
        if self.parent is None or self.is_elsewhere:
            return known
        if self.difference is None:
            return self.could
        before = [one.tokens for one in self.parent.boundaries if one.position <= self.difference.position]
        return min(max([known, self._common_tokens, *before]), self.could)

    @once_property
    def readable(self) -> int:
        """The tokens up to the deepest boundary that is unchanged, alive, and where the provider searches."""
        row, sent = self.row, self.situation.sent
        alive = [one.tokens for one in self._intact_boundaries if one.is_alive(sent, row) and self.is_reached(one)]
        if self._common_tokens and not self.is_expired and not self.is_early:
            alive.append(min(self._common_tokens, self.intact))
        return max(alive, default=0)

    @once_property
    def idle(self) -> float | None:
        """The seconds for which the deepest intact boundary was unused."""
        last = self.deepest_intact
        return None if last is None else max(self.situation.sent - last.used, 0.0)

    # Scope

    @once_property
    def is_elsewhere(self) -> bool:
        return self.parent is not None and self.parent.conversation.scope.digest != self.situation.scope.digest

    @once_property
    def selectors_changed(self) -> tuple[CauseName, ...]:
        if self.parent is None:
            return ()
        before, now = self.parent.conversation.scope, self.situation.scope
        pairs: tuple[tuple[CauseName, bytes, bytes], ...] = (
            ("model", before.model, now.model), ("key", before.key, now.key), ("tier", before.tier, now.tier),
        )  # fmt: skip
        return tuple(name for name, one, other in pairs if one != other)

    # Differences

    @once_property
    def change_in_reach(self) -> Difference | None:
        """The difference, if it is before the last boundary; one after it explains nothing."""
        change, last = self.difference, self.last_boundary
        if last is None and self.row.needs_marks and not self.marks_of_parent:
            return None  # no part of the parent was cached
        return None if change is None or (last is not None and change.position >= last.position) else change

    @once_property
    def client_difference(self) -> Difference | None:
        """The client's own difference that caused the change in reach; ``None`` if the client's prefix is equal."""
        change, parent = self.change_in_reach, self.parent
        if change is None or parent is None:
            return None
        if self.client_prompt is None and parent.prompts[1] is None:
            return change
        before, after = parent.own, self.client_prompt or self.prompt
        if change.part == "settings":
            if f"header:{change.at}" in (name for name, _ in self.row.settings):
                return change  # headers are those of the client
            # A translation may write a setting as another member.
            changed = changed_members(before.own_settings, after.own_settings)
            return attrs.evolve(change, at=changed[0][1]) if changed else None
        own = first_difference(before, after)
        return None if own is None or own.rank > change.rank else own

    @once_property
    def is_compacted(self) -> bool:
        if self.parent is None or self.parent.is_compacted:
            return self.parent is not None
        known = set(_compactions(self.parent.prompt))
        return any(one not in known for one in _compactions(self.prompt))

    def most_read(self, change: Difference) -> float:
        """Return the tokens that a provider may have read with ``change``, within the tolerance.

        Where only boundaries are read, it read up to the nearest one, whose tokens may be an estimate. It is in doubt
        if that is after the change. Without a boundary before the change it read none."""
        position = max(self._tokens_at(change.most), self.intact) + max(self.tolerance, LEAST_SHARE * self.could)
        if self.parent is None or self.row.boundaries not in ("marks", "ends") or self._is_intact_known:
            return position
        after = [one.tokens for one in self.parent.boundaries if one.position > change.position]
        return max(position, (self.intact + min(after)) / 2 - 1) if after else position

    @property
    def _is_intact_known(self) -> bool:
        """True if no boundary is intact, or the provider counted the tokens of the deepest one."""
        last = self.deepest_intact
        return last is None or last.is_exact

    @once_property
    def _common_tokens(self) -> int:
        """For a cache without marks and ends: the tokens of the common prefix with the parent, by whole steps."""
        if self.parent is None or self.is_elsewhere or self.row.boundaries in ("marks", "ends"):
            return 0
        change = self.difference
        if change is None:
            return self.could
        step, tokens = self.row.step or 1, self._tokens_at(change.least)
        tokens -= tokens % step
        return 0 if self.row.minimum is not None and tokens < self.row.minimum else min(tokens, self.could)

    def _tokens_at(self, size: int) -> int:
        """Return the tokens of the parent's first ``size`` bytes, between the positions that have a count."""
        assert self.parent is not None, "only a parent has counts"
        prompt = self.parent.prompt
        known = {0: 0, prompt.size_at(self.parent.end.position): self.parent.end.tokens}
        known |= {prompt.size_at(one.position): one.tokens for one in self.parent.boundaries}
        points = sorted(known.items())
        for (start, tokens), (end, more) in pairwise(points):
            if start <= size <= end and end > start:
                return tokens + (more - tokens) * (size - start) // (end - start)
        return points[-1][1]

    @property
    def tolerance(self) -> float:
        return self.row.step or 0

    # Boundaries

    @once_property
    def has_lost_marks(self) -> bool:
        """True if the gateway removed all of the client's marks, because the provider refuses them, or adds none."""
        if _has_lost_marks(self.prompt, self.client_prompt, self.row):
            return True
        before = None if self.parent is None else self.parent.prompts[1]
        if self.parent is None or before is None or _is_marked(before) or not self.row.needs_marks:
            return False
        return bool(marks(self.parent.prompt, self.row)) and not marks(self.prompt, self.row)

    @once_property
    def last_boundary(self) -> Boundary | None:
        if self.parent is None or not self.parent.boundaries:
            return None
        return self.parent.boundaries[-1]

    @once_property
    def _intact_boundaries(self) -> tuple[Boundary, ...]:
        """The boundaries in the scope of the request whose prefix it leaves unchanged, the deepest last."""
        own: list[Boundary] = []
        if self.parent is not None and not self.is_elsewhere:
            end = self.parent.end.position if self.difference is None else self.difference.position
            own = [boundary for boundary in self.parent.boundaries if boundary.position <= end]
        least = self.row.minimum or 0
        known = {boundary.position: boundary for boundary in (*own, *self.boundaries) if boundary.tokens >= least}
        return tuple([known[position] for position in sorted(known)])

    @once_property
    def deepest_intact(self) -> Boundary | None:
        if self._intact_boundaries:
            return self._intact_boundaries[-1]
        return self.last_boundary if self._common_tokens else None

    @once_property
    def _lookup_ranges(self) -> list[Sequence[int]]:
        return lookup_ranges(self.prompt, self.row)

    @once_property
    def marks_of_parent(self) -> tuple[int, ...]:
        return () if self.parent is None else boundary_positions(self.parent.prompt, self.row)

    def is_reached(self, boundary: Boundary) -> bool:
        """Return whether the provider searches at ``boundary``."""
        is_limited = self.row.needs_marks or self.row.boundaries == "ends"
        return not is_limited or any(boundary.position in one for one in self._lookup_ranges)

    def lifetime(self, boundary: Boundary) -> float | None:
        return self.row.lifetime if boundary.ttl is None else boundary.ttl

    @once_property
    def is_expired(self) -> bool:
        last = self.deepest_intact
        lifetime = None if last is None else self.lifetime(last)
        return lifetime is not None and self.idle is not None and self.idle > lifetime

    @once_property
    def is_early(self) -> bool:
        """True if the response that wrote the deepest intact boundary had not begun when the request was sent."""
        last = self.deepest_intact
        if last is not None:
            return last.readable_from is None or self.situation.sent < last.readable_from
        parent = self.parent
        return parent is not None and (parent.end.head is None or self.situation.sent < parent.end.head)


def _compactions(prompt: PromptDigest) -> Iterator[bytes]:
    """Yield the digests of the blocks that replace earlier ones."""
    at = prompt.history_kinds.find(COMPACTION)
    while at >= 0:
        yield strict_at(prompt.history, at)
        at = prompt.history_kinds.find(COMPACTION, at + 1)


def _has_lost_marks(prompt: PromptDigest, client_prompt: PromptDigest | None, row: CachingRow) -> bool:
    if client_prompt is None or not row.needs_marks:
        return False
    return _is_marked(client_prompt) and not marks(prompt, row)


def _is_marked(prompt: PromptDigest) -> bool:
    return bool(prompt.marks) or prompt.end_mark is not None
