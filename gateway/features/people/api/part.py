"""The additions of people to the HTTP API: their own keys and sessions, people and their blocks, and cookies."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from configfile.kinds import spell_duration
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.admin.interface import (
    ADMINS,
    ALL,
    FOUND,
    PAGE,
    READERS,
    AdminCall,
    AdminRoute,
    ApiCalls,
)
from gateway.features.people.api.people_keys import delete_people_key, read_people_keys
from gateway.features.people.directory import SENDER
from gateway.features.people.opening import people_of
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.settings import issuers_of
from gateway.features.people.store import people_store
from gateway.http.late_imports import load_module
from gateway.serving.incoming_request import IncomingRequest

_COOKIES: Final = "gateway.features.people.oauth.browser_sessions"  # imported only with issuers
_PERSON: Final = "/admin/v1/people/{name}"
_route: Final = partial(AdminRoute, package="gateway.features.people.api")


class PeopleCalls(ApiCalls):
    """The calls about people."""

    routes = (
        _route("GET", "/me/keys", ALL, "own_keys.list_keys", "The keys that the person has created.",
                   of_person=True, parameters=PAGE),
        _route("PUT", "/me/keys/{name}", ALL, "own_keys.put_key",
                   "Create a key for yourself, or change when it expires.", of_person=True),
        _route("DELETE", "/me/keys/{name}", ALL, "own_keys.delete_key",
                   "Delete one of your own keys.", of_person=True),
        _route("GET", "/me/sessions", ALL, "own_keys.list_sessions", "The person's open sessions.", of_person=True),
        _route("DELETE", "/me/sessions/{id}", ALL, "own_keys.end_session", "End a session.", of_person=True),
        _route("GET", "/admin/v1/people", READERS, "people.list_people", "The people of the last 90 days.",
                   parameters=(*PAGE, "group", "issuer", *(one for one in FOUND if one != "who"))),
        _route("GET", _PERSON, READERS, "people.show_person", "One person."),
        _route("DELETE", _PERSON, ADMINS, "people.forget_person", "Forget a person's label."),
        _route("PUT", f"{_PERSON}/block", ADMINS, "people.block_person", "Reject all credentials of a person."),
        _route("DELETE", f"{_PERSON}/block", ADMINS, "people.unblock_person", "Accept them again."),
        _route("DELETE", f"{_PERSON}/sessions", ADMINS, "people.end_sessions", "End all sessions of a person."),
    )  # fmt: skip

    async def caller(self, config: Config, service: Service, incoming: IncomingRequest) -> Caller | None:
        if not issuers_of(config):
            return None
        cookies = await load_module(_COOKIES)
        caller: Caller | None = await cookies.cookie_caller(config, service, incoming)
        return caller

    def describe_caller(self, call: AdminCall) -> Mapping[str, Any]:
        sender = SENDER.get()
        limits = None if sender is None or sender.known.name != call.caller.name else sender.known.rule.own_keys
        if limits is None:
            return {}
        times = {"longest": spell_duration(limits.longest), "renew": spell_duration(limits.renew)}
        return {"own_keys": {"most": limits.most, **times}}

    async def flush(self, service: Service) -> None:
        people = people_of(service.opened.features)
        if people is not None and people.tasks.seen is not None:
            await people.tasks.seen.flush()

    def has_key_name(self, config: Config, name: str) -> bool:
        person, slash, key = name.rpartition("/")
        return bool(slash and key) and config.is_rule_name(person)

    read_keys = staticmethod(read_people_keys)
    delete_key = staticmethod(delete_people_key)

    async def find_client(self, call: AdminCall, name: str) -> tuple[ClientKey, str] | None:
        seen = await (await people_store(call)).person(name)
        if seen is None:
            return None
        try:
            person, rule = RuleBook(issuers_of(call.config)).admit(seen.issuer, seen.claims)
        except NotAdmitted:  # a person whom the rules no longer admit has no budget
            return None
        if rule.client is None or person.name != name:
            return None
        return rule.client, f"issuers: {seen.issuer}, admit[{person.rule}]"


PART: Final = PeopleCalls()
