"""Images made for prompts."""

import base64
import random
import struct
import time
import zlib

import msgspec

from loadtest.plan.load_request import LoadRequest, PromptImages
from loadtest.requests.bodies import Bodies
from loadtest.requests.made_requests import NoiseImages
from tests.support.each_row import each_row


def chunks(png: bytes) -> dict[bytes, bytes]:
    """A PNG's chunks by name, their checksums checked, as its standard has them."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    found, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size) == (zlib.crc32(name + data),)
        found[name] = data
        at += 12 + size
    return found


def test_an_image_is_a_png_of_its_size_and_each_is_different():
    images, rng = NoiseImages(32, 20), random.Random(1)
    seen = set()
    for _ in range(50):
        found = chunks(base64.b64decode(images.base64(rng)))
        assert [*found] == [b"IHDR", b"IDAT", b"IEND"]
        assert struct.unpack(">IIBBBBB", found[b"IHDR"]) == (32, 20, 8, 2, 0, 0, 0)
        rows = zlib.decompress(found[b"IDAT"])
        assert len(rows) == 20 * (1 + 32 * 3)
        assert {rows[at] for at in range(0, len(rows), 1 + 32 * 3)} == {0}
        seen.add(rows)
    assert len(seen) == 50


def test_one_pixel_is_enough_and_two_megabytes_take_a_moment():
    assert len(zlib.decompress(chunks(NoiseImages(1, 1).png(random.Random(1)))[b"IDAT"])) == 4
    images, rng = NoiseImages(832, 832), random.Random(1)
    since = time.process_time()
    assert len(images.png(rng)) > 2_000_000
    assert time.process_time() - since < 0.1


@each_row("usage", [True, False])
def test_prompts_with_images_request_the_usage_only_if_the_scenario_does(usage: bool):
    request = LoadRequest("m", api="chat", usage=usage, images=PromptImages())
    body = msgspec.json.decode(Bodies(request).make_body("Hi", 7, [b"AAAA"]))
    assert ("stream_options" in body) is usage
