"""Who may command a worker."""

import pytest

from loadtest.crew.handshake import Commanded, Commander, NoAdmission, proof
from loadtest.crew.messages import packet


def meet(commander: Commander, commanded: Commanded) -> None:
    introduction = commander.introduction(commanded.challenge)
    commander.check(commanded.challenge, commanded.check(introduction))


def test_those_with_one_secret_work_together():
    for secret in (None, "s" * 16):
        meet(Commander("1.0", "c", secret), Commanded("1.0", secret))


def test_those_that_do_not_belong_together_are_told_why():
    for ours, theirs, why in (
        (Commander("1.0", "c", None), Commanded("1.1", None), "it is trigate 1.1, and this is 1.0"),
        (Commander("1.0", "c", None), Commanded("1.0", "secret"), "--secret-env"),
        (Commander("1.0", "c", "other"), Commanded("1.0", "secret"), "the secret is another"),
        (Commander("1.0", "c", "secret"), Commanded("1.0", None), "it does not know the secret"),
    ):
        with pytest.raises(NoAdmission, match=why):
            meet(ours, theirs)


def test_the_worker_looks_at_the_version_too():
    introduction = Commander("1.0", "c", None).introduction(Commanded("1.0", None).challenge)
    with pytest.raises(NoAdmission, match=r"it is trigate 1\.1, and the other is 1\.0"):
        Commanded("1.1", None).check(introduction)


def test_the_secret_is_not_sent():
    secret = "a secret of some length"
    commander, commanded = Commander("1.0", "c", secret), Commanded("1.0", secret)
    introduction = commander.introduction(commanded.challenge)
    assert secret.encode() not in packet(commanded.challenge) + packet(introduction) + commanded.check(introduction)
    assert secret not in repr(commander) + repr(commanded)


def test_a_proof_holds_for_one_connection_one_side_and_one_name():
    first = proof("secret", "commander", b"a" * 32, b"b" * 32, "c")
    others = [
        proof("secret", "worker", b"a" * 32, b"b" * 32, "c"),
        proof("secret", "commander", b"x" * 32, b"b" * 32, "c"),
        proof("secret", "commander", b"a" * 32, b"x" * 32, "c"),
        proof("secret", "commander", b"a" * 32, b"b" * 31, "bc"),
        proof("other", "commander", b"a" * 32, b"b" * 32, "c"),
    ]
    assert len({first, *others}) == 1 + len(others)
