"""What passes is not held: pictures up, sound and vectors down, far larger than what the gateway grows by
(BerriAI/litellm#32386). ``python -m tests.media_memory`` does the same with 500 MB."""

import pytest

from tests.support.media_traffic import BLOCK, VECTOR, download, media_gateway, upload, vectors

pytestmark = [pytest.mark.process, pytest.mark.soak]

BLOCKS = 24 * 2**20 // len(BLOCK)
VECTORS = 24 * 2**20 // len(VECTOR)
MOST = 16  # MiB


def test_bodies_of_any_size_pass_in_bounded_memory():
    with media_gateway() as (gateway, upstream):
        upload(gateway, 4, model_first=True)
        download(gateway, upstream, 4)
        vectors(gateway, upstream, 50)
        for name, passage in (
            ("model first", upload(gateway, BLOCKS, model_first=True)),
            ("model last", upload(gateway, BLOCKS, model_first=False)),
            ("down", download(gateway, upstream, BLOCKS)),
            ("vectors", vectors(gateway, upstream, VECTORS)),
        ):
            assert passage.grown < MOST, name
