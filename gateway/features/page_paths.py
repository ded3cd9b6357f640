"""The first paths of the pages for people, to which features and commands link."""

from typing import Final

LIVE: Final = "/ui"
ACCOUNT: Final = "/ui/me"
"""The first of the pages about callers."""

STORY: Final = "/ui/request"
"""The path of one request's story, for ``trigate log``."""

WITH_KEY: Final = "sign_in=key"
"""The query with which a page requests a key instead of a sign-in, for an operator whose issuer is unavailable."""
