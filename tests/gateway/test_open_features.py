"""The table of features, with rows missing."""

import pytest

from tests.support.command_line import invoke
from tests.support.harness import config, provider, with_ports
from tests.support.quick_yaml import dump_yaml


@pytest.mark.parametrize("command", [["check", "--secrets"], ["doctor", "--config"]])
def test_a_secret_in_a_store_is_a_mistake_if_no_feature_reads_it(monkeypatch, tmp_path, command):
    monkeypatch.setattr("gateway.open_features.features", tuple)
    key = {"vault": "secret/trigate#openai"}
    vault = {"url": "http://127.0.0.1:9", "token": "t"}
    content = config([provider("openai/up", "http://127.0.0.1:9", key=key)], secret_stores={"vault": vault})
    (file := tmp_path / "trigate.yaml").write_text(dump_yaml(with_ports(content)[0]))
    found = invoke(*command, str(file))
    assert found.returncode == 1
    assert "no feature of this gateway reads the secret vault secret/trigate#openai" in found.stdout + found.stderr
    assert "use files or variables" in found.stdout + found.stderr
    assert "Traceback" not in found.stdout + found.stderr
