"""The ``lists`` of models that providers offer."""
