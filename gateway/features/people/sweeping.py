"""Deletes the rows of the people tables that have expired."""

from typing import Final

from gateway.stores.record_tables import RightsTables

DAY: Final = 86400.0
PEOPLE_DAYS: Final = 90
AUDIT_DAYS: Final = 400
_MARGIN: Final = DAY
"""The time for which expired rows remain, so that the clocks of other gateways may differ."""

_OLD_AUDIT: Final = """
    DELETE FROM {} WHERE number < coalesce((SELECT min(number) FROM {{audit}} WHERE at > :before), 9223372036854775807)
"""
"""Rows are deleted from the start of the audit without gaps, whatever clocks have set their times."""

_EXPIRED: Final = (
    ("DELETE FROM {used_once} WHERE until <= :before", _MARGIN),
    ("DELETE FROM {device_grants} WHERE until <= :before", 600.0),
    (
        "DELETE FROM {person_sessions} WHERE (until <= :before OR ended <= :before) AND tokens_until <= :before",
        3600.0,
    ),
    (
        """
        DELETE FROM {issuer_sessions} WHERE checked <= :before AND NOT EXISTS (
            SELECT 1 FROM {person_sessions} WHERE origin = {issuer_sessions}.id
        )
        """,
        3600.0,
    ),
    (
        """
        DELETE FROM {used_refresh_tokens} WHERE at <= :before AND NOT EXISTS (
            SELECT 1 FROM {person_sessions} WHERE id = {used_refresh_tokens}.session
        )
        """,
        0.0,
    ),
    ("DELETE FROM {own_keys} WHERE until <= :before", 30 * DAY),
    ("DELETE FROM {raises} WHERE until <= :before", 30 * DAY),
    (
        """
        DELETE FROM {people} WHERE seen <= :before AND NOT EXISTS (
            SELECT 1 FROM {own_keys} WHERE person = {people}.name
        )
        """,
        PEOPLE_DAYS * DAY,
    ),
    (_OLD_AUDIT.format("{audit_digests}"), AUDIT_DAYS * DAY),
    (_OLD_AUDIT.format("{audit}"), AUDIT_DAYS * DAY),
)
"""Deletions, and the seconds that must have passed before."""


def sweep(tables: RightsTables, now: float) -> None:
    """Delete everything that has expired. No change is noted: other processes drop expired rows by their times."""
    for statement, seconds in _EXPIRED:
        tables.select(statement, before=now - seconds)
