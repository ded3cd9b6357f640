"""The path of this repository, and of optional data next to it."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SHARED: Final = ROOT.parent / "shared"

SHARED_FOLDER: Final = "TESTS_SHARED_FOLDER"
"""The variable with the folder of files that all workers of a run of the tests share."""
