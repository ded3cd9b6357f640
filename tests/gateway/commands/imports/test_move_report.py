"""``trigate import --report``: everything that changes, is lost or left to do, for the one who decides."""

import json
from pathlib import Path

import pytest

from gateway.commands.imports.imported_secrets import variables_in
from gateway.commands.imports.losses import Group
from gateway.commands.imports.move_report import Move, json_text, markdown_text, report_of
from tests.support.command_line import invoke
from tests.support.features import needs_feature
from tests.support.harness import ROOT
from tests.support.litellm_files import file_text, import_with_tables, item
from tests.support.quick_yaml import dump_yaml

DATA = ROOT / "tests/data/litellm"


@pytest.fixture(scope="module")
def move() -> Move:
    tables = json.loads((DATA / "tables.json").read_text())
    lasting = {"max_budget": 5, "spend": 1, "blocked": False, "metadata": {"guardrails": ["g"]}}
    tables["LiteLLM_VerificationToken"] += [
        {"token": f"{number:064x}", "key_alias": f"lasting-{number}", "models": [], **lasting} for number in range(8)
    ]
    result = import_with_tables(DATA / "config.yaml", tables)
    return Move(
        result, "config.yaml", "the database in DATABASE_URL", variables_in(file_text(result)), Path("t.yaml"), 3
    )


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_text_has_every_loss_with_its_place_and_all_names(move):
    text = markdown_text(report_of(move))
    assert [line for line in text.splitlines() if len(line) > 80 and " " in line.strip(" -")] == []
    for loss in move.result.losses:
        assert words(loss.what) in words(text)
        assert words(loss.why) in words(text)
    shortened = next(loss for loss in move.result.losses if "…" in loss.what)
    assert words(f"All 9: {', '.join(shortened.names)}.") in words(text)
    assert "titan-on-sagemaker (sagemaker/" in words(text)
    assert "In config.yaml, model_list[" in words(text)
    assert "In LiteLLM_VerificationToken." in text
    for notes, _ in move.result.entries:
        assert all(words(note) in words(text) for note in notes)


@needs_feature("request_members")
def test_every_key_of_the_database_is_counted_once(move):
    keys = report_of(move)["counts"]["client_keys"]
    assert keys["all"] == 18
    assert keys["all"] == keys["moved"] + keys["invalid_already"] + keys["lost"] + keys["not_counted"]
    assert (keys["invalid_already"], keys["not_counted"]) == (2, 1)  # LiteLLM's own pages have one
    models = report_of(move)["counts"]["models"]
    assert (models["moved"], models["all"]) == (11, 12)


def test_json_is_the_same_report_and_none_has_secrets(move):
    report = report_of(move)
    assert json.loads(json_text(report)) == report
    order = {group.value: number for number, group in enumerate(Group)}
    categories = [one["category"] for one in report["lost"]]
    assert categories == sorted((loss.group.value for loss in move.result.losses), key=order.__getitem__)
    digests = [key["sha256"] for key in move.result.client_keys if "sha256" in key]
    for secret in (*digests, *move.result.values.values()):
        assert secret not in json_text(report) + markdown_text(report)
    assert report["to_do"]["variables_with_values"]
    assert "LITELLM_MASTER_KEY" in report["to_do"]["variables_to_set"]


def test_a_move_that_fails_has_a_report_too(tmp_path):
    models = [item("m", "openai/m", api_key="sk-literal-1234567890"), item("lost", "sagemaker/x")]
    (tmp_path / "litellm.yaml").write_text(dump_yaml({"model_list": models}))
    said = invoke("import", "litellm.yaml", "--write", "trigate.yaml", "--report", "move.md", cwd=tmp_path)
    assert said.returncode == 1
    assert said.stderr.endswith("move.md has all that changes, is lost or left to do.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["litellm.yaml", "move.md"]
    text = (tmp_path / "move.md").read_text()
    assert "Nothing was written, because some models cannot be converted." in text
    assert "- lost (sagemaker/x): trigate does not support SageMaker\n  In litellm.yaml, model_list[1] (lost)." in text
    assert "sk-literal" not in text


def test_a_report_by_its_ending_and_never_over_a_file(tmp_path):
    (tmp_path / "litellm.yaml").write_text(dump_yaml({"model_list": [item("m", "openai/m")]}))
    args = ("import", "litellm.yaml", "--report", "move.json")
    assert invoke(*args, cwd=tmp_path).returncode == 0
    report = json.loads((tmp_path / "move.json").read_text())
    assert (report["written"]["exit_status"], report["lost"], report["source"]["database"]) == (0, [], "")
    again = invoke(*args, "--write", "trigate.yaml", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (1, "move.json: file exists; give --report the name of a new file\n")
    assert not (tmp_path / "trigate.yaml").exists()
