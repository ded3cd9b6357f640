"""Data of ``trigate connect``: a client with its settings, and the gateway's address.

Values have placeholders: ``{root}`` is the gateway's address, ``{base}`` the same with ``/v1``, ``{model}`` the model,
``{small}`` the model for small tasks and ``{key}`` a key of the gateway. ``choosing`` adds more for some programs. A
setting that consists of a placeholder without a value is left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from gateway import OPEN_KEY

KEY_VARIABLE = "TRIGATE_API_KEY"
"""The variable with the gateway's key; clients that can read a variable need no key in a file."""

Format: TypeAlias = Literal["json", "toml", "yaml", "yaml_list", "env"]
When: TypeAlias = Literal["always", "keyed", "open", "session"]
Path: TypeAlias = tuple[str, ...]


@attrs.frozen
class Setting:
    """One value in a settings file: always, or ``when`` the gateway needs a key, when it needs none, or when the user
    has a session there."""

    path: Path
    value: Any
    when: When = "always"


@attrs.frozen
class SettingsFile:
    """A client's settings file ``folder``/``name``; the environment's ``variable`` can set another folder.

    ``folder`` starts with ``~``, or is ``app:NAME`` for the platform's directory for the settings of NAME. ``variable``
    may end with a folder below the variable's. ``override`` is the name of a file in the same folder whose settings
    have precedence: if it exists, it is written instead."""

    folder: str
    name: str
    format: Format
    settings: tuple[Setting, ...]
    variable: str = ""
    override: str = ""

    @property
    def versions(self) -> tuple["SettingsFile", ...]:
        """The file, and the one that overrides it, each without the other."""
        own = attrs.evolve(self, override="")
        return (own, attrs.evolve(own, name=self.override)) if self.override else (own,)


@attrs.frozen
class Client:
    """A client that ``trigate connect`` knows.

    ``connect NAME -- ARGS`` starts ``program`` ("" if ARGS contain it) with ``environment`` (None: the client reads
    only its file) and without the variables in ``without``. Before ARGS come flags: ``each`` sets one value of the
    file, ``whole`` passes the whole file. ``{file}`` in ``environment`` is the whole file. An empty value below
    ``blanks``, a path in the file, hides a variable of ``without`` from the client. ``beside`` is a second file.
    ``headers`` is the path of headers in its settings, ``headers_variable`` the variable for them, and the text between
    two. ``chooses`` is a key of ``choosing.CHOICES``. ``snippet`` is a program in ``language``, ``then`` are the next
    commands, after ``stores_key``, with which the program stores the gateway's key."""

    name: str
    title: str
    speaks: str
    file: SettingsFile | None = None
    beside: SettingsFile | None = None
    program: str = ""
    install: str = ""
    environment: Mapping[str, str] | None = None
    each: str = ""
    whole: str = ""
    without: tuple[str, ...] = ()
    blanks: Path = ()
    headers: Path = ()
    headers_variable: tuple[str, str] | None = None
    chooses: str = "usual"
    language: str = ""
    snippet: str = ""
    then: tuple[str, ...] = ()
    stores_key: str = ""

    @property
    def files(self) -> tuple[SettingsFile, ...]:
        """The settings files that the client has."""
        return tuple(file for file in (self.file, self.beside) if file is not None)


_WORD = re.compile(r"\{(\w+)\}")


def _leaf_values(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the values in a tree with their paths, and empty mappings: other values in a file can then stay."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaf_values((*path, name), item)
    else:
        yield path, value


# boto3 sends a Bedrock API key only over TLS, and signs other requests: add the gateway's key after signing.
_WITH_KEY = f"""\
key = os.environ["{KEY_VARIABLE}"]
bedrock.meta.events.register("before-send", lambda request, **_: request.headers.update({{"x-trigate-key": key}}))
"""


@attrs.frozen
class GatewayAddress:
    """The gateway's address, the values of placeholders for models, and the ``key``, None if it needs none.

    ``token_arguments`` are those of ``trigate`` that print the token of the user's session; the ``key`` is then such a
    token, which clients with settings for sessions do not get."""

    root: str
    models: Mapping[str, Any]
    key: str | None = attrs.field(default=None, repr=False)
    token_arguments: tuple[str, ...] = ()

    def fill(self, value: Any) -> Any:
        """Return ``value`` with all placeholders replaced, at any depth. A value that is only a placeholder may become
        a number."""
        match value:
            case str():
                words = self._placeholder_values()
                if (alone := _WORD.fullmatch(value)) is not None and alone[1] in words:
                    return words[alone[1]]
                for name, word in words.items():
                    value = value.replace("{" + name + "}", str(word))
                return value
            case Mapping():
                return {self.fill(name): self.fill(item) for name, item in value.items()}
            case _:
                return value

    def settings(self, rows: Sequence[Setting]) -> Iterator[tuple[Path, Any]]:
        """Yield the paths and values of the ``rows`` that apply to this gateway."""
        with_session = self.uses_session(rows)
        applicable = ("always", "session" if with_session else "open" if self.key is None else "keyed")
        values: dict[Path, Any] = {}
        for row in rows:
            if with_session and "{key}" in str(row.value):
                continue
            if row.when in applicable and self.has_value(row.value):
                path, value = tuple(str(self.fill(step)) for step in row.path), self.fill(row.value)
                values |= dict(_leaf_values(path, value)) if isinstance(row.value, str) else {path: value}
        holders = {path[:length] for path in values for length in range(1, len(path))}
        yield from ((path, value) for path, value in values.items() if path not in holders)

    def uses_session(self, rows: Sequence[Setting]) -> bool:
        """Return whether a client with these ``rows`` gets tokens from a command."""
        return bool(self.token_arguments) and any(row.when == "session" for row in rows)

    def has_value(self, value: Any) -> bool:
        """Return whether a row has a value: false for a placeholder without one at this gateway."""
        alone = _WORD.fullmatch(value) if isinstance(value, str) else None
        return alone is None or alone[1] in self._placeholder_values()

    def _placeholder_values(self) -> Mapping[str, Any]:
        keyed = self.key is not None
        model = str(self.models.get("model", ""))
        # With Vertex AI, Google's SDK takes the start of any other name with a slash for the publisher's.
        vertex = {"vertex_model": f"publishers/google/models/{model}" if "/" in model else model} if model else {}
        return {
            "root": self.root,
            "base": f"{self.root}/v1",
            **self.models,
            **vertex,
            "key": OPEN_KEY if self.key is None else self.key,
            **self._session_values(),
            "import_os": "import os\n\n" if keyed else "",
            "python_key": f'os.environ["{KEY_VARIABLE}"]' if keyed else f'"{OPEN_KEY}"',
            "boto3_key": _WITH_KEY if keyed else "",
            "node_key": f"process.env.{KEY_VARIABLE}" if keyed else f'"{OPEN_KEY}"',
        }

    def _session_values(self) -> Mapping[str, Any]:
        if not self.token_arguments:
            return {}
        command = " ".join(("trigate", *self.token_arguments))
        return {"token_arguments": [*self.token_arguments], "token_command": command}
