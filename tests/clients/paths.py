"""Imported first, it makes the project and the tools of its tests importable for what runs in this folder."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
