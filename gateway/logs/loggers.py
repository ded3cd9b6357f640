"""The names of the loggers whose lines the gateway's own log treats differently."""

from typing import Final

AUDIT: Final = "trigate.audit"
"""The audit's logger, and the attribute of its records that has the line's fields."""

EXCHANGES: Final = "trigate.exchange"
"""The logger of exchanges, whose lines are already formatted."""
