"""The request members of one configuration, by alias and by client."""

from collections.abc import Mapping

import attrs

from gateway.config.clients import ClientKey
from gateway.config.names import remove_marks
from gateway.config.request_members import RequestMembers
from gateway.config.settings import Config
from gateway.routing.target import Target
from providers.members.level import NO_MEMBERS, MemberLevel, combine


@attrs.frozen(eq=False, repr=False)
class ConfiguredLevels:
    """The levels of one configuration. ``clients`` has those of each key with its group's, ``everyone`` of no key."""

    names: Mapping[str, MemberLevel]
    clients: Mapping[str, MemberLevel]

    @classmethod
    def of(cls, config: Config) -> "ConfiguredLevels":
        """Return the members that ``config`` sets."""
        names = {name: route.request.level for name, route in config.routes.items() if route.request is not None}
        return cls(
            {name: level for name, level in names.items() if level is not None}, config.by_client(_level_of_client)
        )

    def of_client(self, client: str | None) -> MemberLevel:
        """Return the members of a client's key and group."""
        return NO_MEMBERS if client is None else self.clients.get(client, NO_MEMBERS)

    def of_name(self, target: Target) -> MemberLevel:
        """Return the members of the alias under which ``target`` was requested."""
        asked = target.requested_name
        return self.names.get(asked) or self.names.get(remove_marks(asked)) or NO_MEMBERS

    @staticmethod
    def of_entry(target: Target) -> MemberLevel:
        """Return the members of the target's entry."""
        return _compiled_level(target.entry.request) or NO_MEMBERS


def _level_of_client(key: ClientKey) -> MemberLevel | None:
    """Return the members of a client and its group, ``None`` without any."""
    level = combine((_compiled_level(key.request), _compiled_level(None if key.group is None else key.group.request)))
    return None if level is NO_MEMBERS else level


def _compiled_level(members: RequestMembers | None) -> MemberLevel | None:
    return None if members is None else members.level
