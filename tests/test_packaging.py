"""What surrounds the code fits it and itself: the package's description, image, hosted CI, templates, release."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest
import yaml

from gateway import __version__
from tests.support.doc_blocks import fenced
from tests.support.harness import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {"streams", "providers", "gateway"}
PYTHONS = [found[1] for one in PROJECT["classifiers"] if (found := re.fullmatch(r".* :: (3\.\d+)", one))]
IMAGE = (ROOT / "Dockerfile").read_text()
CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = [step for job in CI["jobs"].values() for step in job["steps"]]
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


# The release


def test_the_version_is_one_and_has_notes_on_top():
    assert PROJECT["version"] == __version__
    notes = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (\S+)(?: \((?:\d{4}-\d\d-\d\d|unreleased)\))?$", notes, re.M)
    assert headings[0] == __version__
    assert headings == sorted(headings, key=lambda text: [int(part) for part in text.split(".")], reverse=True)


def test_notes_of_the_newest_version_are_in_the_three_lists():
    newest = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1]
    assert set(re.findall(r"^### (.*)$", newest, re.M)) <= {"Added", "Changed", "Fixed"}


def test_the_security_page_names_the_newest_version_as_one_that_gets_fixes():
    assert f"| {__version__.rpartition('.')[0]} | yes |" in (ROOT / "SECURITY.md").read_text()


def test_the_licence_is_named_as_tools_look_for_it_and_is_there():
    assert PROJECT["license"] == "Apache-2.0"
    (file,) = PROJECT["license-files"]
    assert re.search(r"^ +Apache License\n +Version 2\.0, January 2004$", (ROOT / file).read_text(), re.M)


# Dependencies


def third_party_modules() -> dict[str, str]:
    """The modules that the product imports of other packages, deferred imports included, each with a place."""
    found = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found.update({name.partition(".")[0]: f"{path.relative_to(ROOT)}:{node.lineno}" for name in names})
    return {name: place for name, place in found.items() if name not in {*sys.stdlib_module_names, *PACKAGES}}


def test_every_third_party_module_that_is_imported_is_declared():
    extras = [one for several in PROJECT["optional-dependencies"].values() for one in several]
    declared = {normal(re.match(r"[\w.-]+", one)[0]) for one in (*PROJECT["dependencies"], *extras)}
    shipped_by = packages_distributions()
    undeclared = {
        place: name
        for name, place in third_party_modules().items()
        if not {normal(one) for one in shipped_by.get(name, [name])} & declared
    }
    assert undeclared == {}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# Pythons


def test_every_python_that_is_named_is_tested_by_hosted_ci():
    assert CI["jobs"]["gate"]["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_the_image_takes_the_newest_python_in_each_of_its_stages():
    assert set(re.findall(r"^FROM python:(\S+?)-slim", IMAGE, re.M)) == {PYTHONS[-1]}


# The image's context


IGNORING = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def as_pattern(line: str) -> re.Pattern[str]:
    """A line of .dockerignore: ``*`` is within a name, ``**/`` any number of directories."""
    parts = re.split(r"(\*\*/|\*)", line.strip("/"))
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts))


def reaches_the_builder(path: str, lines: list[str]) -> bool:
    """The last line that is of the file, or of a directory that it is in, decides."""
    kept, names = True, [path, *map(str, PurePosixPath(path).parents)]
    for line in lines:
        if any(as_pattern(line.removeprefix("!")).fullmatch(name) for name in names):
            kept = line.startswith("!")
    return kept


@pytest.mark.parametrize(
    ("path", "there"),
    [("a", False), ("b", True), ("b/c/d", True), ("b/x.pyc", True), ("b/cache/x", False), ("bb", False)],
)
def test_dockerignore_is_read_as_the_builder_reads_it(path, there):
    assert reaches_the_builder(path, ["*", "!b", "**/cache"]) == there


COPIED = [
    source
    for line in re.findall(r"^COPY (?!--from)(.*)$", IMAGE, re.M)
    for source in line.split()[:-1]
]  # fmt: skip


@pytest.mark.parametrize("source", COPIED)
def test_what_the_image_copies_is_there_and_reaches_its_builder(source):
    assert (ROOT / source).exists()
    assert reaches_the_builder(source, IGNORING)


def test_the_image_has_all_that_the_package_is_built_from():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", *packages} <= set(COPIED)
    for name in re.findall(r"^# (requirements\S+\.txt) is", IMAGE, re.M):
        assert name in COPIED


def test_what_is_private_or_large_does_not_reach_the_builder():
    for name in (".git/config", ".venv/bin/python", "trigate.yaml", "tests/conftest.py", "gateway/__pycache__/app.pyc"):
        assert not reaches_the_builder(name, IGNORING)


# Hosted CI and templates


def test_hosted_ci_may_read_and_no_more_and_runs_the_gate():
    assert CI["permissions"] == {"contents": "read"}
    assert all("permissions" not in job and job["timeout-minutes"] for job in CI["jobs"].values())
    assert ".ci/run" in [step.get("run") for step in STEPS]


def test_what_hosted_ci_uses_is_pinned():
    for step in STEPS:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@(?:v\d+|[0-9a-f]{40})", step["uses"])


def test_the_quick_loop_is_the_same_wherever_it_stands():
    (recipe,) = re.findall(r"^quick \*ARGS:\n    (.*) \{\{ARGS\}\}$", (ROOT / "justfile").read_text(), re.M)
    assert recipe in [block.strip() for block in fenced((ROOT / "CONTRIBUTING.md").read_text(), "sh")]
    assert recipe in [step.get("run") for step in STEPS]
    assert recipe in (ROOT / ".github/pull_request_template.md").read_text()


@pytest.mark.parametrize("file", [path for path in TEMPLATES if path.name != "config.yml"], ids=lambda path: path.stem)
def test_a_template_of_issues_is_a_form(file: Path):
    form = yaml.safe_load(file.read_text())
    assert form["name"]
    assert form["description"]
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 0
    for part in form["body"]:
        assert part["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert part["attributes"]["value" if part["type"] == "markdown" else "label"]


def test_hooks_before_a_commit_download_nothing():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [one["repo"] for one in hooks] == ["local"]
    assert all(hook["language"] == "system" for one in hooks for hook in one["hooks"])
    assert all((ROOT / hook["entry"]).is_file() for one in hooks for hook in one["hooks"])
