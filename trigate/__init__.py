"""The public Python interface of trigate: ``trigate.steps`` for code that checks, masks or records content, and its
``testing``."""
