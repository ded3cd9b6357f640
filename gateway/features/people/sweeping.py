"""Deletes the rows of the people tables that have expired."""

from typing import Final

from gateway.features.admin.interface import DAY, sweep_rights
from gateway.stores.record_tables import RightsTables

PEOPLE_DAYS: Final = 90
_MARGIN: Final = DAY
"""The time for which expired rows remain, so that the clocks of other gateways may differ."""

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
    (
        """
        DELETE FROM {people} WHERE seen <= :before AND NOT EXISTS (
            SELECT 1 FROM {own_keys} WHERE person = {people}.name
        )
        """,
        PEOPLE_DAYS * DAY,
    ),
)
"""Deletions, and the seconds that must have passed before."""


def sweep(tables: RightsTables, now: float) -> None:
    """Delete everything that has expired."""
    sweep_rights(tables, now, _EXPIRED)
