"""What becomes of each field of each API in each other API, found out by translating it.

``python tests/translation_table.py`` writes ``docs/translation.md``; ``tests/test_translation.py`` keeps it true.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from sdk_fields import PARAMS, Sample, samples

from providers.apis import CODECS
from providers.codec import Outgoing, Recipient
from providers.fields import generic
from providers.seal import Issuer
from streams.errors import GatewayError
from streams.events import APIS, Api

PAGE = Path(__file__).parent.parent / "docs/translation.md"
ISSUER = Issuer("p", "")


@attrs.frozen
class Fate:
    """``word``: mapped, dropped, refused, no effect, lost (in silence: a mistake of ours)."""

    word: str
    why: str = ""


def fate(sample: Sample, target: Api) -> Fate:
    """What a translation to ``target`` makes of the sample's field."""
    try:
        with_field = translate(sample.api, sample.with_field, target)
    except GatewayError as error:
        return Fate("refused", error.failed.message)
    try:
        without = translate(sample.api, sample.without, target)
    except GatewayError:
        return Fate("mapped")  # it is what makes the request possible
    if any(path not in without.dropped for path in with_field.dropped):
        changed = body_of(with_field) != body_of(without)
        return Fate("mapped in part" if changed and not named(sample, with_field) else "dropped")
    if body_of(with_field) != body_of(without):
        return Fate("mapped")
    return Fate("dropped") if named(sample, with_field) else Fate("lost")


def named(sample: Sample, outgoing: Outgoing) -> bool:
    """Whether the report names the field, or what holds it."""
    path = generic(sample.path)
    return any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in outgoing.dropped)


def translate(source: str, body: Mapping[str, Any], target: Api) -> Outgoing:
    call = CODECS[source].read_request(msgspec.json.decode(msgspec.json.encode(body)))
    return CODECS[target].write_request(call, Recipient("m", ISSUER))


def body_of(outgoing: Outgoing) -> Any:
    return msgspec.json.decode(outgoing.body)


def fates() -> Iterator[tuple[Sample, Api, Fate]]:
    """Every field of every API, to each other API."""
    for api in PARAMS:
        for sample in samples(api):
            for target in APIS:
                if target != api:
                    yield sample, target, fate(sample, target)
