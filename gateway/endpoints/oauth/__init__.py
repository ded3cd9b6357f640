"""Sign-in of people with a browser or a device code, and token exchange. Imported with its first request.

- ``sign_in_states``: the sealed state of a sign-in; ``cookies``, ``forms`` and ``return_paths`` read browsers' values.
- ``pages``: the text of the pages."""
