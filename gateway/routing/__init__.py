"""From a model's name to a target: ``router``, ``target``."""
