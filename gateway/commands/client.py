"""A program or a library that ``trigate connect`` knows, and the gateway that it is pointed at.

In texts and values ``{root}`` stands for the gateway's address, ``{base}`` for the same with ``/v1``, ``{model}`` and
``{small}`` for the model and the one for small tasks, ``{key}`` for a key of the gateway; ``choosing`` has more words
for some programs. A setting that is nothing but a word that stands for nothing here is left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs

KEY_VARIABLE = "TRIGATE_API_KEY"
"""Where a client's key is expected, so that it need not stand in a file, where the client can read a variable."""

OPEN_KEY = "any"
"""What is sent to a gateway that asks for no key: most clients refuse to start without one."""

Format: TypeAlias = Literal["json", "toml", "yaml", "yaml_list", "env"]
When: TypeAlias = Literal["always", "keyed", "open"]
Path: TypeAlias = tuple[str, ...]


@attrs.frozen
class Setting:
    """One value in a settings file. ``when``: only where the gateway asks for a key, or only where it does not."""

    path: Path
    value: Any
    when: When = "always"


@attrs.frozen
class SettingsFile:
    """``folder``/``name``, unless the environment's ``variable`` names another folder. ``folder`` begins with ``~``,
    is ``.`` for where the command runs, or ``app:NAME`` for the platform's place for NAME's settings."""

    folder: str
    name: str
    format: Format
    settings: tuple[Setting, ...]
    variable: str = ""


@attrs.frozen
class Client:
    """A row. ``program`` is what ``connect NAME -- ARGS`` starts ("" where ARGS name it), with ``environment`` (None:
    it takes its settings from its file alone), without the variables in ``without``, and before ARGS with ``each``, a
    flag that sets one value of the file, or ``whole``, one that takes all of it. ``{file}`` in ``environment`` is the
    whole file. Below ``blanks``, a path in the file, an empty text hides a variable of ``without`` from the program.
    ``beside`` is a second file, written with the first. ``chooses`` says how its models are chosen
    (``choosing.CHOICES``). ``snippet`` is a program in ``language``; ``then`` are commands to go on with."""

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
    chooses: str = "usual"
    language: str = ""
    snippet: str = ""
    then: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[SettingsFile, ...]:
        """The client's own files."""
        return tuple(file for file in (self.file, self.beside) if file is not None)


_WORD = re.compile(r"\{(\w+)\}")


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the values of a tree, so that what a person has beside them in a file stays; and mappings without any."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves((*path, name), item)
    else:
        yield path, value


# boto3 sends a Bedrock API key over TLS alone, and signs every other request: the gateway's key is added behind that.
_WITH_KEY = f"""\
key = os.environ["{KEY_VARIABLE}"]
bedrock.meta.events.register("before-send", lambda request, **_: request.headers.update({{"x-trigate-key": key}}))
"""


@attrs.frozen
class GatewayAddress:
    """The gateway that a client is pointed at, and what the words for models stand for. ``key`` None: it asks for
    none."""

    root: str
    models: Mapping[str, Any]
    key: str | None = attrs.field(default=None, repr=False)

    def fill(self, value: Any) -> Any:
        """``value`` with what its placeholders stand for, at any depth; one alone may be a number."""
        match value:
            case str():
                words = self._words()
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
        """Paths and values of those ``rows`` that are for this gateway."""
        wanted = ("always", "open" if self.key is None else "keyed")
        found: dict[Path, Any] = {}
        for row in rows:
            if row.when in wanted and self.says(row.value):
                path, value = tuple(str(self.fill(step)) for step in row.path), self.fill(row.value)
                found |= dict(_leaves(path, value)) if isinstance(row.value, str) else {path: value}
        holders = {path[:length] for path in found for length in range(1, len(path))}
        yield from ((path, value) for path, value in found.items() if path not in holders)

    def says(self, value: Any) -> bool:
        """True if ``value`` is more than a word that stands for nothing here."""
        alone = _WORD.fullmatch(value) if isinstance(value, str) else None
        return alone is None or alone[1] in self._words()

    def _words(self) -> Mapping[str, Any]:
        keyed = self.key is not None
        return {
            "root": self.root,
            "base": f"{self.root}/v1",
            **self.models,
            "key": OPEN_KEY if self.key is None else self.key,
            "import_os": "import os\n\n" if keyed else "",
            "python_key": f'os.environ["{KEY_VARIABLE}"]' if keyed else f'"{OPEN_KEY}"',
            "boto3_key": _WITH_KEY if keyed else "",
            "node_key": f"process.env.{KEY_VARIABLE}" if keyed else f'"{OPEN_KEY}"',
        }
