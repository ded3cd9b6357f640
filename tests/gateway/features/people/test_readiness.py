"""Readiness of a gateway that has not yet read the rows of people: it would refuse their credentials."""

import pytest

from tests.support.harness import eventually
from tests.support.people_gateway import people_gateway

CI = {"authorization": "Bearer key-of-ci-0123456789abcdef"}


@pytest.mark.server
def test_a_gateway_is_ready_when_it_can_judge_the_credentials_of_people(tmp_path, server, database):
    storage = {"type": "postgres", "connection_string": database}
    server.stop()
    try:
        with people_gateway(tmp_path, state_storage=storage) as gateway:
            token = {"authorization": f"Bearer {gateway.provider.token(sub='00u1', groups=['ml'])}"}

            def status(path, headers=None):
                return gateway.gateway.request("GET", path, None, headers or {}).status

            assert (status("/nowhere", token), status("/nowhere", CI)) == (503, 404)
            reply = gateway.gateway.request("GET", "/readyz")
            assert (reply.status, reply.json) == (503, {"status": "starting", "missing": "people"})
            assert status("/healthz") == 200
            server.start()
            eventually(lambda: status("/readyz") == 200, 20, "the rows of people")
            assert status("/nowhere", token) == 404, "ready means that tokens work"
            server.stop()
            eventually(lambda: any("the last known ones" in line for line in gateway.log), 20)
            assert status("/readyz") == 200, "a process that has read them stays ready"
    finally:
        if server.process is None:
            server.start()
