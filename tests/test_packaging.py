"""The files around the code are consistent: package metadata, image, hosted CI, templates and release."""

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from gateway import __version__
from tests.support.doc_blocks import blocks_in
from tests.support.each_row import each_row
from tests.support.harness import ROOT
from tests.support.image_file import reaches_the_builder, read_image
from tests.support.syntax import imports

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, BUILD_SYSTEM = PYPROJECT["project"], PYPROJECT["build-system"]
PACKAGES = {"configfile", "streams", "providers", "loadtest", "trigate", "gateway"}
PYTHONS = [found[1] for one in PROJECT["classifiers"] if (found := re.fullmatch(r".* :: (3\.\d+)", one))]
IMAGE = (ROOT / "Dockerfile").read_text()
CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = [step for job in CI["jobs"].values() for step in job["steps"]]
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


# The release


def test_the_version_is_the_same_everywhere_and_has_the_first_notes():
    assert PROJECT["version"] == __version__
    notes = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (\S+)(?: \(\d{4}-\d\d-\d\d\))?$", notes, re.M)
    headings = headings[1:] if headings[0] == "Unreleased" else headings
    assert headings[0] == __version__
    assert headings == sorted(headings, key=lambda text: [int(part) for part in text.split(".")], reverse=True)


def test_notes_of_the_newest_version_are_in_the_four_lists():
    newest = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1]
    assert set(re.findall(r"^### (.*)$", newest, re.M)) <= {"Added", "Changed", "Removed", "Fixed"}


def test_the_security_page_lists_the_newest_version_as_supported():
    assert f"| {__version__.rpartition('.')[0]} | yes |" in (ROOT / "SECURITY.md").read_text()


def test_the_licence_exists_and_has_the_name_that_tools_expect():
    assert PROJECT["license"] == "Apache-2.0"
    (file,) = PROJECT["license-files"]
    assert re.search(r"^ +Apache License\n +Version 2\.0, January 2004$", (ROOT / file).read_text(), re.M)


# Dependencies


def third_party_modules() -> dict[str, str]:
    """Return the imported third-party modules of the product, each with a place. Deferred imports count."""
    found = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in imports(path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found.update({name.partition(".")[0]: f"{path.relative_to(ROOT)}:{node.lineno}" for name in names})
    return {name: place for name, place in found.items() if name not in {*sys.stdlib_module_names, *PACKAGES}}


def test_every_imported_third_party_module_is_declared():
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


def test_hosted_ci_tests_every_python_in_the_metadata():
    assert CI["jobs"]["gate"]["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_every_stage_of_the_image_has_the_newest_python():
    assert {re.match(r"python:(\S+?)-slim@", stage.image)[1] for stage in STAGES} == {PYTHONS[-1]}


# Builds are reproducible (https://slsa.dev: pinned, by digest)

LOCKS = sorted(ROOT.glob("requirements*.txt"))
PIP = re.compile(r"pip (?:--python \S+ )?(install|wheel)\b([^&|]*)")


@each_row("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_of_a_lock_is_pinned_and_hashed(lock):
    entries = re.split(r"(?<!\\)\n", lock.read_text().strip())
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+(\[[\w, -]+\])?==\S+", entry)
        assert "--hash=sha256:" in entry


def test_a_lock_pins_packages_with_the_extras_that_others_need():
    """Without its extras, pip takes a pin for another package, and installs nothing once a newer version is out.

    It asks the index for ``google-auth[requests]`` although ``google-auth==2.62.2`` is pinned
    (https://github.com/pypa/pip/issues/12345).
    """
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    pinned = {one.name: one for one in (Requirement(line.rstrip("\\ ")) for line in lines if "==" in line)}
    needed = [Requirement(text) for name in pinned for text in installed_requirements(name)]
    with_extras = [one for one in needed if one.extras and (one.marker is None or one.marker.evaluate({"extra": ""}))]
    assert "google-auth" in {one.name for one in with_extras}
    assert {str(one) for one in with_extras if not one.extras <= pinned[normal(one.name)].extras} == set()


@each_row("lock", LOCKS, ids=lambda path: path.name)
def test_a_pin_with_extras_has_one_without_them(lock):
    """Another package may need it without them."""
    pins = re.findall(r"^([\w.-]+)(\[.*\])?==(\S+)", lock.read_text(), re.M)
    assert {(name, version) for name, extras, version in pins if extras} <= {
        (n, v) for n, extras, v in pins if not extras
    }


def installed_requirements(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:  # for another platform
        return []


def test_build_tools_are_pinned_by_hash():
    (needed,) = BUILD_SYSTEM["requires"]
    for name in ("requirements-build.txt", "requirements-dev.txt"):
        assert re.search(rf"^{re.escape(needed)} ", (ROOT / name).read_text(), re.M)


def test_the_image_has_one_base_image_by_digest():
    (image,) = {stage.image for stage in STAGES}
    assert re.fullmatch(r"python:\S+@sha256:[0-9a-f]{64}", image)


@each_row("workflow", sorted(path.name for path in (ROOT / ".github/workflows").iterdir()))
def test_hosted_workflows_use_actions_by_their_commit(workflow):
    """A tag can be moved to other code (CVE-2025-30066); a commit cannot."""
    used = re.findall(r"uses: *(\S+)( +# v[0-9.]+)?$", (ROOT / ".github/workflows" / workflow).read_text(), re.M)
    assert used
    for action, version in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert version, f"{action}: add its version as a comment"


@each_row(
    "page",
    [
        "Dockerfile",
        "README.md",
        "CONTRIBUTING.md",
        "justfile",
        ".github/workflows/ci.yml",
        ".github/workflows/release.yml",
    ],
)
def test_every_package_from_an_index_has_a_hash(page):
    """An isolated build would fetch the newest setuptools, even with ``--require-hashes``
    (https://github.com/pypa/pip/issues/13984)."""
    text = re.sub(r"\\\n", " ", (ROOT / page).read_text())
    commands = [(found[1], found[2]) for found in PIP.finditer(text) if re.search(r" (?:-r|\.|-e)(?: |$)", found[2])]
    assert commands
    for _, options in commands:
        assert "--require-hashes" in options or {"--no-deps", "--no-build-isolation"} <= set(options.split())


# The image's context


STAGES = read_image(IMAGE)
LINES = [line for stage in STAGES for line in stage.lines]
COPIED = [source for line in LINES if line.word == "COPY" and line.stage is None for source in line.sources]


@each_row("source", COPIED)
def test_files_copied_by_the_image_exist_and_reach_the_builder(source):
    assert (ROOT / source).exists()
    assert reaches_the_builder(source)


def test_the_image_has_all_sources_of_the_package():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", *packages} <= set(COPIED)
    for name in re.findall(r"^# (requirements\S+\.txt) is", IMAGE, re.M):
        assert name in COPIED


def test_private_and_large_files_do_not_reach_the_builder():
    for name in (".git/config", ".venv/bin/python", "trigate.yaml", "tests/conftest.py", "gateway/__pycache__/app.pyc"):
        assert not reaches_the_builder(name)


# Hosted CI and templates


def test_hosted_ci_runs_the_gate_and_may_only_read():
    assert CI["permissions"] == {"contents": "read"}
    assert all("permissions" not in job and job["timeout-minutes"] for job in CI["jobs"].values())
    assert ".ci/run" in [step.get("run") for step in STEPS]


def test_the_quick_loop_is_the_same_everywhere():
    (recipe,) = re.findall(r"^quick \*ARGS:\n    (.*) \{\{ARGS\}\}$", (ROOT / "justfile").read_text(), re.M)
    assert recipe in [block.strip() for block in blocks_in((ROOT / "CONTRIBUTING.md").read_text(), "sh")]
    assert recipe in [step.get("run") for step in STEPS]
    assert recipe in (ROOT / ".github/pull_request_template.md").read_text()


@each_row("file", [path for path in TEMPLATES if path.name != "config.yml"], ids=lambda path: path.stem)
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


def test_the_gate_finds_its_commands_in_the_pages():
    texts = re.findall(r'command_under (\S+) "(.+?)"\)', (ROOT / ".ci/run").read_text())
    assert len(texts) == 2
    for page, text in texts:
        lines = (ROOT / page).read_text().splitlines()
        assert any(line.startswith(text) for line in lines), (page, text)
