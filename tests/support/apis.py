"""The wire APIs for which tests have tables and streams that were written by hand.

What holds of every API is tried over ``providers.apis.CODECS``."""

from typing import Final

from streams.events import Api

OLDER: Final[tuple[Api, ...]] = ("chat", "messages", "responses")
