"""The README and the pages of docs: their commands, snippets and configurations work."""

import contextlib
import re
import sys

import anthropic
import openai
import pytest

from gateway.config_files.loading import load
from tests.support.cases import case
from tests.support.command_line import invoke
from tests.support.doc_blocks import blocks_in
from tests.support.each_row import each_row
from tests.support.features import describes_all_features
from tests.support.gateway_thread import demo_thread
from tests.support.harness import ROOT

README = (ROOT / "README.md").read_text()
FIRST_STEPS = (ROOT / "docs/first-steps.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def section(text: str, heading: str) -> str:
    """Return the text under ``## heading``, up to the next heading of that level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, f"no section {heading}"
    return found[1]


# Run and Test


@each_row(("heading", "end"), [("Run", "trigate serve --demo"), ("Test", "pytest -q -n auto --dist loadfile")])
def test_a_section_begins_with_one_line_that_suffices(heading, end):
    text = section(README, heading).lstrip("\n")
    assert text.startswith("```sh\n"), f"the first thing under {heading} is its command"
    line = blocks_in(text, "sh")[0]
    assert line.count("\n") == 1
    assert line.startswith("python3 -m venv .venv && ")
    assert line.rstrip().endswith(end)
    assert "--require-hashes" in line


@each_row("heading", ["Run", "Test"])
def test_the_commands_use_files_that_exist(heading):
    line = blocks_in(section(README, heading), "sh")[0]
    for file in re.findall(r"-r (\S+)", line):
        assert (ROOT / file).is_file()


def test_the_block_after_run_shows_a_stream():
    assert blocks_in(section(README, "Run"), "sh")[1].startswith("curl -N ")


@each_row("name", ["requirements.txt", "requirements-dev.txt"])
def test_locked_requirements_have_hashes_and_name_no_host(name):
    text = (ROOT / name).read_text()
    pinned = re.findall(r"^[a-z0-9._-]+(?:\[[a-z,]+\])?==.*?(?=^\S|\Z)", text, re.M | re.S)
    assert len(pinned) > 10
    assert all("--hash=sha256:" in one for one in pinned)
    assert not re.search(r"://|--index-url|--find-links", text)


# Every program


def test_each_api_has_a_curl_command():
    assert set(re.findall(r"^curl -N \S+12000(/v1/\S+)", README, re.M)) == {
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/responses",
    }


def test_the_python_snippets_run(monkeypatch, capsys):
    snippets = blocks_in(README, "python")
    assert snippets
    for snippet in snippets:
        with demo_thread() as served, contextlib.ExitStack() as stack:
            for module in (openai.OpenAI, anthropic.Anthropic):
                close_later(monkeypatch, module, stack)
            exec(snippet.replace("http://127.0.0.1:12000", served.url), {})
        assert "stand-in model" in capsys.readouterr().out


def close_later(monkeypatch, client, stack):
    """Close the snippet's client when ``stack`` ends, as the end of a program would."""
    original = client.__init__

    def init(self, **options):
        original(self, **options)
        stack.callback(self.close)

    monkeypatch.setattr(client, "__init__", init)


# Performance


def table(text: str) -> dict[str, list[str]]:
    """Return the rows of the first table of ``text``, by their first cell, without emphasis and bracketed text."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)]
    return {first: [re.sub(r"\*|\s*\([\d.]+\)", "", cell) for cell in cells] for first, *cells in rows}


def without_unit(cell: str) -> str:
    return re.sub(r" (ms|MiB|s)$", "", cell)


def test_the_readme_has_the_numbers_of_the_performance_page():
    shown = table(section(README, "Performance"))
    measured = table(section((ROOT / "docs/performance.md").read_text(), "Measured"))
    assert shown[""] == measured["case"]
    for name, row in {
        "a small request and its response": "unary: a small answer",
        "the same, Messages client, Chat provider": "unary, Messages from Chat",
        "memory, idle – maximum": "resident memory, idle and maximum, MiB",
        "from the start to the first response": "from start to the first successful answer, s",
    }.items():
        assert [without_unit(cell) for cell in shown[name]] == measured[row]
    streams = measured["paced: an event every 20 ms, 20 streams"]
    assert [without_unit(cell) for cell in shown["one streamed event"]] == [f"{float(ms) / 104:.2f}" for ms in streams]


# Every configuration


CONFIGS = [(f"{page.name}-{i}", body) for page in PAGES for i, body in enumerate(blocks_in(page.read_text(), "yaml"))]


@describes_all_features
def test_each_configuration_is_valid(tmp_path):
    assert CONFIGS
    file = tmp_path / "trigate.yaml"
    for name, text in CONFIGS:
        with case(name):
            file.write_text(text)
            assert load(file, None).entries


@pytest.fixture
def configured(tmp_path):
    """Return a directory with the README's configuration of real providers."""
    (tmp_path / "trigate.yaml").write_text(blocks_in(README, "yaml")[-1])
    return tmp_path


def test_the_readmes_configuration_passes_check(configured):
    found = invoke("check", "--no-env", cwd=configured)
    assert found.returncode == 0, found.stderr
    assert "valid" in found.stdout


def test_explain_prints_the_output_in_the_first_steps(configured):
    assert invoke("explain", "fast", "--api", "messages", "--no-env", cwd=configured).stdout in blocks_in(
        FIRST_STEPS, ""
    )


def test_check_prints_the_output_in_the_first_steps(configured):
    file = configured / "trigate.yaml"
    file.write_text(file.read_text().replace("access_key: $ANTHROPIC", "acces_key: $ANTHROPIC"))
    assert invoke("check", cwd=configured, env={"ANTHROPIC_API_KEY": "sk"}).stderr in blocks_in(FIRST_STEPS, "")


def test_the_readme_has_the_required_python_version():
    least = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert f"Python {sys.version_info.major}.{least[1]}" in README
