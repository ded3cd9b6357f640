"""Fixtures for the tests of commands that read the ledger."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.features.kept_ledger.line import LedgerLine
from tests.support.ledger_lines import write_ledger_file


@pytest.fixture
def write_ledger(request, tmp_path) -> Callable[..., Path]:
    """Return a function that writes a configuration with the module's ``ENTRY``, and lines to its database."""

    def write(*lines: LedgerLine, **more: object) -> Path:
        return write_ledger_file(tmp_path, request.module.ENTRY, lines, more)

    return write
