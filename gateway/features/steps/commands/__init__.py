"""The commands of ``trigate steps``.

- ``listing``: the kinds of steps, and the strings that no step sees. ``trying``: ``steps try``."""
