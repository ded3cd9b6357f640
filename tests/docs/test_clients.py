"""The table of real programs lists the pinned versions that were tested, and a reason for every failure."""

import json
import re

from tests.support.harness import ROOT

PAGE = (ROOT / "docs/clients.md").read_text()
FOLDER = ROOT / "tests/clients"


def rows() -> list[list[str]]:
    lines = PAGE.partition("<!-- the matrix")[2].partition("<!-- end")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def pinned_versions() -> set[str]:
    npm = json.loads((FOLDER / "package.json").read_text())["dependencies"].values()
    python = re.findall(r"^[\w.\[\]-]+==([\w.]+)", "".join(file.read_text() for file in FOLDER.glob("*.txt")), re.M)
    return {*npm, *python}


def test_the_table_has_only_pinned_versions():
    assert len(rows()) >= 20
    assert {version for row in rows() for version in row[1].split(", ")} <= pinned_versions()


def test_every_cell_works_or_has_a_reason():
    told = {word for row in rows() for cell in row[3:] for word in cell.split(", ")}
    failing = {word for word in told if word not in ("streamed", "whole")}
    reasons = re.findall(r"^(\d+)\. ", PAGE, re.M)
    assert all(re.fullmatch(r"\*\*(?:streamed|whole): no\*\* \(\d+\)", word) for word in failing), failing
    assert {word.split("(")[1].rstrip(")") for word in failing} == set(reasons)


def test_pins_contain_no_package_host():
    texts = [file.read_text() for file in FOLDER.glob("*.txt")] + [(FOLDER / "package.json").read_text()]
    assert not any("://" in text for text in texts)
    assert all(version[0].isdigit() for version in json.loads(texts[-1])["dependencies"].values())
