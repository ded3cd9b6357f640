"""The first paths of pages and metadata, to which several features and commands link."""

from typing import Final

LIVE: Final = "/ui"
ACCOUNT: Final = "/ui/me"
"""The first of the pages about callers."""

STORY: Final = "/ui/request"
"""The path of one request's story, for ``trigate log``."""

WITH_KEY: Final = "sign_in=key"
"""The query with which a page requests a key instead of a sign-in, for an operator whose issuer is unavailable."""

RESOURCE: Final = "/.well-known/oauth-protected-resource"
"""The start of the URL of a resource's metadata (RFC 9728, section 3.1). Its path follows."""
