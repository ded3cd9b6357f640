"""Turns with calls and results that Gemini rejects."""

from typing import Any

from providers.errors.other_shapes import OTHER_SHAPES, find_paths, find_sole_paths
from tests.support.each_row import each_row


def call(name: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}}}


def result(name: str) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"result": 1}}}


def turn(role: str, *parts: Any) -> dict[str, Any]:
    return {"role": role, "parts": [*parts]}


IMAGE = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
ASKED = turn("user", {"text": "x"})
CALLS = turn("model", call("f"), call("g"))


def test_the_words_of_gemini_are_known():
    message = (
        "Please ensure that the number of function response parts is equal to the number of function call parts of the "
        "function call turn."
    )
    assert tuple(find_paths(message)) == find_sole_paths(message) == ((":calls", "results"),)


@each_row(
    ("contents", "joined"),
    [
        ([ASKED, CALLS, turn("user", result("f")), turn("user", result("g"))],
         [ASKED, CALLS, turn("user", result("f"), result("g"))]),
        ([ASKED, CALLS, turn("function", result("f")), turn("user", result("g")), turn("user", {"text": "y"})],
         [ASKED, CALLS, turn("function", result("f"), result("g"), {"text": "y"})]),
        ([ASKED, turn("model", call("f")), turn("model", call("g")), turn("user", result("f"), result("g"))],
         [ASKED, CALLS, turn("user", result("f"), result("g"))]),
        ([ASKED, CALLS, turn("user", result("f"), IMAGE, result("g"))],
         [ASKED, CALLS, turn("user", result("f"), result("g"), IMAGE)]),
        ([CALLS, turn("user", {"function_response": {"name": "f"}}), turn("user", {"function_response": {}})],
         [CALLS, turn("user", {"function_response": {"name": "f"}}, {"function_response": {}})]),
    ],
    ids=["results apart", "with a question", "calls apart", "an image between", "other names"],
)  # fmt: skip
def test_results_are_in_one_turn(contents, joined):
    """cloudwego/eino-ext#571, epam/ai-dial-adapter-vertexai#214, microsoft/semantic-kernel#10597,
    crewAIInc/crewAI#4693; google-gemini/gemini-cli#16135."""
    change = OTHER_SHAPES[(":calls", "results")].change
    assert change({"contents": contents}) == {"contents": joined}
    assert change({"contents": joined}) == {}


@each_row(
    "body",
    [
        {"contents": [ASKED, ASKED]}, {"contents": "x"}, {}, {"contents": [1, None, {"role": "user"}, {"parts": "x"}]},
        {"contents": [turn("user", 1), turn("user", None)]}, {"contents": []},
    ],
)  # fmt: skip
def test_other_turns_remain(body):
    assert OTHER_SHAPES[(":calls", "results")].change(body) == {}
