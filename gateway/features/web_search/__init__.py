"""Web searches by the gateway, for models whose provider has none: ``feature`` has its row and its keys, ``checks``
checks them, and ``opening`` opens it. ``services`` queries the search service, ``offering`` gives a model the tool,
``turns`` reads each of its turns, and ``origin`` runs them and the searches, as ``parts``
of one answer."""
