"""Imported first, it makes the project and its tests importable for what runs in this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
