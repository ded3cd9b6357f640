"""Lets plain ``pytest`` find the packages without an installation, and gives every test its tools."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
