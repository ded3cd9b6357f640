"""Sign-in of people with a browser or a device code. Imported with its first request.

- ``paths``: the paths, imported at start; ``serving``: from a path to its response; ``errors`` for programs and people.
- ``browser``: sign-in and sign-out at an issuer, and the callers of the pages; ``browser_sessions``: the caller of a
  cookie.
- ``devices``: the device flow and its codes; ``token_grants``: the token endpoint.
- ``address_limits``: limits of strangers by address; ``context``: what all of them share.
- ``sign_in_states``: the sealed state of a sign-in; ``cookies`` and ``forms`` read browsers' values; ``pages``: their
  text."""
