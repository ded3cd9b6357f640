"""The service: HTTP in, HTTP out, routing, cancellation, settlement and the command line.

- ``__main__``: the command line, which ``program`` imports
- ``app`` builds the app of a configuration, with ``websockets`` for what needs Quart; ``asgi``: the app for other
  servers
- ``open_service`` opens what all requests share, with ``open_parts``, ``open_store`` and ``open_features``
- ``lifespan``: the tasks of a process; ``reload`` replaces the configuration
- ``file_search`` finds the configuration file, also in the user's folder, which ``users_files`` has
- ``named_imports``: imports of functions that rows of data name
- ``sign_in``: credentials from the clouds' own libraries
"""

__version__ = "0.3.0"

OPEN_KEY = "any"
"""The key that ``trigate connect`` sets for a gateway without keys: most programs do not start without one."""
