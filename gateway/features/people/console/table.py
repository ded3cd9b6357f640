"""The table of pages and forms. Each section and form is a request of the API, whose table has its roles."""

from typing import Final, Literal, TypeAlias

import attrs

from gateway.features.people.console import sections
from gateway.features.people.console.api_calls import PageCall, route_of
from gateway.features.people.console.form_values import CLIENT_FIELDS
from gateway.features.people.console.paths import AUDIT, GROUPS, KEYS, ME, PEOPLE, USAGE
from gateway.features.people.console.sections import ALL_SUMS, OWN_SUMS, Section, section_of

Condition: TypeAlias = Literal["none", "new", "version"]
"""The condition of a change: that the object is new, or that it is still the version in the page."""


@attrs.frozen(eq=False, repr=False)
class PageSection:
    """A part of a page, for the roles that may read ``source``: a path of the API.

    Callers that may read ``instead`` do not need it. If it ``is_local``, callers with keys have it on another page."""

    source: str
    show: Section
    instead: str | None = None
    is_local: bool = False

    def is_for(self, call: PageCall) -> bool:
        """Return whether the API's table permits the caller to read this part."""
        if self.is_local and not call.is_local:
            return False
        return call.permits(route_of("GET", self.source)) and (
            self.instead is None or not call.permits(route_of("GET", self.instead))
        )


@attrs.frozen(eq=False, repr=False)
class ConsolePage:
    """A page with its sections. A caller sees those whose sources it may read."""

    path: str
    title: str
    sections: tuple[PageSection, ...]

    def sections_for(self, call: PageCall) -> tuple[PageSection, ...]:
        return tuple(one for one in self.sections if one.is_for(call))


PAGES: Final = (
    ConsolePage(ME, "Your account", (
        PageSection("/me", sections.rights),
        PageSection("/me/sessions", section_of("me", "sessions", "/me/sessions")),
    )),
    ConsolePage(USAGE, "Usage", (
        PageSection("/admin/v1/usage",
                    sections.usage("/admin/v1/usage", "Usage of all clients that you see", ALL_SUMS)),
        PageSection("/me/usage", sections.usage("/me/usage", "Your usage", OWN_SUMS), instead="/admin/v1/usage"),
        PageSection("/me", sections.limits, is_local=True),
    )),
    ConsolePage(KEYS, "Keys", (
        PageSection("/admin/v1/keys", sections.clients),
        PageSection("/me/keys", sections.own_keys),
    )),
    ConsolePage(GROUPS, "Groups", (
        PageSection("/admin/v1/groups", section_of("groups", "groups", "/admin/v1/groups")),
        PageSection("/admin/v1/raises", section_of("groups", "raises", "/admin/v1/raises")),
    )),
    ConsolePage(PEOPLE, "People", (PageSection("/admin/v1/people", sections.people),)),
    ConsolePage(AUDIT, "Audit", (PageSection("/admin/v1/audit", sections.changes),)),
)  # fmt: skip


@attrs.frozen(eq=False, repr=False)
class FormAction:
    """A form of the page at ``path``: the API's request that it sends, and the sentence after it.

    ``fields`` are the form's fields for the request's body; without any there is no body. With ``is_of_one`` the form
    is in the page of one object."""

    name: str
    path: str
    verb: Literal["PUT", "POST", "DELETE"]
    target: str
    done: str
    fields: tuple[str, ...] = ()
    condition: Condition = "none"
    is_of_one: bool = False


_CLIENT: Final = "/admin/v1/keys/{name}"
_PERSON: Final = "/admin/v1/people/{name}"
_RAISE: Final = "/admin/v1/raises/{holder}"

ACTIONS: Final = (
    FormAction("create_key", KEYS, "PUT", _CLIENT, "The client {} was created.", CLIENT_FIELDS, "new"),
    FormAction("change_key", KEYS, "PUT", _CLIENT, "The settings of {} were stored.", CLIENT_FIELDS,
               "version", is_of_one=True),
    FormAction("rotate_key", KEYS, "POST", f"{_CLIENT}/rotate", "{} has a new key.", ("keep_old",),
               "version", is_of_one=True),
    FormAction("revoke_key", KEYS, "DELETE", _CLIENT, "{} was revoked. Its keys no longer work.",
               condition="version", is_of_one=True),
    FormAction("make_own", KEYS, "PUT", "/me/keys/{name}", "Your key {} was created.", ("until",), "new"),
    FormAction("delete_own", KEYS, "DELETE", "/me/keys/{name}", "Your key {} was deleted."),
    FormAction("end_session", ME, "DELETE", "/me/sessions/{id}", "The session was ended."),
    FormAction("raise", GROUPS, "PUT", _RAISE, "The budgets of {} were raised.", ("budgets", "until")),
    FormAction("end_raise", GROUPS, "DELETE", _RAISE, "The raise of {} was ended."),
    FormAction("block", PEOPLE, "PUT", f"{_PERSON}/block", "{} is blocked.", ("reason",), is_of_one=True),
    FormAction("unblock", PEOPLE, "DELETE", f"{_PERSON}/block", "{} is no longer blocked.", is_of_one=True),
    FormAction("end_sessions", PEOPLE, "DELETE", f"{_PERSON}/sessions", "All sessions of {} have ended.",
               is_of_one=True),
    FormAction("forget", PEOPLE, "DELETE", _PERSON, "The label of {} was forgotten.", is_of_one=True),
)  # fmt: skip


def action_of(path: str, name: str) -> FormAction | None:
    return next((action for action in ACTIONS if (action.path, action.name) == (path, name)), None)
