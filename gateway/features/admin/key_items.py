"""The settings of a client in a request's body, and the checks of a lead's clients."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import attrs

from configfile.document import ConfigError
from configfile.keys import keys_of
from configfile.wording import spell_time
from gateway.access.authentication import Authenticator
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.features.admin.errors import conflict, mistakes_error, not_permitted
from gateway.features.admin.key_changes import MOST_KEYS, TooManyKeys
from gateway.stores.errors import ChangeRejected
from gateway.stores.store import check_name
from streams.errors import invalid

T = TypeVar("T")

LONGEST_OF_LEAD: Final = timedelta(days=400)
"""The longest life of a client that a lead makes."""

_MOST_ITEMS: Final[Mapping[str, int]] = {
    "keys": MOST_KEYS, "models": 1000, "budgets": 50, "raise_to": 50,
}  # fmt: skip
_OF_OTHERS: Final = 200
_LONGEST_ITEM: Final = 300
"""Characters of a model's or an entry's name."""

GROUP: Final = "group:"
"""The start of a holder's name in raises that means a group."""

_KEY_MEMBERS: Final = ("sha256", "keys")


@attrs.frozen(eq=False, repr=False)
class NewItem:
    """The settings that a body has, without keys, and the digests of the keys that its sender has."""

    settings: dict[str, Any]
    keys: tuple[dict[str, Any], ...]

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(key["sha256"] for key in self.keys)


def read_new_item(name: str, body: Mapping[str, Any]) -> NewItem:
    """Return the item in ``body``, the members of an item of ``client_keys``. Raises ``GatewayError`` (400).

    Only the members about keys are checked here."""
    try:
        check_name(name)
    except ChangeRejected as error:
        raise invalid(str(error), "name") from None
    if name.startswith(GROUP):
        raise invalid(f"names that begin with {GROUP} mean groups in raises: give another name", "name")
    if body.get("name", name) != name:
        raise invalid("name must be the name in the path: a client cannot be renamed", "name")
    if "key" in body or any(isinstance(key, dict) and "key" in key for key in _listed_keys(body)):
        raise invalid("remove `key`: send its SHA-256 as `sha256`, or let the gateway create a key", "key")
    if "role" in body:
        raise invalid("a request cannot set a role: set it for a client of the file, or in a rule of an issuer", "role")
    if "sha256" in body and "keys" in body:
        raise invalid("sha256 and keys cannot be combined: add that digest to the list", "keys")
    _check_lists(body)
    given = _listed_keys(body) if "keys" in body else [{"sha256": body["sha256"]}] if "sha256" in body else []
    settings = {key: value for key, value in body.items() if key not in ("name", *_KEY_MEMBERS)}
    return NewItem(settings, tuple(map(_stored_key, given)))


def _check_lists(body: Mapping[str, Any]) -> None:
    """Check the sizes of lists, whose items are compared with all models and entries. Raises ``GatewayError`` (400)."""
    for name, items in body.items():
        if not isinstance(items, list):
            continue
        if len(items) > (most := _MOST_ITEMS.get(name, _OF_OTHERS)):
            raise invalid(f"{name} may have at most {most} items, not {len(items)}", name)
        if any(isinstance(one, str) and len(one) > _LONGEST_ITEM for one in items):
            raise invalid(f"{name} has an item of more than {_LONGEST_ITEM} characters", name)


def _listed_keys(body: Mapping[str, Any]) -> list[Any]:
    listed = body.get("keys", [])
    if not isinstance(listed, list):
        raise invalid("keys must be a list of {sha256, until}", "keys")
    return listed


def _stored_key(sent_key: Any) -> dict[str, Any]:
    digest = sent_key.get("sha256") if isinstance(sent_key, dict) else None
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest.strip()):
        raise invalid("sha256 must be the SHA-256 of a key, 64 hexadecimal digits", "sha256")
    return {**sent_key, "sha256": digest.strip().lower()}


def build_or_refuse(build: Callable[[], T]) -> T:
    """Return the result of ``build``. Raises ``GatewayError`` for a client that the file would not accept either."""
    try:
        return build()
    except ConfigError as error:
        raise mistakes_error(error) from None
    except TooManyKeys as error:
        raise conflict(str(error), "too_many_keys") from None
    except ChangeRejected as error:
        raise invalid(str(error), "until", code="expired") from None


def check_lead_change(caller: Caller, client: ClientKey, config: Config) -> None:
    """Check that a lead may make ``client``, which must stay within its group. Raises ``GatewayError`` (403)."""
    if caller.role != "lead":
        return
    if client.group_name is None or client.group_name != caller.group:
        raise not_permitted(f"a lead's keys belong to its group: set group to {caller.group}", "other_group", "group")
    for name in _OF_ADMINS:
        if getattr(client, name) != getattr(_PLAIN, name):
            raise not_permitted(f"a lead's keys have no {name}: remove it, or ask an admin", "beyond_group", name)
    latest = datetime.now(UTC) + LONGEST_OF_LEAD
    if client.until is None or client.until > latest:
        message = (
            f"a lead's keys end within {LONGEST_OF_LEAD.days} days: set until to {spell_time(_day(latest))} at most"
        )
        raise not_permitted(message, "too_long", "until")
    _check_models(caller, client, config)
    _check_shares(client, config)
    for keys in client.parts.values():
        if (found := keys.beyond_lead()) is not None:
            place, reason = found
            raise not_permitted(f"a lead's keys {reason}, or ask an admin", "beyond_group", place)


_OF_LEADS: Final = frozenset(
    ("name", "key", "sha256", "keys", "until", "models", "group_name", "only", "ratelimits", "limits", "budgets")
)  # fmt: skip
"""The settings that a lead may give, within its group. All others are for admins, also those that are added later;
``ItemPart.beyond_lead`` decides on those of features."""

_PLAIN: Final = ClientKey("plain")
_OF_ADMINS: Final = tuple(
    field.name for field in attrs.fields(ClientKey) if field.metadata and field.name not in _OF_LEADS
)


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _check_models(caller: Caller, client: ClientKey, config: Config) -> None:
    """Check that the models of ``client`` are those of its group."""
    if client.group is None or client.group.models is None or client.models is None:
        return
    member = ClientKey(client.name, models=client.group.models, group_name=client.group_name)
    group_rights = Authenticator(attrs.evolve(config, client_keys=(member,)))
    for i, model in enumerate(client.models):
        if model not in client.group.models and not group_rights.can_use(client.name, model):
            message = f"the group {caller.group} may not use {model[:100]!r}: a lead's keys have models of the group"
            raise not_permitted(message, "beyond_group", f"models[{i}]")


def _check_shares(client: ClientKey, config: Config) -> None:
    """Check that ``client`` has no larger share of the gateway than other clients."""
    for name, field in keys_of(type(client.limits)).items():
        own, every = field.value_in(client.limits), field.value_in(config.limits.per_client)
        if own is not None and (every is None or not 0 < own <= (every or own)):
            message = f"a lead's keys have at most everyone's limits: remove limits.{name}, or ask an admin"
            raise not_permitted(message, "beyond_group", f"limits.{name}")
