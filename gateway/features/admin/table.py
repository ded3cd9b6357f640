"""The table of the HTTP API: each path and verb, the roles that may use it, and its handler.

The documentation's table and the test of every role on every path are made from it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

from gateway.config.clients import Role

Verb: TypeAlias = Literal["GET", "PUT", "POST", "DELETE"]

ROLES: Final[tuple[Role, ...]] = ("user", "lead", "auditor", "admin")
ALL: Final = frozenset(ROLES)
READERS: Final[frozenset[Role]] = frozenset(("lead", "auditor", "admin"))
_CHANGERS: Final[frozenset[Role]] = frozenset(("lead", "admin"))
_AUDITORS: Final[frozenset[Role]] = frozenset(("auditor", "admin"))
ADMINS: Final[frozenset[Role]] = frozenset(("admin",))


@attrs.frozen(repr=False)
class AdminRoute:
    """A path and verb. ``{name}`` in the path is a variable, which may contain slashes.

    ``roles`` may use it; what each sees and may change is smaller. ``handler`` is a module of ``package`` and its
    function. ``of_person`` means that the caller must be a person: a client of an issuer."""

    verb: Verb
    path: str
    roles: frozenset[Role]
    handler: str
    summary: str
    of_person: bool = False
    parameters: tuple[str, ...] = ()
    package: str = "gateway.features.admin"
    changes: bool = attrs.field(default=attrs.Factory(lambda self: self.verb != "GET", takes_self=True))

    @property
    def steps(self) -> tuple[str, ...]:
        """The parts of the path between slashes."""
        return tuple(self.path.strip("/").split("/"))


PAGE: Final = ("limit", "after")
FOUND: Final = ("search", "who", "since", "until", "order")
_USAGE: Final = ("month", "since", "until", "by", "format")
_KEY: Final = "/admin/v1/keys/{name}"
_RAISE: Final = "/admin/v1/raises/{holder}"

ROUTES: Final = (
    AdminRoute("GET", "/me", ALL, "own.show_caller", "The caller: its name, group, role, models, limits and budgets."),
    AdminRoute("GET", "/me/usage", ALL, "usage.show_own_usage", "The caller's own usage.", parameters=_USAGE),
    AdminRoute("GET", "/admin/v1/keys", READERS, "keys.list_keys",
               "The clients of the file and of the storage, and the keys that people have made.",
               parameters=(*PAGE, "group", "state", *FOUND)),
    AdminRoute("GET", _KEY, READERS, "keys.show_key", "One client."),
    AdminRoute("PUT", _KEY, _CHANGERS, "keys.put_key", "Create a client, or replace its settings."),
    AdminRoute("DELETE", _KEY, _CHANGERS, "keys.delete_key",
               "Revoke a client's keys, or a key that a person has made."),
    AdminRoute("POST", f"{_KEY}/rotate", _CHANGERS, "keys.rotate_key", "Create a new key for a client."),
    AdminRoute("GET", "/admin/v1/groups", READERS, "groups.list_groups", "Groups with their limits and budgets.",
               parameters=PAGE),
    AdminRoute("GET", "/admin/v1/groups/{name}", READERS, "groups.show_group", "One group."),
    AdminRoute("GET", "/admin/v1/usage", READERS, "usage.show_usage", "Usage by group, key, model or day.",
               parameters=(*_USAGE, "group", "key", "model")),
    AdminRoute("GET", "/admin/v1/raises", READERS, "raises.list_raises", "The raises that have not ended.",
               parameters=(*PAGE, "group")),
    AdminRoute("GET", _RAISE, READERS, "raises.show_raise", "One raise."),
    AdminRoute("PUT", _RAISE, _CHANGERS, "raises.put_raise", "Raise budgets until a time."),
    AdminRoute("DELETE", _RAISE, _CHANGERS, "raises.delete_raise", "End a raise."),
    AdminRoute("GET", "/admin/v1/audit", _AUDITORS, "audit_list.list_audit", "The changes and their authors, by time.",
               parameters=(*PAGE, *FOUND)),
    AdminRoute("POST", "/key/generate", ADMINS, "litellm.generate_key", "Create a key, in LiteLLM's format."),
    AdminRoute("GET", "/key/info", ADMINS, "litellm.show_key", "Return one key, in LiteLLM's format.",
               parameters=("key",)),
    AdminRoute("GET", "/key/list", ADMINS, "litellm.list_keys", "List all keys, in LiteLLM's format.",
               parameters=("page", "size", "team_id", "key_alias", "return_full_object")),
    AdminRoute("POST", "/key/update", ADMINS, "litellm.update_key", "Change a key, in LiteLLM's format."),
    AdminRoute("POST", "/key/delete", ADMINS, "litellm.delete_keys", "Delete keys, in LiteLLM's format."),
)  # fmt: skip


@attrs.frozen(repr=False)
class RouteMatch:
    """A route with the values of its path's variables."""

    route: AdminRoute
    names: Mapping[str, str]


def matches_of(steps: Sequence[str], routes: Sequence[AdminRoute]) -> tuple[RouteMatch, ...]:
    """Return those of ``routes`` that match the parts of a path, with any verb; none for an unknown path.

    If several paths match, those with the most fixed parts count: a name may contain slashes."""
    found = [RouteMatch(route, names) for route in routes if (names := _variables(route.steps, steps)) is not None]
    most = max((_fixed_steps(one.route) for one in found), default=0)
    return tuple(one for one in found if _fixed_steps(one.route) == most)


def _fixed_steps(route: AdminRoute) -> int:
    return sum(not step.startswith("{") for step in route.steps)


def _variables(template: Sequence[str], steps: Sequence[str]) -> dict[str, str] | None:
    """Return the variables of a path, ``None`` if it does not match. A variable takes at least one step."""
    place = next((at for at, step in enumerate(template) if step.startswith("{")), None)
    if place is None:
        return {} if tuple(template) == tuple(steps) else None
    tail = len(template) - place - 1
    if len(steps) < len(template) or tuple(steps[:place]) != tuple(template[:place]):
        return None
    if tail and tuple(steps[-tail:]) != tuple(template[-tail:]):
        return None
    return {template[place].strip("{}"): "/".join(steps[place : len(steps) - tail])}


def verbs_of(matches: Sequence[RouteMatch]) -> Iterator[str]:
    """Yield the verbs of a path, for ``Allow``."""
    verbs = {one.route.verb for one in matches}
    yield from (verb for verb in ("GET", "PUT", "POST", "DELETE") if verb in verbs)
    if "GET" in verbs:
        yield "HEAD"
