"""Deterministic automata over classes of characters, which read several characters of a text together.

They are built while texts are read, so that only the states that occur take memory."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final, TypeAlias

from configfile.wording import Wrong

MOST_NODES: Final = 4000
MOST_STATES: Final = 1000
"""Limits of one pattern: a larger automaton would take too much time and memory."""

EDGE: Final = "edge"
"""The kind of the place before and after a text. Other kinds are those of characters: in a word or not."""

Test: TypeAlias = Callable[[object, object], bool]
"""Decides about a position by the kinds of its two neighbours."""

MOST_CHARACTERS: Final = 65536
"""Characters whose class one pattern remembers."""

WORD: Final = 4
"""Classes that are read together."""

MOST_WORDS: Final = 20_000
"""Words that one automaton remembers."""

BLOCK: Final = 4096
"""Classes of one block of words."""

ADVICE: Final = "use a pattern without backreferences, lookarounds and large counts, so that it takes linear time"

IN_WORD: Final = re.compile(r"\w")


class Graph:
    """The nondeterministic automaton of a pattern. ``steps``, ``empty`` and ``tests`` are the edges by their node."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[int, int]]] = []
        self.empty: list[list[int]] = []
        self.tests: list[list[tuple[Test, int]]] = []

    def node(self) -> int:
        if len(self.steps) >= MOST_NODES:
            raise Wrong("the pattern is too long", ADVICE)
        self.steps.append([])
        self.empty.append([])
        self.tests.append([])
        return len(self.steps) - 1

    def reverse(self) -> "Graph":
        """Return the graph with all edges reversed."""
        turned = Graph()
        for _ in self.steps:
            turned.node()
        for node, steps in enumerate(self.steps):
            for leaf, target in steps:
                turned.steps[target].append((leaf, node))
            for target in self.empty[node]:
                turned.empty[target].append(node)
            for test, target in self.tests[node]:
                turned.tests[target].append((test, node))
        return turned


class Characters(dict[int, str]):
    """Maps each character to the one whose code is the number of its class. The pattern does not distinguish the
    characters of a class."""

    def __init__(self, leaves: Iterable[re.Pattern[str]]) -> None:
        self._leaves = tuple(leaves)
        self._classes: dict[tuple[bool, ...], str] = {}
        self.signatures: list[tuple[bool, ...]] = []
        """For each class, whether each leaf accepts its characters, and whether they belong to words."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        signature = (*(one.match(char) is not None for one in self._leaves), IN_WORD.match(char) is not None)
        if (found := self._classes.get(signature)) is None:
            found = self._classes[signature] = chr(len(self.signatures))
            self.signatures.append(signature)
        if len(self) < MOST_CHARACTERS:
            self[code] = found
        return found


class State(dict[str | int, Any]):
    """A state of the deterministic automaton: the next state by class, or by ``WORD`` of classes.

    ``accepts`` are the classes before which a match ends. A word in which matches end has a ``Hit``."""

    __slots__ = ("accepts", "automaton", "is_end", "kind", "nodes", "number")

    def __init__(self, automaton: "Automaton", nodes: frozenset[int], kind: object) -> None:
        self.automaton = automaton
        self.nodes = nodes
        self.kind = kind
        self.accepts: set[str] = set()
        self.number = automaton.take_number()
        self.is_end = automaton.accepts(self, EDGE)

    def __missing__(self, key: str | int) -> Any:
        return self.automaton.step(self, key) if isinstance(key, str) else self.automaton.step_word(self, key)


class Hit:
    """The state after several classes of characters, and the indexes at which matches end among them."""

    __slots__ = ("ends", "state")

    def __init__(self, state: State, ends: tuple[int, ...]) -> None:
        self.state = state
        self.ends = ends


class FoundState(State):
    """The state after a match, which no character leaves."""

    def __missing__(self, key: str | int) -> State:
        return self


class Automaton:
    """A deterministic automaton over ``graph``. If it ``is_open``, a match may begin anywhere. If it ``stops``, it only
    decides whether there is a match. If it ``is_reversed``, it reads the text from its end."""

    def __init__(
        self,
        graph: Graph,
        characters: Characters,
        start: int,
        final: int,
        *,
        is_open: bool,
        stops: bool = False,
        is_reversed: bool = False,
    ) -> None:
        self.graph = graph
        self.characters = characters
        self.final = final
        self._always = (start,) if is_open else ()
        self._start = start
        self._states: dict[tuple[frozenset[int], object], State] = {}
        self._first: dict[object, State] = {}
        self._words_left = MOST_WORDS
        self.take_number: Callable[[], int] = count().__next__
        """Returns the number of a new state."""
        self._order = range(WORD - 1, -1, -1) if is_reversed else range(WORD)
        self.found = FoundState(self, frozenset((final,)), EDGE) if stops else None

    def step(self, state: State, char: str) -> State:
        """Return the state after ``state`` and a class, and remember it."""
        signature = self.characters.signatures[ord(char)]
        nodes = self.closure(state.nodes, state.kind, signature[-1])
        if self.final in nodes:
            if self.found is not None:
                state[char] = self.found
                return self.found
            state.accepts.add(char)
        targets = (target for node in nodes for leaf, target in self.graph.steps[node] if signature[leaf])
        found: State = self.state(targets, signature[-1])
        state[char] = found
        return found

    def step_word(self, state: State, word: int) -> "State | Hit":
        """Return the state after ``state`` and a word of classes, and remember it, unless there are too many."""
        classes = word.to_bytes(WORD, sys.byteorder).decode("latin-1")
        at, ends = state, []
        for index in self._order:
            following = at[classes[index]]
            if classes[index] in at.accepts:
                ends.append(index)
            at = following
        found: State | Hit = Hit(at, tuple(ends)) if ends else at
        if self._words_left:
            self._words_left -= 1
            state[word] = found
        return found

    @property
    def has_words(self) -> bool:
        """Whether words are faster than characters, because most of them are remembered."""
        return self._words_left > 0

    def first(self, kind: object) -> State:
        """Return the state after a character of ``kind``."""
        if (known := self._first.get(kind)) is None:
            known = self._first[kind] = self.state((self._start,), kind)
        return known

    def state(self, nodes: Iterable[int], kind: object) -> State:
        key = frozenset((*nodes, *self._always)), kind
        if (known := self._states.get(key)) is None:
            if len(self._states) >= 4 * MOST_STATES:
                self._states.clear()
                self._first.clear()
                self._words_left = MOST_WORDS
            known = self._states[key] = State(self, *key)
        return known

    def closure(self, nodes: Iterable[int], before: object, after: object) -> set[int]:
        """Return the nodes that are reachable without a character between two of these kinds."""
        found, waiting = set(nodes), list(nodes)
        while waiting:
            node = waiting.pop()
            passed = (target for test, target in self.graph.tests[node] if test(before, after))
            for target in (*self.graph.empty[node], *passed):
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return found

    def accepts(self, state: State, after: object) -> bool:
        """Return whether a match ends in ``state`` before a character of the kind ``after``."""
        return self.final in self.closure(state.nodes, state.kind, after)

    def build(self, samples: Iterable[str]) -> None:
        """Build all states for ``samples``. Raises ``Wrong`` for too many."""
        waiting = [self.first(kind) for kind in (EDGE, True, False)]
        seen = {id(one) for one in waiting}
        while waiting:
            state = waiting.pop()
            for char in samples:
                if id(following := state[char]) not in seen:
                    seen.add(id(following))
                    waiting.append(following)
            if len(seen) > MOST_STATES:
                raise Wrong("the pattern is too complex", ADVICE)


class Classes:
    """A text with the class of each original character. ``blocks`` yields its parts, as machine words if possible."""

    def __init__(self, text: str) -> None:
        self.text = text

    def blocks(self) -> Iterator[tuple[list[int] | None, str]]:
        text = self.text
        try:
            data = memoryview(text.encode("latin-1"))
        except UnicodeEncodeError:  # a pattern with very many classes
            yield None, text
            return
        last = len(data) - len(data) % WORD
        for at in range(0, last, BLOCK):
            end = min(at + BLOCK, last)
            yield data[at:end].cast("I").tolist(), text[at:end]
        yield None, text[last:]
