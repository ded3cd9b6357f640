"""The command ``trigate import``: its output, its files and its exit status."""

import resource

import pytest

from gateway.commands.imports.result import NO_KEYS_WARNING
from tests.support.command_line import invoke
from tests.support.litellm_files import item
from tests.support.quick_yaml import dump_yaml


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "litellm.yaml"
    path.write_text(dump_yaml({"model_list": [item("m", "openai/m", max_parallel_requests=0.5)]}))
    return path


def test_the_command_prints_a_configuration_that_check_accepts(file):
    found = invoke("import", "litellm.yaml", cwd=file.parent)
    assert found.returncode == 3, found.stderr
    assert found.stderr == (
        f"Converted: 1 of 1 model.\n{NO_KEYS_WARNING}\nNot converted, see the comments in the file:\n"
        "  protection (1): max_parallel_requests of m.\n"
    )
    (file.parent / "trigate.yaml").write_text(found.stdout)
    assert invoke("check", cwd=file.parent, env={"OPENAI_API_KEY": "k"}).returncode == 0


def test_the_command_writes_a_file_and_never_over_one(file):
    first = invoke("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    assert (first.returncode, first.stdout) == (3, "")
    assert invoke("check", "--no-env", cwd=file.parent).returncode == 0
    again = invoke("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    assert (again.returncode, again.stderr) == (1, "trigate.yaml: file exists; give --write the name of a new file\n")


@pytest.mark.parametrize(
    ("params", "status", "says"),
    [
        ({}, 0, "Nothing was lost."),
        ({"tags": ["a"]}, 0, "Not converted, see the comments in the file (unimportant settings only):"),
        ({"rpm": 60}, 0, "Nothing was lost."),
        ({"max_parallel_requests": 0.5}, 3, "Not converted, see the comments in the file:"),
    ],
)
def test_the_exit_status_shows_whether_losses_matter(file, params, status, says):
    file.write_text(dump_yaml({"model_list": [item("m", "openai/m", **params)]}))
    found = invoke("import", "litellm.yaml", cwd=file.parent)
    assert (found.returncode, found.stderr.splitlines()[2]) == (status, says)


@pytest.mark.parametrize("text", [b"model_list: [", b"- a\n", b"\xff", b"model_list: []\n"])
def test_the_command_refuses_files_that_it_cannot_read(file, text):
    file.write_bytes(text)
    found = invoke("import", "litellm.yaml", cwd=file.parent)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr


def test_the_command_refuses_names_that_yaml_cannot_hold_as_keys(file):
    file.write_text(dump_yaml({"model_list": [item("x" * 2000, "openai/m"), item("x" * 2000, "openai/n")]}))
    found = invoke("import", "litellm.yaml", cwd=file.parent)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == (
        "litellm.yaml: the result would be no YAML (mapping values are not allowed here): shorten the names of models "
        "and keys\n"
    )


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "model_providers: []", (),
            "litellm.yaml: model_list: missing; the file is a configuration of trigate already: trigate check.",
        ),
        (
            "routes: []", (),
            "litellm.yaml: model_list: missing; give a configuration of LiteLLM's proxy; docs/migrating.md has others.",
        ),
        (None, (), "litellm.yaml: cannot be read: no such file or directory; give a readable file."),
        ("model_list: 5", (), "litellm.yaml: model_list: not a list; expected a list of models, as in LiteLLM."),
        (
            "model_list: []", ("--database", "LITELLM_URL"),
            "--database: there is no environment variable LITELLM_URL; connect to the database: give its connection "
            "string, or the name of a variable with it.",
        ),
    ],
)  # fmt: skip
def test_an_unusable_file_or_database_gets_advice(file, text, options, message):
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    found = invoke("import", "litellm.yaml", *options, cwd=file.parent)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", f"{message}\n")


ELSEWHERE = item("claude-sonnet-4-5", "sagemaker/eu.anthropic.claude-sonnet-4-5-20250929-v1:0")


@pytest.mark.parametrize("write", [(), ("--write", "trigate.yaml")])
def test_a_model_without_an_entry_is_an_error_unless_requested(file, write):
    file.write_text(dump_yaml({"model_list": [ELSEWHERE, item("anthropic/*", "anthropic/*")]}))
    found = invoke("import", "litellm.yaml", *write, cwd=file.parent)
    assert (found.returncode, found.stdout) == (1, "")
    assert not (file.parent / "trigate.yaml").exists()
    assert found.stderr.splitlines()[0] == ("litellm.yaml: cannot convert 1 of 2 models, so nothing was written:")
    assert "claude-sonnet-4-5 (sagemaker/eu.anthropic" in found.stderr
    assert found.stderr.splitlines()[-1].endswith("--partial")
    partial = invoke("import", "litellm.yaml", "--partial", *write, cwd=file.parent)
    assert partial.returncode == 3
    assert partial.stdout or (file.parent / "trigate.yaml").exists()


def test_a_comment_names_the_key_for_paths_of_other_clients(file):
    said = invoke("import", "litellm.yaml", cwd=file.parent)
    comments = [line for line in said.stdout.splitlines() if line.startswith("#")]
    assert any("add `compatibility: [azure, litellm]` at the root" in line for line in comments)


def test_no_name_of_a_foreign_file_controls_the_terminal(file):
    evil = "a\x1b]0;title\x07\x9b31m\u202eb"
    for models in ([item(evil, "unknown/m")], [item(evil, "openai/m", **{evil: 0.5})]):
        file.write_text(dump_yaml({"model_list": models, evil: 1}))
        found = invoke("import", "litellm.yaml", cwd=file.parent)
        assert "\\u202eb" in found.stderr
        assert all(line.isprintable() for line in found.stderr.splitlines())


def test_a_full_disk_is_reported_with_the_file_and_leaves_none(file):
    file.write_text(dump_yaml({"model_list": [item(f"model-{i}", "openai/gpt-4o") for i in range(1000)]}))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, before[1]))
    try:
        found = invoke("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "trigate.yaml: file too large\n")
    assert [path.name for path in file.parent.iterdir()] == ["litellm.yaml"]
