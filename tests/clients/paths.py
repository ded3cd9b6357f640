"""Import path setup: programs in this folder import it first, to import the project and its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
