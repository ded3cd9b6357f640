"""How often providers are asked for one request, and when a target is left alone: the root's settings, and what a name
or an entry lays over them."""

import attrs

from configfile.document import Path
from gateway.config.findings import Findings
from gateway.config.schema import RawCircuit, RawListener, RawRetries, given
from gateway.config.settings import CircuitSettings, Retries


def build_retries(raw: RawRetries | None, common: RawListener) -> Retries | None:
    """The root's; ``None`` where the file says nothing. A listener's ``max_retries``, Plano's name for further
    attempts, is outranked by ``attempts``."""
    base = Retries(attempts=common.max_retries + 1) if common.max_retries else None
    return changed_retries(base, raw)


def changed_retries(base: Retries | None, raw: RawRetries | None) -> Retries | None:
    """``base`` with what the file gives; ``None`` where there is neither."""
    return base if raw is None else attrs.evolve(base or Retries(), **given(raw))


def changed_circuit(base: CircuitSettings, raw: RawCircuit, path: Path, findings: Findings) -> CircuitSettings:
    """``base`` with what the file gives. A longer first time alone makes the longest one as long."""
    made = attrs.evolve(base, **given(raw))
    if not made.error_rate:
        findings.wrong((*path, "error_rate"), "0%, at which every target would be out", "write a share such as 50%")
    if made.cooldown <= made.longest:
        return made
    if raw.longest is not None:
        findings.wrong((*path, "longest"), "shorter than cooldown", "it is the end of a time that doubles")
    return attrs.evolve(made, longest=made.cooldown)
