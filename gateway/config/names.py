"""Resolution of a model's name to an entry or route.

The order is: alias or route, the entry's name, ``provider/id``, the longest wildcard alias (``'claude-*'``), the bare
id, ``provider/*``, the known ids of wildcard providers, and their families of ids (``claude-*``). A longer
``provider/*`` precedes a wildcard alias, and the alias ``*`` is for all other names. Exact names come first, because
ids contain slashes, colons and spaces.

Claude Code adds ``[1m]`` to a name for the million-token window, and removes it before sending. Other programs and
older settings send it (Wei-Shaw/sub2api#4505, decolua/9router#2531), and no provider knows it: it is removed, unless an
entry's name has it."""

import difflib
import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from configfile.wording import is_misspelling, nearest
from gateway.config.aliases import Route, RouteTarget
from gateway.config.model_entry import ModelEntry
from gateway.config.patterns import ALL_NAMES, ModelNames
from providers.catalog.provider import Provider, region_of
from providers.catalog.providers import CATALOG, find, maker
from providers.endpoints.model_types import ModelType
from streams.errors import GatewayError, invalid

if TYPE_CHECKING:
    from gateway.config.settings import Config

May: TypeAlias = Callable[[str], bool]
"""A function that returns whether a client may use a model name."""

_NO_MODEL: Final = frozenset(("", "*", ".", ".."))
"""Suffixes of a wildcard's prefix that are no models: the last two would be steps in a path."""

_LONGEST = 200  # characters of an unknown name that are compared and repeated
_COMPARED, _CANDIDATES, _CLOSELY, _LIKE, _REMEMBERED = 100, 500, 4, 0.68, 256
"""Bounds on suggestions for an unknown name: its characters, candidates, candidates compared closely, required
similarity, and remembered results."""
_ALIKE: Final = 0.85
"""The similarity to a provider's id that suffices alone."""
_REPEATED, _OFFERED = 100, 3
"""Characters of a name whose other forms are suggested, and the number of suggestions."""

_WORD: Final = re.compile(r"[a-z]{3,}")
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")

_MARK = re.compile(r"(?:\[[0-9]{1,4}[km]\])+$", re.IGNORECASE)
_MARKED = 32  # characters at the end of a name that are searched for marks: names may be megabytes


def remove_marks(name: str) -> str:
    """Return ``name`` without marks for a context window at its end."""
    return name[:-_MARKED] + _MARK.sub("", name[-_MARKED:]) if name.endswith("]") else name


@attrs.frozen(repr=False)
class Found:
    """A resolved model: the entry, the provider's id, and the reason in words.

    ``long_context`` means that the name was marked for the million-token window."""

    entry: ModelEntry
    model: str
    why: str
    long_context: bool = False


@attrs.frozen(repr=False)
class Meaning:
    """The meaning of a name: one entry, or all of a ``route``, in the order of its targets."""

    found: tuple[Found, ...]
    route: Route | None = None

    @property
    def places(self) -> tuple[tuple[int, RouteTarget | None], ...]:
        """Each of ``found`` with the number of its group, and the target of the route, ``None`` without a route."""
        return ((0, None),) if self.route is None else self.route.places

    @property
    def alias(self) -> str | None:
        """The alias that has the route."""
        return None if self.route is None else self.route.name


def _found_model(entry: ModelEntry, model: str, why: str) -> Found:
    """Return ``model`` of ``entry`` without marks unknown to its provider; a self-hosted server's id may end with one
    (anthropics/claude-code#70419)."""
    plain = remove_marks(model)
    if plain == model or not (entry.wildcard or entry.provider.has(model)):
        return Found(entry, model, why)
    return Found(entry, plain, why, _has_long_mark(model))


def _has_long_mark(name: str) -> bool:
    return "[1m]" in name[len(remove_marks(name)) :].lower()


def listed_names(entry: ModelEntry, listed: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of ``entry`` in model lists; for a wildcard, what its provider ``listed``, else the catalogue's
    list."""
    if not entry.wildcard:
        return (entry.name,)
    return tuple(f"{entry.prefixes[0]}/{model}" for model in listed or entry.provider.models)


class Names:
    """The index of all entries, aliases and routes."""

    def __init__(
        self,
        entries: Sequence[ModelEntry],
        aliases: Mapping[str, str],
        routes: Mapping[str, Route] | None = None,
        rules: ModelNames = ALL_NAMES,
    ) -> None:
        self.aliases = aliases
        self.routes = routes or {}
        wildcards = (route for route in self.routes.values() if route.is_wildcard)
        self._wildcard_aliases = sorted(wildcards, key=lambda route: -len(route.name))
        self._rules = rules
        self._by_name = {entry.name: entry for entry in entries if not entry.wildcard}
        self._full: defaultdict[str, list[ModelEntry]] = defaultdict(list)
        self._bare: defaultdict[str, list[ModelEntry]] = defaultdict(list)
        self._wild: defaultdict[str, list[ModelEntry]] = defaultdict(list)
        self._known: defaultdict[str, list[ModelEntry]] = defaultdict(list)
        self._wildcards = tuple(entry for entry in entries if entry.wildcard and self._family_row(entry) is not None)
        own_prefixes = {entry.prefixes[0] for entry in entries if entry.wildcard}
        for entry in entries:
            if entry.wildcard:
                self._add_wildcard(entry, own_prefixes)
            else:
                self._add(entry)
        self.defaults: dict[ModelType, str] = {}
        """The names for requests without a model, by the model's purpose."""
        route_or_entry: tuple[Route | ModelEntry, ...] = (*self.routes.values(), *entries)
        for one in route_or_entry:
            if one.default:
                self.defaults.setdefault(self.type_of(one), one.name)

    @classmethod
    def of(cls, config: "Config") -> "Names":
        """Return the index of a valid configuration."""
        return cls(config.entries, config.aliases, config.routes, config.model_names)

    def type_of(self, route_or_entry: Route | ModelEntry) -> ModelType:
        """Return the type of a route's or entry's models, such as ``embedding``."""
        if not isinstance(route_or_entry, Route):
            return route_or_entry.type_of(route_or_entry.model)
        found = self.target(route_or_entry, route_or_entry.places[0][1].target)
        return "chat" if found is None else found.entry.type_of(found.model)

    def _add(self, entry: ModelEntry) -> None:
        if self._rules.exact:
            return
        self._bare[entry.model].append(entry)
        for prefix in entry.prefixes:
            self._full[f"{prefix}/{entry.model}"].append(entry)

    def _add_wildcard(self, entry: ModelEntry, own_prefixes: AbstractSet[str]) -> None:
        """Add a wildcard under its own prefix, and under others that are no wildcard's own."""
        own, *others = entry.prefixes
        self._wild[own].append(entry)
        for prefix in () if self._rules.exact else others:
            if prefix not in own_prefixes:
                self._wild[prefix].append(entry)
        row = self._family_row(entry)
        for model in () if row is None else row.models:
            self._known[model].append(entry)

    def _family_row(self, entry: ModelEntry) -> Provider | None:
        """Return the provider whose bare ids the wildcard ``entry`` serves, if any.

        By ``exact`` names, it is the provider in the entry's name: ``openai/*`` may be at another address."""
        own = entry.name.removesuffix("/*")
        if not self._rules.exact or own in (entry.written_provider, entry.provider.id):
            return entry.provider
        return find(own)

    def find(self, requested_name: str | None, may: May | None = None) -> Found:
        """Return the entry for ``requested_name``; for a route, its first entry. Raises as ``meaning`` does."""
        return self.meaning(requested_name, may).found[0]

    def meaning(self, requested_name: str | None, may: May | None = None) -> Meaning:
        """Return the meaning of ``requested_name``, or of the default name if it is empty.

        A wildcard alias is itself a name, whose targets have a ``*``. Raises ``GatewayError``: 400 if a model is
        required or the name is ambiguous, 404 if it is unknown. ``may`` selects names that errors may contain."""
        name = self.configured(requested_name) if requested_name else self._required_default()
        if self._rules.refused and requested_name and self._is_refused(name):
            raise _unconfigured_error(requested_name, "`model_names.refused` in the configuration lists it")
        if (route := self.route_of(name)) is None:
            return Meaning((self._find_model(requested_name, may),))
        meaning = self._route_meaning(route, name, requested_name or "")
        if not meaning.found or (name != route.name and self._is_typing_error(name, route, meaning.found)):
            raise _unconfigured_error(requested_name or "", self._advice(requested_name or "", may))
        return meaning

    def route_of(self, name: str) -> Route | None:
        """Return the route with ``name``, or the longest wildcard alias for it, unless another name is more exact."""
        if (exact := self.routes.get(name)) is not None or not self._wildcard_aliases:
            return exact
        if name in self.aliases or name in self._by_name or name in self._full:
            return None
        route = next((one for one in self._wildcard_aliases if one.matches(name)), None)
        if route is None or len(route.name) < self._wildcard_length(name):
            return None
        return None if route.name == "*" and self._has_one(name) else route

    def _wildcard_length(self, name: str) -> int:
        """Return the length of ``PROVIDER/*`` if a wildcard entry has the prefix of ``name``, otherwise 0."""
        prefix, slash, _ = name.partition("/")
        return len(prefix) + len("/*") if slash and prefix in self._wild else 0

    def _has_one(self, name: str) -> bool:
        try:
            return self.direct(name) is not None
        except GatewayError:  # several entries have it
            return False

    def is_wildcard_alias(self, requested_name: str | None) -> bool:
        """Return whether ``requested_name`` is itself a wildcard alias, which no request may use."""
        return any(one.name == requested_name for one in self._wildcard_aliases)

    def is_refused(self, name: str) -> bool:
        """Return whether ``model_names`` refuses ``name``."""
        return bool(self._rules.refused) and self._is_refused(self.configured(name))

    def _is_refused(self, name: str) -> bool:
        """Return whether an item of ``refused`` matches ``name`` more closely than the configuration's own names."""
        if name in self.aliases or name in self.routes:
            return False
        if name in self._by_name:
            return name in self._rules.refused
        route = self.route_of(name)
        own_length = self._wildcard_length(name) if route is None else len(route.name)
        return self._rules.refused_length(name) > own_length

    def _required_default(self) -> str:
        """Return the default for conversations. Raises ``GatewayError`` without one."""
        if (default := self.defaults.get("chat")) is not None:
            return default
        others = ", ".join(f"{name} is for {kind}" for kind, name in self.defaults.items())
        why = f"there is no default for conversations ({others})" if others else "the configuration has no default"
        raise invalid(f"model is required: {why}", "model")

    def _route_meaning(self, route: Route, name: str, requested_name: str) -> Meaning:
        """Return the meaning of ``name``, which has this ``route``; of a wildcard alias, with the targets for it."""
        long = requested_name not in self.routes and _has_long_mark(requested_name)
        found: list[Found] = []
        groups: list[tuple[RouteTarget, ...]] = []
        for group in route.groups:
            groups.append(())
            for place in group:
                if (one := self.target(route, place.target, name)) is not None:
                    why = f"route {route.name} → {place.target}"
                    found.append(attrs.evolve(one, why=why, long_context=one.long_context or long))
                    groups[-1] += (place,)
        return Meaning(tuple(found), attrs.evolve(route, groups=tuple(groups)) if route.is_wildcard else route)

    def target(self, route: Route, target: str, name: str | None = None) -> Found | None:
        """Return the entry of a ``target`` of ``route`` for the requested ``name``, by default its own.

        Raises as ``direct`` does."""
        if not route.is_wildcard:
            return self.direct(target)
        specific = route.target_for(target, route.name if name is None else name)
        prefix, _, model = specific.partition("/")
        if model == "*" and name in (None, route.name) and len(self._wild.get(prefix, ())) == 1:
            return Found(self._wild[prefix][0], model, f"wildcard {specific}")
        return self.direct(specific)

    def _is_typing_error(self, name: str, route: Route, found: Sequence[Found]) -> bool:
        """Return whether ``name`` is almost a known id, and a target of its wildcard alias would answer regardless.

        The other targets' providers know their models best."""
        if not route.is_wildcard or name in self._known or all("*" in one.target for _, one in route.places):
            return False
        return any(self._has_relative(one.entry, name) for one in found) and self._is_misspelled(name, 0.8)

    def _find_model(self, requested_name: str | None, may: May | None) -> Found:
        if not requested_name:
            default = self._by_name[self._required_default()]
            return _found_model(default, default.model, f"default {default.name}")
        alias = self.configured(requested_name)
        if (target := self.aliases.get(alias)) is not None:
            if (found := self.direct(target, may)) is not None:
                long = found.long_context or (alias != requested_name and _has_long_mark(requested_name))
                return attrs.evolve(found, why=f"alias {alias} → {target}", long_context=long)
        elif (found := self.direct(requested_name, may)) is not None:
            return found
        raise _unconfigured_error(requested_name, self._advice(requested_name, may))

    def direct(self, name: str, may: May | None = None) -> Found | None:
        """Return the entry of ``name`` without aliases. Raises ``GatewayError`` (400) if it is ambiguous."""
        plain = remove_marks(name)
        if plain == name or self._is_exact(name):
            return self._direct(name, may)
        found = self._direct(plain, may)
        return None if found is None else attrs.evolve(found, long_context=found.long_context or _has_long_mark(name))

    def has(self, name: str) -> bool:
        """Return whether an entry has ``name``, perhaps several of them, without aliases."""
        try:
            return self.direct(name) is not None
        except GatewayError:
            return True

    def configured(self, requested_name: str) -> str:
        """Return ``requested_name`` without marks, unless the configuration has that name."""
        known = requested_name in self.aliases or requested_name in self.routes or self._is_exact(requested_name)
        return requested_name if known else remove_marks(requested_name)

    def _is_exact(self, name: str) -> bool:
        return name in self._by_name or name in self._full or name in self._bare

    def _direct(self, name: str, may: May | None) -> Found | None:
        if (entry := self._by_name.get(name)) is not None:
            return _found_model(entry, entry.model, f"name {name}")
        if name in self._full:
            entry = _only_entry(self._full[name], name, may)
            return _found_model(entry, entry.model, f"provider and id {name}")
        if name in self._bare:
            entry = _only_entry(self._bare[name], name, may)
            return _found_model(entry, entry.model, f"id {name} → {entry.name}")
        prefix, slash, model = name.partition("/")
        if slash and model not in _NO_MODEL and prefix in self._wild:
            entry = _only_entry(_in_region(self._wild[prefix], model), model, may, name)
            return _found_model(entry, model, f"wildcard {entry.name}")
        if name in self._known:
            entry = _only_entry(self._known[name], name, may)
            return _found_model(entry, name, f"well-known id {name} → wildcard {entry.name}")
        relatives = [entry for entry in self._wildcards if self._has_relative(entry, name)]
        if len(relatives) == 1 or (relatives and not self._is_misspelled(name, 0.75)):
            entry = _only_entry(_in_region(relatives, name), name, may)
            return _found_model(entry, name, f"family of {entry.provider.display_name} → wildcard {entry.name}")
        return None

    def shared_ids(self) -> Mapping[str, Sequence[ModelEntry]]:
        """Return a bare id, or a family of ids, that several wildcards serve, for each such group of wildcards.

        A group with an alias or entry for one of its ids is left out."""
        by_id = dict(self._known)
        for entry in self._wildcards:
            for family in () if (row := self._family_row(entry)) is None else row.families:
                if family not in self._known:  # a whole id
                    by_id[family] = [*by_id.get(family, ()), entry]
        found: dict[tuple[str, ...], str] = {}
        for id, entries in by_id.items():
            if len(entries) > 1:
                found.setdefault(tuple(entry.name for entry in entries), id)
        if "*" in self.routes:
            return {}
        own_names = (*self.aliases, *self.routes, *self._by_name)
        shared = {id: by_id[id] for id in found.values()}
        return {
            id: entries
            for id, entries in shared.items()
            if not any(self._has_relative(entries[0], name) for name in own_names)
        }

    def _is_misspelled(self, name: str, alike: float) -> bool:
        """Return whether ``name`` is a known id with other punctuation, or a word of it is almost one of theirs.

        ``alike`` is the similarity that suffices, from 0 to 1."""
        if any(_letters_of(name) == _letters_of(model) for model in self._known):
            return True
        known = {word for model in self._known for word in _WORD.findall(model)}
        others = (word for word in _WORD.findall(name.lower()) if word not in known)
        return any(is_misspelling(word, right, alike) for word in islice(others, _OFFERED) for right in known)

    def _has_relative(self, entry: ModelEntry, name: str) -> bool:
        row = self._family_row(entry)
        return row is not None and row.has(name)

    def _advice(self, requested_name: str, may: May | None) -> str:
        """Return advice on what to request instead, or to add to the configuration."""
        prefix, slash, model = requested_name.partition("/")
        if slash and model in ("", "*") and prefix in self._wild:
            return f"write a model's name after {prefix}/"
        if slash and model and (meant := self._meant_provider(prefix)):
            form = f"{meant}/{model}"
            if len(self._wild.get(meant, ())) == 1 and len(requested_name) <= _REPEATED and (may is None or may(form)):
                return f"did you mean {form}?"
        if len(requested_name) <= _LONGEST:
            known = self._known_names() if slash and find(prefix) is None else ()
            routes = (name for name in self.routes if "*" not in name)
            names = dict.fromkeys(
                (*self.aliases, *routes, *self._by_name, *self._full, *self._bare, *self._known, *known)
            )
            near = _similar_names(requested_name, tuple(name for name in names if may is None or may(name)))
            forms = dict.fromkeys(form for name in near for form in self._forms(name) if may is None or may(form))
            if forms:
                return f"did you mean {' or '.join(islice(forms, _OFFERED))}?"
        served, made = self._wildcard_names(requested_name, may), _maker_of(requested_name)
        theirs = "" if made is None else f"models of {made.display_name} need an entry, such as {made.id}/*"
        provider = served[0].partition("/")[0] if len(served) == 1 else "a provider"
        ask = f"if {provider} has it, request {' or '.join(served)}"
        return "; or, ".join(filter(None, (theirs, ask if served else ""))) or "GET /v1/models lists the models"

    def _forms(self, name: str) -> Sequence[str]:
        """Return ``name``, or if it is ambiguous the name of each of its entries."""
        if name not in self.aliases and name not in self._by_name and self.route_of(name) is None:
            for index in (self._full, self._bare, self._known):
                if entries := index.get(name):
                    return (name,) if len(entries) == 1 else [_unambiguous_name(entry, name) for entry in entries]
        return (name,)

    def _meant_provider(self, prefix: str) -> str | None:
        """Return the prefix of a wildcard that ``prefix`` probably misspells, if any."""
        if prefix in self._wild or find(prefix) is not None or len(prefix) > _COMPARED:
            return None
        return nearest(prefix, self._wild)

    def _known_names(self) -> tuple[str, ...]:
        """Return the known ids with their provider, as candidates for misspelled providers."""
        return tuple(_unambiguous_name(entry, model) for model, entries in self._known.items() for entry in entries)

    def _wildcard_names(self, requested_name: str, may: May | None) -> list[str]:
        """Return names for ``requested_name`` that a wildcard entry would accept, without other makers' models."""
        prefix, slash, model = requested_name.partition("/")
        if (
            not requested_name.isprintable()
            or "*" in requested_name
            or len(requested_name) > _REPEATED
            or (slash and not (prefix and model))
        ):
            return []
        other = _maker_of(requested_name) is not None
        forms = [
            _unambiguous_name(entry, requested_name)
            for entry in self._wildcards
            if (entry.lists_all or entry.provider.families) and not (other and entry.provider.families)
        ]
        return [form for form in forms if may is None or may(form)][:_OFFERED]


def _unconfigured_error(requested_name: str, advice: str) -> GatewayError:
    shown = requested_name if len(requested_name) <= _LONGEST else requested_name[:_LONGEST] + "…"
    message = f"model {shown!r} is not configured here; {advice}"
    return GatewayError("not_found", message, code="model_not_found", param="model")


def _letters_of(name: str) -> str:
    """Return the letters and digits of ``name``: programs write ``4-8``, ``4.8`` and ``48``."""
    return _PUNCTUATION.sub("", name.lower())


@lru_cache(_REMEMBERED)
def _similar_names(requested_name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return up to three of ``names`` similar to ``requested_name``.

    Only those with about the same letters are compared closely, which takes quadratic time."""
    if len(requested_name) > _COMPARED:
        return ()
    matcher = difflib.SequenceMatcher(b=requested_name)
    alike: list[tuple[float, str]] = []
    for name in islice((name for name in names if len(name) <= _COMPARED), _CANDIDATES):
        matcher.set_seq1(name)
        if matcher.real_quick_ratio() >= _LIKE and (ratio := matcher.quick_ratio()) >= _LIKE:
            alike.append((ratio, name))
    closely = [name for _, name in heapq.nlargest(_CLOSELY, alike)]
    close = difflib.get_close_matches(requested_name, closely, n=_OFFERED, cutoff=_LIKE)
    word = _WORD.search(requested_name.lower())  # the family in ``sonnet`` or ``opus-latest``
    return tuple(close or islice((name for name in names if word and word[0] in _WORD.findall(name.lower())), _OFFERED))


def _maker_of(requested_name: str) -> Provider | None:
    """Return the provider that ``requested_name`` names, or whose family it belongs to."""
    prefix, slash, _ = requested_name.partition("/")
    if not slash or len(prefix) > _COMPARED:
        return maker(requested_name)
    return find(prefix) or find(nearest(prefix, CATALOG, _ALIKE) or "")


def _unambiguous_name(entry: ModelEntry, model: str) -> str:
    """Return the name that means ``model`` at ``entry`` and nothing else."""
    return f"{entry.prefixes[0]}/{model}" if entry.wildcard else entry.name


def _in_region(entries: Sequence[ModelEntry], model: str) -> Sequence[ModelEntry]:
    """Return those of the wildcard ``entries`` that are in the region of ``model``, if it is an ARN.

    An ARN's region becomes part of the host, so that a client could leave the region of the entry, and with it the
    entries that its key allows. Raises ``GatewayError`` (400) without any."""
    if not model.startswith("arn:") or (region := region_of(model)) is None:
        return entries
    own = [entry.provider.settings.get("region", region) for entry in entries]
    if region in own:
        return [entry for entry, place in zip(entries, own, strict=True) if place == region]
    raise invalid(
        f"the model is in the region {region}, but {entries[0].name} is in {own[0]}: add an entry for the other region",
        "model",
    )


def _only_entry(
    entries: Sequence[ModelEntry], model: str, may: May | None, requested_name: str | None = None
) -> ModelEntry:
    """Return the only entry with ``model``. Raises ``GatewayError`` (400) that lists all permitted ones.

    ``requested_name`` is the name in the message, if it is not ``model``."""
    if len(entries) == 1:
        return entries[0]
    forms = (_unambiguous_name(entry, model) for entry in entries)
    offers = " and ".join(form for form in forms if may is None or may(form))
    advice = f"use one of these names: {offers}" if offers else "GET /v1/models lists the names"
    raise invalid(f"model {requested_name or model!r} is ambiguous, because several entries have it; {advice}", "model")
