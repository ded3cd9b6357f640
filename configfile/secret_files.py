"""Secrets in files of their own, as Docker, Kubernetes and systemd provide them.

``{file: PATH}`` replaces a secret in a configuration, and ``NAME_FILE`` in the environment replaces ``$NAME``.
"""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from configfile.expanded import Expanded, Unresolved
from configfile.wording import Wrong

LONGEST: Final = 64 * 1024
"""The most bytes of a file; a whole chain of certificates is shorter."""

_READABLE: Final = "give a file that trigate can read"

_MOUNTED: Final = "/run/secrets/"
"""The folder of secrets in a container of Docker or Podman, by default readable for all users in it."""


class SecretFiles:
    """The files of secrets in one configuration; each is read once.

    ``texts`` are the contents by their paths, and start with ``given``. ``warnings`` are sentences on files that other
    users can read. ``stored`` are the texts of secrets in stores, and ``unreadable`` are the reasons why others could
    not be read (``configfile.stored_secrets``).
    """

    def __init__(
        self,
        given: Mapping[str, str] | None = None,
        stored: Mapping[str, str] | None = None,
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        self.texts: dict[str, str] = dict(given or {})
        self.stored: Mapping[str, str] = stored or {}
        self.unreadable: Mapping[str, str] = unreadable or {}
        self.warnings: list[str] = []

    def read(self, path: str, written: str) -> str:
        """Return the text in ``path``, without its final line break. Raises ``Wrong``.

        ``written`` is the path in messages.
        """
        if path not in self.texts:
            self.texts[path] = self._text(path, written)
        return Expanded(self.texts[path])

    def _text(self, path: str, written: str) -> str:
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would hold us
        except (OSError, ValueError) as error:  # the latter for a NUL in the path
            reason = (getattr(error, "strerror", None) or "no path").lower()
            raise Wrong(f"cannot read the file {written}: {reason}", _READABLE) from None
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):  # such as the directory that Docker mounts in place of a missing file
            os.close(file)
            raise Wrong(f"{written} is not a file", _READABLE)
        with open(file, "rb") as opened:
            if about.st_mode & stat.S_IROTH and not path.startswith(_MOUNTED):
                self.warnings.append(f"every user of this machine can read {written}: run chmod o= {written}")
            data = opened.read(LONGEST + 1)
        try:
            text = data.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            text = ""
        if not text.strip() or len(data) > LONGEST:
            found = "is empty" if not data.strip() else "is not a valid secret"
            raise Wrong(f"the file {written} {found}", "the file must contain only the secret")
        return text


class UnreadFiles(SecretFiles):
    """The files of a configuration that is checked without them."""

    def read(self, path: str, written: str) -> str:
        return Unresolved(f"the file {written}")


def secret_path(value: Any) -> str | None:
    """Return the path in ``{file: PATH}``, or ``None`` for every other value."""
    path = value.get("file") if isinstance(value, dict) and len(value) == 1 else None
    return path if isinstance(path, str) else None


class SecretReference(dict[str, Any], ABC):
    """A mapping in place of a secret, with its place; only kinds of secrets read it."""

    @abstractmethod
    def text(self, *, may_be_unread: bool = False) -> str:
        """Return the secret, or ``Unresolved`` text if it was not read. Raises ``Wrong``.

        With ``may_be_unread`` a secret that a store does not give is not wrong.
        """


class SecretFile(SecretReference):
    """``{file: PATH}`` in a configuration.

    ``written`` is the path with its variables unexpanded.
    """

    def __init__(self, path: str, written: str, files: SecretFiles) -> None:
        super().__init__(file=path)
        self._path = path
        self._written = written
        self._files = files

    def text(self, *, may_be_unread: bool = False) -> str:
        if isinstance(self._path, Unresolved):
            return Unresolved(self._path)
        return self._files.read(self._path, self._written)
