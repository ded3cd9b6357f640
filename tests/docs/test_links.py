"""The pages as a whole: the index leads to each, and their links lead to existing files and headings."""

import functools
import re
from collections import defaultdict
from pathlib import Path

from tests.support.cases import case
from tests.support.doc_blocks import FENCED, PAGES, SPAN
from tests.support.features import is_of_deleted_feature
from tests.support.harness import ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"""(?:\]\(|\bsrc(?:set)?=")(?!https?:)([^)#"]*)(?:#([^)"]+))?[)"]""")
LINKS = [(page, *found) for page in PAGES for found in LINK.findall(FENCED.sub("", page.read_text()))]


@functools.cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of ``page``: those of its headings (letters, digits and ``-`` for a space, in lower case), and
    those written as ``<a id="…">``, which keep old links working."""
    text = FENCED.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.+?) *$", text, re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", SPAN.sub(r"\1", one)) for one in headings]
    slugs = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in plain}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def test_a_link_leads_to_a_file_and_to_a_heading_in_it():
    for page, file, heading in LINKS:
        target = (page.parent / file).resolve() if file else page
        if page.parent == ROOT and is_of_deleted_feature(file):
            continue
        with case(f"{page.name}: {file}#{heading}"):
            assert target.exists()
            assert target.is_relative_to(ROOT)
            assert not heading or target.suffix != ".md" or heading in anchors(target)


def test_the_pages_have_a_bounded_number_of_words():
    """A fact is on one page. If a new page needs room, shorten another."""
    words = {page: len(page.read_text().split()) for page in DOCS.rglob("*.md")}
    assert sum(words.values()) <= 85_000, sorted(words, key=words.__getitem__)[-5:]


def test_the_index_has_every_page():
    """The index of clients leads to the pages of clients."""
    linked = defaultdict[Path, set[Path]](set)
    for page, file, _ in LINKS:
        linked[page].add((page.parent / file).resolve())
    pages = [page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"]
    assert [page for page in pages if page not in linked[DOCS / "README.md"] | linked[page.parent / "README.md"]] == []


def test_the_index_is_linked_from_the_readme_with_how_to_get_help_and_the_licence():
    linked = {file for page, file, _ in LINKS if page == ROOT / "README.md"}
    assert {"docs/README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CHANGELOG.md"} <= linked


def test_files_in_the_contributors_tables_exist():
    rows = re.findall(r"^\|.*\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    named = re.findall(r"`((?:tests|gateway|streams|providers)/[\w/*.]+|test_\w+\.py)`", "\n".join(rows))
    assert len(named) > 30
    there = [*ROOT.glob("tests/e2e/**/*.py")]
    for name in named:
        found = any(file.name == name for file in there) if "/" not in name else any(ROOT.glob(name))
        assert found or is_of_deleted_feature(name) or name == "tests/gateway/commands/test_", name
