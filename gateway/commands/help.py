"""The help of commands: the everyday commands and options first, so that the first screen answers most questions."""

import inspect
from collections.abc import Mapping
from typing import Final

import click

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Run": ("serve", "doctor"),
    "Configure": ("init", "check", "explain", "steps", "import"),
    "Clients": ("connect", "login", "token", "me"),
    "Money": ("costs", "cache", "reconcile"),
    "Keys and people": ("keys", "people"),
    "Develop": ("mock", "compare", "replay", "translate", "lint", "schema", "load"),
}
"""The commands of ``trigate`` by purpose."""


class Command(click.Command):
    """A command whose help has one paragraph, then the options in the order of their definition, then the details."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, self._paragraphs()[0])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, self._paragraphs()[1])

    def _paragraphs(self) -> tuple[str, str]:
        """Return the first paragraph and the other ones."""
        first, _, others = inspect.cleandoc(self.help or "").partition("\n\n")
        return first, others


def _write(formatter: click.HelpFormatter, text: str) -> None:
    if text:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)


class Commands(click.Group):
    """A group whose help lists its commands before its options, by ``GROUPS`` or in the order of their definition."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = GROUPS if ctx.parent is None else {"Commands": tuple(self.commands)}
        length = max(map(len, self.commands))
        for title, names in sections.items():
            with formatter.section(title):
                rows = [(f"{name:{length}}", self.commands[name].get_short_help_str(limit=200)) for name in names]
                formatter.write_dl(rows)
