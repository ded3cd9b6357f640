"""What the programs beside this share: their settings, the boxes, and how they tell what they were told."""

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
    """Look into a box.

    Args:
        box: which one
    """
    return f"There is {WORDS[box]} in it."


def tell(first: str, second: str, thoughts: int = 0) -> None:
    """The two answers that the person would read, and how much thinking was shown."""
    print(json.dumps({"first": first, "second": second, "thoughts": thoughts}))
