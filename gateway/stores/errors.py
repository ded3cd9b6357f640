"""The errors of stores and databases."""


class Unavailable(Exception):
    """An error: the store is unavailable or full. The message is for operator and client, without addresses or
    credentials."""


class ChangeRejected(Exception):
    """An error: a change of stored data that is not valid; the message is for the user."""


class StoreFull(Exception):
    """An error: there are as many objects of a kind as there may be, until one is removed."""


class Changed(Exception):
    """An error: the node that a write expected was changed by another writer."""
