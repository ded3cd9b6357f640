"""The interface for features that add calls to the HTTP API. It imports nothing of the API.

- ``interface``: what they add."""
