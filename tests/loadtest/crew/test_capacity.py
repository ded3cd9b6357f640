"""Limits of a machine that are told before the load."""

import pytest

from loadtest.crew.opening import (
    PortRange,
    file_limit_mistake,
    new_connections,
    port_note,
)
from tests.support.load_servers import scenario

LINUX = PortRange(32768, 60999)


def plan(**members):
    return scenario("http://127.0.0.1:1", **{"rate": 5, **members})


def test_connections_that_are_opened_anew_each_second():
    leaving = {"model": "m", "cancel": {"share": "50%"}, "weight": 1}
    for members, found in (
        ({}, 0.0),
        ({"connections": "new"}, 5.0),
        ({"requests": [leaving, {"model": "n", "weight": 4}]}, 0.5),
        ({"rate": None, "connections": "new", "steps": [{"rate": 5, "to": 500, "seconds": 9}]}, 500.0),
        ({"rate": None, "connections": "new", "concurrency": 50}, 0.0),
    ):
        assert new_connections(plan(**members)) == pytest.approx(found), members


def test_too_few_ports_are_reported_with_what_helps():
    """28,232 ports, each for 60 s: kubernetes-sigs/inference-perf#50, mzbench/mzbench#32."""
    assert LINUX.count == 28232
    assert LINUX.connections_per_second == pytest.approx(470.5, abs=0.1)
    many = plan(rate=471, connections="new")
    note = port_note(many, LINUX, 1, 1)
    assert note is not None
    assert "471 new connections per second" in note
    assert "allow 470 per second" in note
    for ports, addresses, machines in ((LINUX, 2, 1), (LINUX, 1, 2), (PortRange(1, 28232, 1.0), 1, 1), (None, 1, 1)):
        assert port_note(many, ports, addresses, machines) is None, (ports, addresses, machines)
    assert port_note(plan(rate=470, connections="new"), LINUX, 1, 1) is None


def test_ports_are_reported_as_the_system_chose_them(tmp_path):
    assert PortRange.of_this_machine("10.0.0.1", tmp_path) is None
    (tmp_path / "ip_local_port_range").write_text("40000\t40099\n")
    for reuse, address, wait in (
        (0, "127.0.0.1", 60), (1, "10.0.0.1", 1), (2, "127.0.0.1", 1), (2, "::1", 1), (2, "10.0.0.1", 60),
    ):  # fmt: skip
        (tmp_path / "tcp_tw_reuse").write_text(f"{reuse}\n")
        assert PortRange.of_this_machine(address, tmp_path) == PortRange(40000, 40099, wait), (reuse, address)


def test_more_clients_than_files_are_a_mistake():
    assert file_limit_mistake(10, 1, None) is None
    assert file_limit_mistake(960, 1, 1024) is None
    assert file_limit_mistake(1920, 2, 1024) is None
    assert file_limit_mistake(961, 1, 1024) == (
        "961 clients need 1025 open files, but a process may have only 1024",
        "raise the limit (ulimit -n 1025), use at most 960 clients, or more --processes",
    )


def test_too_few_open_files_for_any_load_are_reported_as_such():
    assert file_limit_mistake(0, 1, 64) is None
    assert file_limit_mistake(0, 1, 60) == (
        "this process may open 60 files, but a load needs at least 64",
        "raise the limit: ulimit -n 64",
    )
