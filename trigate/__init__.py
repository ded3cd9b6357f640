"""The public Python interface of trigate: ``trigate.steps`` for code that checks, masks or records content, and its
``testing``; ``features`` for other extensions of the gateway."""
