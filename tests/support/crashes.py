"""Kills gateways while clients talk to them, and checks the stored conversations.

Each question contains its position in its conversation, and the provider repeats all questions, so each answer reveals
its context.
"""

import contextlib
import http.client
import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import httpx2
import yaml

from tests.support.command_line import running_command
from tests.support.harness import eventually, request
from tests.support.sdk_conversation import settings
from tests.support.upstreams import PATHS, Raw, Script, Seen, Upstream, fake_upstream, render
from tests.support.wire_transcript import conversation_of

Questions: TypeAlias = tuple[str, ...]
Query: TypeAlias = Callable[[str], Sequence[Sequence[Any]]]
"""Runs SQL on the table ``{nodes}`` directly."""

CLIENTS = 6
ANSWERED = (10, 40)  # turns before a gateway is killed
LONGEST = 8  # turns of one conversation
LOOKED_AT_AGAIN = 30  # turns of earlier rounds to check again

# The provider


def answer_text(questions: Sequence[str]) -> str:
    return "heard " + ", ".join(questions)


def answer(received: Seen) -> Raw:
    """Answer a conversation, or return 400 if a question lacks its answer."""
    api = next(api for api, path in PATHS.items() if path == received.path)
    lines = conversation_of(api, received.json)
    questions = tuple(text for kind, text in lines if kind == "user")
    talk = [
        pair for i, text in enumerate(questions) for pair in (("user", text), ("text", answer_text(questions[: i + 1])))
    ]
    if lines != talk[:-1]:
        return Raw(400, (), (f"no whole talk: {lines}".encode(),))
    whole = render(Script(answer_text(questions)), api, received.json)
    return attrs.evolve(whole, pieces=Paced(whole.pieces))


class Paced(tuple[bytes, ...]):
    """The pieces of an answer, with pauses in which the gateway can be killed."""

    def __iter__(self) -> Iterator[bytes]:
        for piece in super().__iter__():
            time.sleep(random.expovariate(300))
            yield piece


# The clients


@attrs.define
class Known:
    """The clients' knowledge: the ids of ``whole`` and partial (``torn``) answers and of background turns
    (``begun``), with the questions that each must answer."""

    whole: dict[str, Questions] = attrs.field(factory=dict)
    torn: dict[str, Questions] = attrs.field(factory=dict)
    begun: dict[str, Questions] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)


class Client:
    """A client with one conversation after another, which it continues by response ids or as a stored conversation,
    until a turn breaks off or it is long."""

    def __init__(self, number: int, known: Known) -> None:
        self._name, self._known, self._count = f"c{number}", known, 0
        self._in_conversations = number % 3 == 0
        self._continues: dict[str, str] = {}
        self._talk: Questions = ()

    def run(self, url: str, over: threading.Event) -> None:
        while not over.is_set():
            try:
                self._make_turn(url)
            except (OSError, http.client.HTTPException):
                return  # the gateway was killed
            except Exception as error:
                self._known.wrong.append(repr(error))
                raise

    def _make_turn(self, url: str) -> None:
        if len(self._talk) >= LONGEST:
            self._continues, self._talk = {}, ()
        if self._in_conversations and not self._continues:
            reply = request(url, "POST", "/v1/conversations", {})
            if reply.cut:
                return
            self._continues = {"conversation": reply.json["id"]}
        self._count += 1
        talk, hows = (*self._talk, f"{self._name} {self._count}"), ("stream", "whole", "background")
        how = random.choice(hows[:2] if self._in_conversations else hows)
        body = {
            "model": random.choice(("on-chat", "on-messages")), "input": talk[-1], "stream": how == "stream",
            "background": how == "background", **self._continues,
        }  # fmt: skip
        reply = request(url, "POST", "/v1/responses", body)
        response = last_response(reply.body) if how == "stream" else None if reply.cut else reply.json
        if response is None or how == "background" or (reply.cut and response["status"] == "in_progress"):
            if response is not None:  # no turn follows one in the background, because no client waits for it
                (self._known.begun if how == "background" else self._known.torn)[response["id"]] = talk
            assert reply.cut or response is not None, f"{how}: {reply.status} {reply.body[:300]!r}"
            if self._in_conversations:  # which may have the turn or not
                self._continues, self._talk = {}, ()
            return
        assert (response["status"], text_of(response)) == ("completed", answer_text(talk)), response
        self._known.whole[response["id"]] = talk
        self._talk = talk
        if not self._in_conversations:
            self._continues = {"previous_response_id": response["id"]}


def last_response(body: bytes) -> Any:
    """Return the last response in the complete events."""
    found = None
    for event in body[: body.rfind(b"\n\n") + 2].split(b"\n\n"):
        data = event.partition(b"data: ")[2]
        if b'"response":' in data:
            found = json.loads(data)["response"]
    return found


def text_of(response: Any) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


# The rounds


@attrs.define
class Crashes:
    """The rounds of a test. ``storage`` is ``state_storage``; ``query`` reads its content."""

    upstream: Upstream
    directory: Path
    storage: Mapping[str, Any]
    query: Query
    known: Known = attrs.field(factory=Known)

    def run(self, rounds: int) -> None:
        """Run and kill a gateway for some rounds, then run another to check the rest."""
        file = self.directory / "trigate.yaml"
        file.write_text(yaml.safe_dump(settings(self.upstream, 1, state_storage=dict(self.storage))))
        clients = [Client(number, self.known) for number in range(CLIENTS)]
        seen: set[str] = set()
        for round in range(rounds + 1):
            with running_command("serve", str(file), "--port", "0") as process:
                self._check_turns(process.url, seen)
                if round < rounds:
                    self._run_clients(process, clients)
            self._check_storage()

    def _run_clients(self, process: Any, clients: Sequence[Client]) -> None:
        over = threading.Event()
        threads = [threading.Thread(target=client.run, args=(process.url, over)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            enough = len(self.known.whole) + random.randint(*ANSWERED)
            eventually(lambda: len(self.known.whole) >= enough or self.known.wrong, 60, f"{enough} answers")
            time.sleep(random.uniform(0, 0.05))
        finally:
            process.process.send_signal(signal.SIGKILL)
            process.process.wait()
            over.set()
            for thread in threads:
                thread.join()

    def _check_turns(self, url: str, seen: set[str]) -> None:
        """Check the turns through the API: whole ones exist and can be continued, partial ones are whole or absent."""
        known = self.known
        assert not known.wrong, known.wrong[:5]
        with httpx2.Client(base_url=url, verify=False, trust_env=False, timeout=30) as http:
            new = [id for id in known.whole if id not in seen]
            for id in [*new, *random.sample(sorted(seen), min(LOOKED_AT_AGAIN, len(seen)))]:
                found = http.get(f"/v1/responses/{id}")
                assert found.status_code == 200, f"{id} was answered and is lost: {found.text}"
                assert self._is_whole(found.json(), known.whole[id])
            for id in new[-CLIENTS:]:
                body = {"model": "on-chat", "input": "and", "previous_response_id": id, "store": False}
                text = text_of(http.post("/v1/responses", json=body).json())
                assert text == answer_text((*known.whole[id], "and"))
            for id, talk in known.torn.items():
                found = http.get(f"/v1/responses/{id}")
                assert found.status_code == 404 or self._is_whole(found.json(), talk), found.text
            for id, talk in known.begun.items():
                response = http.get(f"/v1/responses/{id}").json()
                assert response["background"] is True
                assert response["status"] == "failed" or self._is_whole(response, talk), response
        seen |= known.whole.keys()
        known.torn.clear()
        known.begun.clear()

    @staticmethod
    def _is_whole(response: Any, talk: Questions) -> bool:
        return response["status"] == "completed" and text_of(response) == answer_text(talk)

    def _check_storage(self) -> None:
        """Check that no turn is half stored, and that none runs for ever."""
        nodes = {id: (kind, bytes(body)) for id, kind, body in self.query("SELECT id, kind, body FROM {nodes}")}
        turns = {id: json.loads(body) for id, (kind, body) in nodes.items() if kind == "response"}
        assert {f"{id}/head" for id in turns} == {id for id, (kind, _) in nodes.items() if kind == "head"}
        for id, turn in turns.items():
            running = turn["status"] in ("queued", "in_progress")
            assert running <= (f"{id}/alive" in nodes), f"{id} is {turn['status']} for ever"
            assert turn["status"] == "completed" or f"{id}/alive" in nodes, turn
        for kind, body in nodes.values():
            if kind == "conversation" and (head := json.loads(body)["head"]) is not None:
                assert head in nodes
        # Simulate the passing of time.
        self.query("UPDATE {nodes} SET body = CAST('0' AS {bytes}) WHERE kind = 'mark'")


def sqlite_query(path: Path) -> Query:
    def query(sql: str) -> Sequence[Sequence[Any]]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            total = db.execute("SELECT bytes = (SELECT coalesce(sum(size), 0) FROM nodes) FROM total").fetchall()
            assert total == [(1,)]
            return db.execute(sql.format(nodes="nodes", bytes="BLOB")).fetchall()

    return query


def postgres_query(url: str) -> Query:
    def query(sql: str) -> Sequence[Sequence[Any]]:
        import psycopg

        with psycopg.connect(url) as db:
            total = "SELECT (SELECT sum(bytes) FROM trigate_total) = (SELECT coalesce(sum(size), 0) FROM trigate_nodes)"
            assert db.execute(total).fetchall() == [(True,)]
            found = db.execute(sql.format(nodes="trigate_nodes", bytes="bytea"))
            return found.fetchall() if found.description else ()

    return query


@contextlib.contextmanager
def crashes(storage: Mapping[str, Any], directory: Path) -> Iterator[Crashes]:
    query = sqlite_query(Path(storage["path"])) if storage["type"] == "sqlite" else None
    query = query or postgres_query(storage["connection_string"])
    with fake_upstream() as upstream:
        upstream.answer = answer  # type: ignore[method-assign]
        yield Crashes(upstream, directory, storage, query)
