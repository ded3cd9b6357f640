"""The requests of docs/people.md and its reference, sent by curl to a gateway whose issuer signs the person's token."""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.support.features import needs_feature
from tests.support.people_gateway import people_gateway
from tests.support.repository import ROOT

PEOPLE_PAGES = [ROOT / "docs" / name for name in ("people.md", "people-reference.md")]
COMMANDS = [line for page in PEOPLE_PAGES for line in re.findall(r"^curl .*", page.read_text(), re.M)]
EXPECTED = {"/v1/models": "openai/gpt-4o", "/me/keys/laptop": "sk-trigate-"}


@needs_feature("model_lists")
@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_requests_of_the_pages_work_as_written(tmp_path):
    program = tmp_path / "trigate"
    program.write_text("#!/bin/sh\nprintf %s $TOKEN\n")
    program.chmod(0o755)
    with people_gateway(tmp_path) as gateway:
        token = gateway.provider.token(sub="00u1", groups=["ml"], email="ada@example.com")
        env = {**os.environ, "TOKEN": token, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        found = {}
        for command in COMMANDS:
            sent = command.replace("https://llm.example", gateway.url).replace("curl ", "curl -sS --fail-with-body ", 1)
            done = subprocess.run(sent, shell=True, env=env, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            found[re.search(r"https://llm\.example(/[^ ]*)", command)[1]] = done.stdout
        assert found.keys() == EXPECTED.keys()
        assert [path for path, text in EXPECTED.items() if text not in found[path]] == []
        key = json.loads(found["/me/keys/laptop"])["key"]
        models = gateway.gateway.request("GET", "/v1/models", None, {"authorization": f"Bearer {key}"})
        assert models.status == 200
