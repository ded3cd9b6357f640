"""The output of finished commands of trigate."""

from tests.support.command_line import Finished


def good(result: Finished) -> str:
    """Return the standard output of a command that has succeeded."""
    assert result.returncode == 0, result.stderr
    return result.stdout


def reason_of(result: Finished) -> str:
    """Return why a command has failed, in one line."""
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())
