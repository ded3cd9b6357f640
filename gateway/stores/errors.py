"""The errors of stores and databases."""


class Unavailable(Exception):
    """An error: the store is unavailable or full. The message is for operator and client, without addresses or
    credentials."""

    def cause(self) -> str:
        """Return the driver's message for the operator, "" without one. It may name the server, but has no password."""
        return " ".join(str(self.__cause__ or "").split())

    def with_cause(self) -> str:
        """Return the message with the driver's, which a command shows to the operator who runs it."""
        cause = self.cause()
        return f"{self}: {cause}" if cause and cause not in str(self) else str(self)


class InDoubt(Unavailable):
    """An error: the store did not confirm a change in time, but may have made it."""


class ChangeRejected(Exception):
    """An error: a change of stored data that is not valid; the message is for the user."""


class StoreFull(Exception):
    """An error: there are as many objects of a kind as there may be, until one is removed."""


class Changed(Exception):
    """An error: the node that a write expected was changed by another writer."""
