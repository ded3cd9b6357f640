"""Time limits on a provider: what a listener, ``overrides``, ``timeouts`` and an entry say of it together."""

from typing import Any

import attrs

from gateway.config.schema import RawConfig, RawListener, RawTimeouts, given
from streams.pipe import Timeouts


def build_timeouts(raw: RawConfig, common: RawListener) -> Timeouts:
    """A listener's ``timeout`` limits the wait for the first byte and any silence after it, never a whole answer:
    long streams are not cut."""
    base = Timeouts()
    if common.timeout is not None:
        limit = common.timeout or None
        base = attrs.evolve(base, first_byte=limit, idle=limit)
    base = changed(base, RawTimeouts(connect=raw.overrides.upstream_connect_timeout))
    return changed(base, raw.timeouts)


def changed(base: Timeouts, raw: RawTimeouts | None) -> Timeouts:
    """``base`` with what the file gives. 0 is no limit, as in Envoy."""
    changes: dict[str, Any] = {name: value or None for name, value in given(raw).items()}
    return attrs.evolve(base, **changes)
