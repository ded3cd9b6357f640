"""The table of ``docs/providers.md``, from the rows of the catalogue.

``python -m tests.pages.providers`` writes it; ``tests/docs/test_providers.py`` keeps it true.
"""

import re

from providers.catalog.providers import ALIASES, CATALOG, Provider
from streams.events import APIS
from tests.support.repository import ROOT

PAGE = ROOT / "docs/providers.md"
HEAD = ("provider", "address", "key", *(f"{api} clients" for api in ("Chat", "Messages", "Responses")), "models", "")


_NAMED = {"gpt-[!o]*": "`gpt-*` (not `gpt-oss-*`)"}
_REST = "gpt-o[!s]*"
"""Together these two patterns are every GPT but one."""


def table() -> str:
    lines = ["| " + " | ".join(HEAD).rstrip() + " |", "|" + "---|" * len(HEAD)]
    lines += ("|" + "|".join(f" {cell} " if cell else " " for cell in _cells(row)) + "|" for row in CATALOG.values())
    return "\n".join(lines) + "\n"


def _cells(row: Provider) -> tuple[str, ...]:
    names = [row.id, *(alias for alias, id in ALIASES.items() if id == row.id)]
    return (
        f"{row.display_name}: {', '.join(f'`{name}`' for name in names)}",
        f"`{row.base_url}{row.prefix}`" if row.base_url else f"yours, as `{row.address}`" if row.address else "yours",
        f"`{row.key_env}`" if row.key_env else "" if row.key_required else "none needed",
        *(_asked(row, api) for api in APIS),
        ", ".join(_NAMED.get(family, f"`{family}`") for family in row.families if family != _REST),
        row.about,
    )


def _asked(row: Provider, api: str) -> str:
    upstream = row.speaks.get(api)  # type: ignore[call-overload]
    return "not yet" if upstream is None else "as it is" if upstream == api else f"in {upstream.capitalize()}"


def page(text: str) -> str:
    """``text`` with the table as it should be. Raises ``LookupError`` where it has none."""
    text, count = re.subn(r"(?:^\|.*\n)+", lambda _: table(), text, count=1, flags=re.M)
    if not count:
        raise LookupError("no table")
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
