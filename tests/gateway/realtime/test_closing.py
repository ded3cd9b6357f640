"""Close codes on their way to the other side (opensandbox-group/OpenSandbox#1640, manaflow-ai/subrouter#79)."""

from gateway.realtime.closing import CLIENT_LOST, LONGEST_REASON, LOST, NO_CODE, Closing, fitting, passed_on


def test_every_code_becomes_one_that_may_be_sent():
    reserved = {999, 1004, 1006, 1015, 1016, 2000, 2999, 5000, 65535, 0}
    for code in reserved:
        assert passed_on(code, "why", LOST) == LOST, code
        assert passed_on(code, "why", CLIENT_LOST) == CLIENT_LOST, code
    for code in (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4000, 4999):
        assert passed_on(code, "why", LOST) == Closing(code, "why"), code
    assert passed_on(NO_CODE, "", LOST) == Closing(NO_CODE, "")


def test_a_reason_fits_and_is_cut_between_characters():
    assert fitting("é" * 62) == "é" * 61
    assert len(passed_on(1008, "x" * 500, LOST).reason) == LONGEST_REASON
    assert fitting("\ud800") == "?"


def test_a_reason_holds_no_credential():
    closing = passed_on(1008, "the key sk-upstream-0123456789 is wrong", LOST, ("sk-upstream-0123456789",))
    assert "0123456789" not in closing.reason
    assert closing.code == 1008
