"""Conversations that name files which were uploaded through here: they go where those are, under the provider's ids."""

from typing import Any

from tests.support.kept_clients import KEYS, refused, run, serving


async def test_a_file_in_a_conversation_is_the_providers_own_and_chooses_the_provider():
    async with serving("openai:first", "openai:second", model_aliases={
        "both": {"targets": ["first", "second"]}}) as served:  # fmt: skip
        first, second = served.providers["first"], served.providers["second"]

        def steps() -> None:
            client = served.openai()
            id = client.files.create(file=("a.pdf", b"x"), purpose="user_data", extra_query={"provider": "second"}).id
            (native,) = second.kept
            assert id != native

            def ask(id: str, model: str = "both", key: str = KEYS["a"]) -> Any:
                part: Any = {"type": "file", "file": {"file_id": id}}
                text = {"type": "text", "text": f"{id} is a name like any other"}
                asked: Any = [{"role": "user", "content": [text, part]}]
                return served.openai(key).chat.completions.create(model=model, messages=asked)

            for _ in range(3):
                refused(lambda: ask(id))  # the provider of this test answers no conversation
            asked = [one for one in second.asked if "completions" in one.path]
            assert len(asked) >= 3
            content = asked[0].json["messages"][0]["content"]
            assert content == [{"type": "text", "text": f"{id} is a name like any other"},
                               {"type": "file", "file": {"file_id": native}}]  # fmt: skip
            assert first.asked == []
            elsewhere = refused(lambda: ask(id, "first"))
            assert (elsewhere.status_code, elsewhere.body["code"]) == (400, "kept_elsewhere")
            other = refused(lambda: ask(id, key=KEYS["b"]))
            assert other.status_code == 404
            assert "it was not made with this key" in other.body["message"]
            refused(lambda: ask("file-of-the-console", "first"))
            assert first.asked[-1].json["messages"][0]["content"][1]["file"] == {"file_id": "file-of-the-console"}

        await run(steps)
