"""The programs' settings, the boxes as a tool, and the report of both answers."""

import json
import os
import sys

ROOT = os.environ["GATEWAY"]
BASE = f"{ROOT}/v1"
KEY = "any"
MODEL = os.environ["MODEL"]
PLEASE = os.environ["PLEASE"]
AGAIN = os.environ["AGAIN"]
WORDS = json.loads(os.environ["WORDS"])
VARIANT, MODE = sys.argv[1:3]
STREAM = MODE == "stream"
SCHEMA = {
    "type": "object",
    "properties": {"box": {"type": "string", "description": "which one"}},
    "required": ["box"],
    "additionalProperties": False,
}


def look_into(box: str) -> str:
    """Open a box.

    Args:
        box: which one
    """
    return f"There is {WORDS[box]} in it."


def report(first: str, second: str, thoughts: int = 0) -> None:
    """Print the two answers that a user would read, and the amount of thinking that was shown."""
    print(json.dumps({"first": first, "second": second, "thoughts": thoughts}))
