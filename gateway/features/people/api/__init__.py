"""The calls about people in the HTTP API. Imported with the API's first request.

- ``opening`` adds them to the API, ``part`` lists them.
- The handlers: ``own_keys``, ``people``; ``people_keys`` are the keys of people in the list of all keys."""
