"""Regular expressions whose search takes linear time: a deterministic automaton, built from Python's syntax.

Backreferences and lookarounds have no such automaton, and are refused. Matches are as long as possible. The automaton
is over classes of characters, and reads several characters of a text together. It is built while texts are read, so
that only the states that occur take memory.

RE2 refuses no pattern because of its states: a search for ``a[ab]{400}c`` takes it two seconds for a mebibyte. Its
``\\b`` and classes know ASCII alone, and it does not report from where a match may continue after the end of a text."""

import re
import re._constants as ops  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
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
                turned.tests[target].append((_turn(test), node))
        return turned


def _turn(test: Test) -> Test:
    """Return the test for an automaton that reads the text from its end."""
    return lambda after, before: test(before, after)


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

    It equals only itself. ``accepts`` are the classes before which a match ends. A word in which matches end has the
    next state with the indexes of these ends among its classes."""

    __slots__ = ("accepts", "automaton", "is_end", "kind", "nodes")
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__

    def __init__(self, automaton: "Automaton", nodes: frozenset[int], kind: object) -> None:
        self.automaton = automaton
        self.nodes = nodes
        self.kind = kind
        self.accepts: set[str] = set()
        self.is_end = automaton.accepts(self, EDGE)

    def __missing__(self, key: str | int) -> Any:
        return self.automaton.step(self, key) if isinstance(key, str) else self.automaton.step_word(self, key)


class Automaton:
    """A deterministic automaton over ``graph``. If it ``is_open``, a match may begin anywhere."""

    def __init__(self, graph: Graph, characters: Characters, start: int, final: int, *, is_open: bool) -> None:
        self.graph = graph
        self.characters = characters
        self.final = final
        self._always = (start,) if is_open else ()
        self._start = start
        self._states: dict[tuple[frozenset[int], object], State] = {}
        self._words_left = MOST_WORDS

    def step(self, state: State, char: str) -> State:
        """Return the state after ``state`` and a class, and remember it."""
        signature = self.characters.signatures[ord(char)]
        nodes = self.closure(state.nodes, state.kind, signature[-1])
        if self.final in nodes:
            state.accepts.add(char)
        targets = (target for node in nodes for leaf, target in self.graph.steps[node] if signature[leaf])
        found: State = self.state(targets, signature[-1])
        state[char] = found
        return found

    def step_word(self, state: State, word: int) -> State | tuple[State, tuple[int, ...]]:
        """Return the state after ``state`` and a word of classes, from its end, and remember it, unless there are too
        many."""
        classes = word.to_bytes(WORD, sys.byteorder).decode("latin-1")
        at, ends = state, []
        for index in reversed(range(WORD)):
            following = at[classes[index]]
            if classes[index] in at.accepts:
                ends.append(index)
            at = following
        found = (at, tuple(ends)) if ends else at
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
        return self.state((self._start,), kind)

    def state(self, nodes: Iterable[int], kind: object) -> State:
        key = frozenset((*nodes, *self._always)), kind
        if (known := self._states.get(key)) is None:
            if len(self._states) >= 4 * MOST_STATES:
                self._states.clear()
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


def _blocks(classes: str) -> Iterator[tuple[list[int] | None, str]]:
    """Yield the parts of a text with the class of each original character, as machine words if possible."""
    try:
        data = memoryview(classes.encode("latin-1"))
    except UnicodeEncodeError:  # a pattern with very many classes
        yield None, classes
        return
    last = len(data) - len(data) % WORD
    for at in range(0, last, BLOCK):
        end = min(at + BLOCK, last)
        yield data[at:end].cast("I").tolist(), classes[at:end]
    yield None, classes[last:]


_CATEGORIES: Final = {
    ops.CATEGORY_DIGIT: r"\d", ops.CATEGORY_NOT_DIGIT: r"\D", ops.CATEGORY_SPACE: r"\s",
    ops.CATEGORY_NOT_SPACE: r"\S", ops.CATEGORY_WORD: r"\w", ops.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
_BOUNDARIES: Final[Mapping[Any, Test]] = {
    ops.AT_BOUNDARY: lambda one, other: (one is True) != (other is True),
    ops.AT_NON_BOUNDARY: lambda one, other: (one is True) == (other is True),
}


def _is_start(before: object, _: object) -> bool:
    return before is EDGE


def _is_end(_: object, after: object) -> bool:
    return after is EDGE


_EDGES: Final[Mapping[Any, Test]] = {
    ops.AT_BEGINNING: _is_start, ops.AT_BEGINNING_STRING: _is_start, ops.AT_END: _is_end, ops.AT_END_STRING: _is_end,
}  # fmt: skip
_REFUSED: Final = {
    ops.GROUPREF: "a backreference", ops.GROUPREF_EXISTS: "a condition", ops.ASSERT: "a lookaround",
    ops.ASSERT_NOT: "a lookaround", ops.POSSESSIVE_REPEAT: "a possessive repeat", ops.ATOMIC_GROUP: "an atomic group",
}  # fmt: skip
_SAMPLES: Final = (*map(chr, range(128)), "é", "É", "ß", "中", "٣", "\u3000", "\u2028", "\x85", "😀", "\u0378")


LONGEST_PREFIX: Final = 64
"""The most characters of the beginning of a pattern that Python's search looks for."""

SHORT_TRIAL: Final = 64
"""Characters after a match whose states are not remembered."""

_FIRST: Final = (0,)
_SINGLE: Final = (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN)


class GraphBuilder:
    """Builds the graph of a parsed pattern. ``leaves`` are the classes of characters in it, as patterns."""

    def __init__(self, *, has_edges: bool) -> None:
        self.graph = Graph()
        self.leaves: list[re.Pattern[str]] = []
        self.samples: set[str] = set(_SAMPLES)
        self.has_boundaries = False
        self._tests = {**_BOUNDARIES, **(_EDGES if has_edges else {})}

    def add(self, tree: Any, start: int, flags: int) -> int:
        """Add ``tree`` after the node ``start``, and return its last node."""
        for op, value in tree:
            start = self._add_item(op, value, start, flags)
        return start

    def _add_item(self, op: Any, value: Any, start: int, flags: int) -> int:
        if op in (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN):
            end = self.graph.node()
            self.graph.steps[start].append((self._leaf(op, value, flags), end))
            return end
        if op is ops.SUBPATTERN:
            _, added, removed, tree = value
            return self.add(tree, start, (flags | added) & ~removed)
        if op is ops.BRANCH:
            end = self.graph.node()
            for tree in value[1]:
                self.graph.empty[self.add(tree, start, flags)].append(end)
            return end
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            least, most, tree = value
            return self._repeat(least, most, tree, start, flags)
        if op is ops.AT and value in self._tests:
            end = self.graph.node()
            self.has_boundaries = True
            self.graph.tests[start].append((self._tests[value], end))
            return end
        raise Wrong(f"the pattern has {_REFUSED.get(op, '`^` or `$`')}", ADVICE)

    def _repeat(self, least: int, most: Any, tree: Any, start: int, flags: int) -> int:
        for _ in range(least):
            start = self.add(tree, start, flags)
        if most is ops.MAXREPEAT:
            loop, end = self.graph.node(), self.graph.node()
            self.graph.empty[start].append(loop)
            self.graph.empty[self.add(tree, loop, flags)].append(loop)
            self.graph.empty[loop].append(end)
            return end
        end = self.graph.node()
        self.graph.empty[start].append(end)
        for _ in range(int(most) - least):
            start = self.add(tree, start, flags)
            self.graph.empty[start].append(end)
        return end

    def _leaf(self, op: Any, value: Any, flags: int) -> int:
        if op is ops.ANY:
            source = "(?s:.)" if flags & re.DOTALL else "."
        elif op is ops.IN:
            source = "[" + "".join(self._member(*one) for one in value) + "]"
        else:
            source = f"[{'^' if op is ops.NOT_LITERAL else ''}{self._member(ops.LITERAL, value)}]"
        pattern = re.compile(source, flags & re.IGNORECASE)
        if pattern not in self.leaves:
            self.leaves.append(pattern)
        return self.leaves.index(pattern)

    def _member(self, op: Any, value: Any) -> str:
        if op is ops.NEGATE:
            return "^"
        if op is ops.CATEGORY:
            return _CATEGORIES[value]
        ends = (value, value) if op is ops.LITERAL else value
        for end in (ends[0] - 1, ends[0], ends[1], ends[1] + 1):
            if 0 <= end <= 0x10FFFF:
                self.samples |= {chr(end), chr(end).lower()[:1], chr(end).upper()[:1]}
        return "-".join(f"\\U{end:08x}" for end in dict.fromkeys(ends))

    def prefix_pattern(self, tree: Any) -> re.Pattern[str] | None:
        """Return a pattern of bounded length with which each match of ``tree`` begins, ``None`` if there is none.

        Python's search for it takes linear time, and most texts do not have it."""
        found, size = [], 0
        for op, value in tree:
            least = most = 1
            if op is ops.AT:  # a match has the characters around it, too
                continue
            if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
                least, most, inner = value
                if least == 0 or len(inner) != 1:
                    break
                op, value = inner[0]
            size += least
            if op not in _SINGLE or size > LONGEST_PREFIX:
                break
            leaf = self.leaves[self._leaf(op, value, tree.state.flags)]
            found.append(f"(?{'i' if leaf.flags & re.IGNORECASE else ''}:{leaf.pattern}){{{least}}}")
            if most != least:
                break
        return re.compile("".join(found)) if found else None


class LinearPattern:
    """A pattern that is searched in linear time. ``has_edges``: ``^`` and ``$`` are the ends of the text.

    Raises ``Wrong``."""

    def __init__(self, pattern: str, *, has_edges: bool = False) -> None:
        try:
            tree = parser.parse(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise Wrong(f"{pattern[:60]!r} is not a pattern: {error}", "correct it") from None
        builder = GraphBuilder(has_edges=has_edges)
        start = builder.graph.node()
        final = builder.add(tree, start, tree.state.flags)
        self.leaves = builder.leaves
        self.prefix = builder.prefix_pattern(tree)
        """A pattern with which each match begins, ``None`` if there is none."""
        self.has_boundaries = builder.has_boundaries
        self._characters = Characters(builder.leaves)
        samples = dict.fromkeys(self._characters[ord(char)] for char in builder.samples if char)
        graph, reversed_graph = builder.graph, builder.graph.reverse()
        self._longest = Automaton(graph, self._characters, start, final, is_open=False)
        self._starts = Automaton(reversed_graph, self._characters, final, start, is_open=True)
        self._open = Automaton(reversed_graph, self._characters, final, start, is_open=False)
        self._nodes = frozenset(range(len(graph.steps)))
        for automaton in (self._longest, self._starts):
            automaton.build(samples)
        self.matches_nothing = not has_edges and self._longest.first(EDGE).is_end

    def is_in(self, text: str) -> bool:
        """Return whether a match is anywhere in ``text``."""
        return bool(self._first_characters(text.translate(self._characters), EDGE))

    def spans(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of the longest matches between two positions; the character before them is context."""
        if self.prefix is not None and self.prefix.search(text, start, end) is None:
            return
        before: object = EDGE if start == 0 else IN_WORD.match(text, start - 1) is not None
        piece = text[start:end].translate(self._characters)
        at, dead_ends = 0, set[tuple[State, int]]()
        for first in self._first_characters(piece, before):
            if first >= at:
                kind = before if first == 0 else self._characters.signatures[ord(piece[first - 1])][-1]
                at = self._end_of(piece, first, kind, dead_ends)
                yield start + first, start + at

    def open_from(self, text: str, start: int, end: int) -> int:
        """Return the first position between two positions at which a match may begin that continues after ``end``."""
        before: object = EDGE if start == 0 else IN_WORD.match(text, start - 1) is not None
        classes = text[start:end].translate(self._characters)
        state, hits = self._hits_before(self._open, self._open.state(self._nodes, EDGE), classes)
        if self._open.accepts(state, before):
            return start
        return start + hits[-1][0] + hits[-1][1][-1] + 1 if hits else end

    def _first_characters(self, classes: str, before: object) -> list[int]:
        """Return the positions at which matches begin."""
        state, hits = self._hits_before(self._starts, self._starts.first(EDGE), classes)
        found = [at + index + 1 for at, indexes in hits for index in indexes]
        if self._starts.accepts(state, before):
            found.append(0)
        return found[::-1]

    @staticmethod
    def _hits_before(
        automaton: Automaton, state: State, classes: str
    ) -> tuple[State, list[tuple[int, tuple[int, ...]]]]:
        """Return the state of a reversed automaton after all ``classes``, and the words in which it accepts, from the
        last one: their positions, and the indexes of the characters before which it accepts."""
        end, hits = len(classes), list[tuple[int, tuple[int, ...]]]()
        for words, text in reversed(list(_blocks(classes))):
            if words is not None and automaton.has_words:
                for word in reversed(words):
                    end -= WORD
                    following = state[word]
                    if following.__class__ is tuple:
                        following, ends = following
                        hits.append((end, ends))
                    state = following
            else:
                for char in reversed(text):
                    end -= 1
                    following = state[char]
                    if char in state.accepts:
                        hits.append((end, _FIRST))
                    state = following
        return state, hits

    def _end_of(self, text: str, start: int, kind: object, dead_ends: set[tuple[State, int]]) -> int:
        """Return the end of the longest match that begins at ``start``.

        From ``dead_ends``, states and positions of the text, no match continues, so that no text is tried again and
        again: Reps, "Maximal-Munch" Tokenization in Linear Time, https://doi.org/10.1145/276393.276394."""
        state, end, tried = self._longest.first(kind), start, list[tuple[State, int]]()
        for at in range(start, len(text)):
            following = state[text[at]]
            if text[at] in state.accepts:
                end = at
                tried.clear()
            elif at - end > SHORT_TRIAL:
                if (state, at) in dead_ends:
                    break
                tried.append((state, at))
            if not following.nodes:
                break
            state = following
        else:
            if state.is_end:
                return len(text)
        dead_ends.update(tried)
        return end
