"""``trigate explain --key``: the limits of a person, by the rule that admits it."""

import yaml

from gateway.commands.explaining import explain
from tests.support.people_gateway import people_gateway

PRICED = ({"model": "openai/gpt-4o", "access_key": "k", "base_url": "http://127.0.0.1:9", "price": "free"},)


def test_the_limits_of_a_person_are_those_of_its_rule(tmp_path, capsys):
    with people_gateway(tmp_path, providers=PRICED) as gateway:
        gateway.sign_in("ada")
        file = tmp_path / "trigate.yaml"
        file.write_text(yaml.safe_dump(dict(gateway.settings)))

        def output_of(key, status):
            assert explain("gpt-4o", "chat", file, False, key=key) == status
            found = capsys.readouterr()
            assert "Traceback" not in found.err
            return found.out if status == 0 else found.err

        assert "client_keys.okta:00u1: 20 usd/day" in output_of("okta:00u1", 0)
        assert "trigate people list" in output_of("okta:stranger", 2)
        assert "has no client key 'entra:00u1'" in output_of("entra:00u1", 2)


def test_one_rule_needs_no_storage(tmp_path, capsys):
    rule = {"when": {}, "budgets": ["3 usd/day"]}
    issuer = {"name": "ci", "issuer": "https://ci.example", "audience": ["trigate"], "admit": [rule]}
    settings = {"version": "v0.4.0", "model_providers": list(PRICED), "issuers": [issuer]}
    file = tmp_path / "trigate.yaml"
    file.write_text(yaml.safe_dump(settings))
    assert explain("gpt-4o", "chat", file, False, key="ci:acme/app") == 0
    assert "client_keys.ci:acme/app: 3 usd/day" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["trigate.yaml"]
