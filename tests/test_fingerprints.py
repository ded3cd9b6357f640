"""Private or replaced parts of other packages, each with a fingerprint: a hash of its source.

A changed fingerprint after an upgrade is not an error yet. Compare the part with our code in its row.
``docs/upgrading.md`` describes how.
"""

import ast
import hashlib
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs
import pytest

import gateway
import loadtest
import providers
import streams
from tests.support.features import is_of_deleted_feature, is_without_needed
from tests.support.harness import ROOT
from tests.support.syntax import imports, statements

OURS = {"gateway", "loadtest", "providers", "streams", "trigate"}

How = Literal["replaced", "extended", "used"]


@attrs.frozen
class Row:
    ours: str
    """The module that uses the part, with the reason."""
    how: How
    foreign: str
    """``module:name`` of the part: a class, a method or a function."""
    fingerprint: str


TABLE: dict[str, list[tuple[How, str, str]]] = {
    "gateway/serving/http2_streams.py": [
        ("replaced", "hypercorn.protocol.h2:StreamBuffer", "63ce3e5dd531"),
    ],
    "gateway/serving/http2.py": [
        ("used", "hypercorn.protocol.h2:H2Protocol.handle", "4cadaba557f5"),
        ("replaced", "hypercorn.protocol.h2:H2Protocol._create_stream", "159901b223bc"),
        ("replaced", "hypercorn.protocol.h2:H2Protocol._priority_updated", "ee9e89e54ecc"),
        ("extended", "hypercorn.protocol.h2:H2Protocol.__init__", "454c73f82798"),
        ("used", "hypercorn.protocol.h2:H2Protocol.initiate", "cf97408a4a18"),
        ("used", "hypercorn.protocol.h2:H2Protocol._handle_events", "27be0fee6afe"),
        ("used", "hypercorn.protocol.h2:H2Protocol._close_stream", "4a3fd24eebc0"),
        ("used", "hypercorn.protocol.h2:H2Protocol._flush", "213e0a9da13e"),
        ("used", "hypercorn.protocol.h2:H2Protocol._window_updated", "6068b5e5235a"),
        ("used", "hypercorn.protocol.h2:H2Protocol.stream_send", "659e9b648a6a"),
        ("used", "hypercorn.protocol.h2:H2Protocol.send_task", "eea7273f7496"),
        ("extended", "hypercorn.protocol.h2:H2Protocol._send_data", "5452567a535b"),
        ("used", "hypercorn.trio.worker_context:WorkerContext", "6e5e0fcfd521"),
        ("used", "h2.connection:H2Connection._receive_goaway_frame", "e904c43ad3f9"),
        ("used", "h2.connection:H2Connection._receive_settings_frame", "744d0132c2c7"),
        ("used", "h2.connection:_decode_headers", "c94c54e12ca3"),
    ],
    "gateway/serving/request_reader.py": [
        ("extended", "h11._connection:Connection.receive_data", "60237155e9a8"),
        ("extended", "h11._connection:Connection.next_event", "375dc8b1c175"),
        ("extended", "h11._connection:Connection._get_io_object", "13ac09b84ca6"),
        ("extended", "h11._readers:ChunkedReader.__call__", "2d5a88c94d0b"),
        ("used", "h11._headers:Headers", "8a7eb33f4ce5"),
    ],
    "gateway/websockets/frames.py": [
        ("replaced", "wsproto.extensions:Extension.enabled", "c15519771cd0"),
        ("replaced", "wsproto.extensions:Extension.frame_inbound_header", "a58626d7898d"),
        ("replaced", "wsproto.extensions:Extension.frame_inbound_payload_data", "7998ea20edb7"),
    ],
    "gateway/websockets/stream.py": [
        ("used", "hypercorn.protocol.ws_stream:Handshake", "f887ddb87021"),
        ("used", "hypercorn.protocol.ws_stream:WebsocketBuffer", "117de42f7b00"),
        ("extended", "hypercorn.protocol.ws_stream:WebsocketBuffer.extend", "62e8318c9db7"),
    ],
    "gateway/websockets/in_quart.py": [
        ("replaced", "quart.routing:QuartMap.bind_to_request", "0924415699c7"),
        ("replaced", "quart_trio.asgi:TrioASGIWebsocketConnection.__call__", "0c5b7d6751d7"),
        ("used", "quart_trio.asgi:TrioASGIWebsocketConnection.handle_messages", "2a8dcaf0edb0"),
        ("used", "quart_trio.asgi:TrioASGIWebsocketConnection._create_websocket_from_scope", "c183d4c33ba5"),
        ("used", "quart.asgi:ASGIWebsocketConnection.handle_websocket", "e1120988303b"),
        ("used", "quart.asgi:ASGIWebsocketConnection.close_connection", "6bfeb1d344b0"),
    ],
    "gateway/features/metrics/registry.py": [
        ("used", "prometheus_client.metrics:Histogram._metric_init", "e4a11af4639d"),
    ],
    "gateway/features/metrics/shared_metrics.py": [
        ("used", "prometheus_client.mmap_dict:mmap_key", "7108b97141cf"),
        ("used", "prometheus_client.mmap_dict:MmapedDict", "431df5e6f3ce"),
        ("extended", "prometheus_client.mmap_dict:MmapedDict._init_value", "6ab39c0acff5"),
        ("extended", "prometheus_client.mmap_dict:MmapedDict.read_value", "c1ea2540b17c"),
        ("extended", "prometheus_client.mmap_dict:MmapedDict.write_value", "26e838b92d36"),
        ("used", "prometheus_client.multiprocess:mark_process_dead", "d2bea3e78f16"),
        ("used", "prometheus_client.multiprocess:MultiProcessCollector.merge", "c10b42cb9996"),
    ],
}

ROWS = [Row(ours, *row) for ours, rows in TABLE.items() if not is_of_deleted_feature(ours) for row in rows]

SETTINGS = {
    "gateway/log_output/setup.py": {
        # Python's Logging HOWTO ("Optimization") recommends these.
        "logging._srcfile", "logging.logThreads", "logging.logProcesses", "logging.logMultiprocessing",
    },
    # Its files have no option for reserved space.
    "gateway/features/metrics/registry.py": {"prometheus_client.values.MmapedDict"},
    "gateway/__main__.py": {"sys.name"},  # a replacement for a standard stream that was closed
}  # fmt: skip
"""The allowed assignments into other packages' modules, recommended by their documentation or explained here."""


def load_part(foreign: str) -> Any:
    module, _, name = foreign.partition(":")
    thing: Any = importlib.import_module(module)
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part) if isinstance(thing, type) else getattr(thing, part)
    return thing.__func__ if isinstance(thing, staticmethod | classmethod) else thing


def fingerprint(thing: Any) -> str:
    """Return a hash of the source without indentation, empty lines and comments."""
    lines = (line.strip() for line in inspect.getsource(thing).splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line and line[0] != "#").encode()).hexdigest()[:12]


@pytest.fixture(scope="module")
def packages() -> Mapping[str, list[str]]:
    """Return the packages of each module. Finding them reads every installed file."""
    return packages_distributions()


def test_foreign_parts_are_unchanged_since_our_code_was_written(packages):
    changes = []
    for row in ROWS:
        name = packages[row.foreign.partition(":")[0].partition(".")[0]][0]
        now = fingerprint(load_part(row.foreign))
        if now != row.fingerprint:
            changes.append(
                f"{row.foreign} is not the same in {name} {version(name)}, and it is {row.how} by {row.ours}: read "
                f"both, then write {now} into its row (docs/upgrading.md)"
            )
    assert not changes, "\n".join(changes)


def test_our_modules_in_the_rows_exist():
    assert [row for row in ROWS if not (ROOT / row.ours).is_file()] == []


# Completeness of the rows


@cache
def modules() -> list[ModuleType]:
    packages = (gateway, loadtest, providers, streams)
    names = [found.name for one in packages for found in pkgutil.walk_packages(one.__path__, f"{one.__name__}.")]
    return [importlib.import_module(name) for name in names if not is_without_needed(name)]


def subclasses() -> Iterator[tuple[type, list[type]]]:
    """Yield our subclasses of other packages' classes (except Python's), with these."""
    for module in modules():
        for one in vars(module).values():
            if isinstance(one, type) and one.__module__ == module.__name__:
                foreign = [base for base in one.__mro__ if is_foreign(base.__module__)]
                if foreign:
                    yield one, foreign


def is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in OURS and top not in sys.stdlib_module_names


def where(base: type, name: str) -> str:
    return f"{base.__module__}:{base.__qualname__}.{name}"


def overrides() -> dict[str, str]:
    """Return the overridden methods of other packages' classes, except those that are meant to be overridden: abstract
    ones, those of click, ``__repr__``, and the annotations of Python 3.14."""
    taken = {}
    for one, foreign in subclasses():
        for name, value in vars(one).items():
            base = next((base for base in foreign if name in vars(base)), None)
            if base is None or not inspect.isfunction(value) or base.__module__.startswith("click."):
                continue
            if name not in ("__init__", "__repr__", "__annotate_func__") and not getattr(
                vars(base)[name], "__isabstractmethod__", False
            ):
                taken[where(base, name)] = path_of(one)
    return taken


def private_uses() -> dict[str, str]:
    """Return the private members of other packages' classes that our subclasses use."""
    taken = {}
    for one, foreign in subclasses():
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(one)))):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                base = next((base for base in foreign if node.attr in vars(base)), None)
                if base is not None and node.attr not in vars(one):
                    taken[where(base, node.attr)] = path_of(one)
    return taken


def path_of(one: type) -> str:
    return f"{one.__module__.replace('.', '/')}.py"


def test_every_override_has_a_row_and_every_such_row_is_needed():
    rows = {row.foreign: row.ours for row in ROWS if row.how != "used" and "." in row.foreign.partition(":")[2]}
    assert {key: value for key, value in rows.items() if not key.endswith(".__init__")} == overrides()


def test_every_private_member_that_is_used_has_a_row():
    assert private_uses().items() <= {(row.foreign, row.ours) for row in ROWS}


MAY_ASSIGN = re.compile(
    rb"^ *+(?!self\.|cls\.)[^\n#=(]*\w\.\w[^\n=(!<>]*=(?!=)|^ *\([^\n]*\w\.\w[^\n]*\) = |^ *del |\bsetattr\(",
    re.MULTILINE,
)
"""A line that may assign to a member of another object, or delete it. Other modules need not be parsed."""

OWNER = re.compile(rb"\b\w+(?=\.\w)|(?<=setattr\()\w+")


def may_assign(path: Path, source: bytes) -> bool:
    """Return whether a line may assign to a member of a name that the module imports."""
    lines = (source[found.start() : source.find(b"\n", found.end())] for found in MAY_ASSIGN.finditer(source))
    owners = {name.decode() for line in lines for name in OWNER.findall(line)}
    if not owners:
        return False
    return any((alias.asname or alias.name.partition(".")[0]) in owners for one in imports(path) for alias in one.names)


@pytest.mark.slow
def test_no_code_assigns_to_foreign_modules_or_classes():
    found = {}
    for module in modules():
        path = module.__file__ or ""
        source = Path(path).read_bytes()
        if not may_assign(Path(path), source):
            continue
        nodes = list(ast.walk(ast.parse(source)) if b"setattr(" in source else statements(Path(path)))
        imported = {
            alias.asname or alias.name.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        targets = (target for node in nodes for target in assignment_targets(node))
        # Quart's, for this purpose.
        into = {ast.unparse(target) for target in targets if root(target) in imported - {"g"}}
        if into:
            found[path.removeprefix(f"{ROOT}/")] = into
    assert found == SETTINGS


def assignment_targets(node: ast.AST) -> list[ast.expr]:
    """Return the targets of a statement that sets or deletes something."""
    if isinstance(node, ast.Assign | ast.Delete):
        several = [one.elts if isinstance(one, ast.Tuple | ast.List) else [one] for one in node.targets]
        return [one for some in several for one in some if isinstance(one, ast.Attribute)]
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        return [node.target] if isinstance(node.target, ast.Attribute) else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
        return [ast.Attribute(node.args[0], ast.unparse(node.args[1]))]
    return []


def root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
