"""A translated request has the types of its provider's SDK, for every field of every SDK.

Tables of members cannot show it: both of Google's APIs have search types, and spell them as a list and as an object.
"""

import msgspec
import pytest

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.sdk_fields import samples
from tests.support.sdk_types import mistake_in

PROVIDER = Recipient("m", Issuer("openai", "a"))


@pytest.mark.filterwarnings("ignore:warning. .. DEPRECATED")  # types of members that Google will remove
@pytest.mark.parametrize("step", [30, pytest.param(1, id="each", marks=pytest.mark.soak)])
@pytest.mark.parametrize("api", CODECS)
def test_a_translated_request_has_the_types_of_its_provider(api, step):
    """The gate translates every other field for one provider, by turns."""
    others = [one for one in CODECS if one != api]
    mistakes, count = [], 0
    for place, sample in enumerate(samples(api)):
        providers = others[place % step :: step]
        if not providers or mistake_in(api, sample.with_field) is not None:
            continue
        try:
            request = CODECS[api].read_request(sample.with_field)
        except GatewayError:
            continue
        for provider in providers:
            try:
                body = CODECS[provider].write_request(request, PROVIDER).body
            except GatewayError:
                continue
            count += 1
            if (mistake := mistake_in(provider, msgspec.json.decode(body))) is not None:
                mistakes.append((sample.name, provider, mistake))
    assert mistakes == []
    assert count > 500 // step
