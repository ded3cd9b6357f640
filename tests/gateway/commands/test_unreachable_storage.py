"""Commands whose database cannot be reached: they state the server's reason, without its password."""

from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.harness import free_port


@each_row(
    "line",
    [*rows_of("kept_ledger", ["costs"], ["cache"]), *rows_of("admin", ["keys", "list"], ["keys", "revoke", "ann"])],
    ids=" ".join,
)
def test_an_unreachable_database_is_reported_with_the_cause(line, tmp_path):
    url = f"postgresql://ann:secret-0123@127.0.0.1:{free_port()}/trigate"
    (tmp_path / "trigate.yaml").write_text(
        "version: v0.4.0\nmodel_providers: [{model: ollama/llama3.2}]\n"
        f"state_storage: {{type: postgres, connection_string: '{url}'}}\n"
    )
    found = invoke(*line, cwd=tmp_path)
    assert found.returncode != 0
    assert "trigate.yaml: state_storage: the state storage is unreachable: " in found.stderr
    assert "Connection refused" in found.stderr
    assert "secret-0123" not in found.stderr
