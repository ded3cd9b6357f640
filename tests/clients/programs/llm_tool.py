# For llm's --functions: a file of functions that the model may call.
import json
import os


def look_into(box: str) -> str:
    """Open a box."""
    return f"There is {json.loads(os.environ['WORDS'])[box]} in it."
