"""Web searches by the gateway, for models whose provider has none: ``feature`` is its row and ``settings`` its keys,
``services`` asks the search service, ``offering`` gives a model the tool, ``turns`` reads each of its turns, ``origin``
runs them, and ``appending`` writes the next request."""
