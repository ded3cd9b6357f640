"""The chart in ``deploy/helm``, rendered by Helm where this machine has it, and without it by ``Templates``."""

import copy
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.repository import ROOT

CHART: Final = ROOT / "deploy/helm/trigate"
MISSING: Final = "needs Helm (https://helm.sh/docs/intro/install)"


def helm(*arguments: str | Path, input: str | None = None) -> str:
    """Return what ``helm`` prints. Skips the test where there is no Helm, and fails it where Helm fails."""
    program = shutil.which("helm")
    if program is None:
        pytest.skip(MISSING)
    done = subprocess.run([program, *arguments], input=input, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


_ACTION: Final = re.compile(r"(\s*\{\{-|\{\{)\s*(.*?)\s*(-\}\}\s*|\}\})", re.DOTALL)
_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\(|\)|\||[^\s()|]+')


class Templates:
    """The subset of Helm's template language that the chart uses. Any other word raises ``KeyError``."""

    def __init__(self, values: Mapping[str, Any], release: str) -> None:
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        own = yaml.safe_load((CHART / "values.yaml").read_text())
        self._root = {
            "Values": merge_values(own, values),
            "Release": {"Name": release},
            "Chart": {"Name": chart["name"], "AppVersion": chart["appVersion"]},
        }
        self._defined: dict[str, list[Any]] = {}
        self._functions: dict[str, Callable[..., Any]] = {
            "default": lambda other, value: value or other,
            "contains": lambda part, text: part in text,
            "fail": _fail,
            "include": lambda name, dot: self._text(self._defined[name], dot),
            "nindent": lambda width, text: "\n" + re.sub("^(?=.)", " " * width, text, flags=re.MULTILINE),
            "not": lambda value: not value,
            "printf": lambda form, *values: form % values,
            "quote": lambda text: f'"{text}"',
            "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
            "toYaml": lambda value: yaml.safe_dump(value, width=10**6, allow_unicode=True).removesuffix("\n"),
            "trim": str.strip,
            "trimSuffix": lambda end, text: text.removesuffix(end),
            "trunc": lambda length, text: text[:length],
            ".Files.Get": lambda path: (CHART / path).read_text(),
        }

    def manifests(self) -> list[dict[str, Any]]:
        """Return the manifests of the chart. Raises ``AssertionError`` for values that it rejects."""
        parsed = [parse_template(path.read_text()) for path in sorted((CHART / "templates").iterdir())]
        for tree in parsed:
            self._defined.update({node[1]: node[2] for node in tree if isinstance(node, tuple) and node[0] == "define"})
        text = "\n---\n".join(self._text(tree, self._root) for tree in parsed)
        return [one for one in yaml.safe_load_all(text) if one]

    def _text(self, nodes: list[Any], dot: Any) -> str:
        return "".join(self._node(node, dot) for node in nodes)

    def _node(self, node: Any, dot: Any) -> str:
        match node:
            case str() as text:
                return text
            case ("define", *_):
                return ""
            case ("value", expression):
                value = self._value(expression, dot)
                return str(value).lower() if isinstance(value, bool) else str(value)
        word, expression, body, otherwise = node
        value = self._value(expression, dot)
        if not value:
            return self._text(otherwise, dot)
        if word == "range":
            return "".join(self._text(body, one) for one in value)
        return self._text(body, value if word == "with" else dot)

    def _value(self, expression: str, dot: Any) -> Any:
        return self._pipeline(iter(_WORD.findall(expression)), dot)

    def _pipeline(self, words: Iterator[str], dot: Any) -> Any:
        calls: list[list[Any]] = [[]]
        for word in words:
            if word == ")":
                break
            if word == "|":
                calls.append([])
            else:
                calls[-1].append(self._pipeline(words, dot) if word == "(" else self._operand(word, dot))
        piped: list[Any] = []
        for first, *arguments in calls:
            piped = [first(*arguments, *piped) if callable(first) else first]
        return piped[0]

    def _operand(self, word: str, dot: Any) -> Any:
        if word in self._functions:
            return self._functions[word]
        if word[0] == '"' or word.isdigit():
            return yaml.safe_load(word)
        if word == "$":
            return self._root
        assert word[0] == ".", f"{word} is not known here"
        for name in filter(None, word.split(".")):
            dot = dot[name]
        return dot


def parse_template(text: str) -> list[Any]:
    """Return the nodes of a template: texts, values, and blocks with their bodies."""
    tree: list[Any] = []
    stack: list[Any] = [("", "", tree, [])]
    nodes, at = tree, 0
    for action in _ACTION.finditer(text):
        nodes.append(text[at : action.start()])
        at = action.end()
        word, _, rest = action[2].partition(" ")
        if word in ("if", "with", "range", "define"):
            stack.append((word, rest.strip('"') if word == "define" else rest, [], []))
            nodes.append(stack[-1])
            nodes = stack[-1][2]
        elif word == "else":
            nodes = stack[-1][3]
        elif word == "end":
            stack.pop()
            nodes = stack[-1][2]
        else:
            nodes.append(("value", action[2]))
    tree.append(text[at:])
    return tree


def merge_values(own: Any, values: Any) -> Any:
    if not isinstance(own, dict) or not isinstance(values, Mapping):
        return copy.deepcopy(values)
    return {**own, **{name: merge_values(own.get(name), value) for name, value in values.items()}}


def _fail(text: str) -> None:
    raise AssertionError(text)
