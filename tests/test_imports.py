"""Allowed imports between modules: ``streams <- providers <- gateway``, with ``configfile`` below all of them, and
a table for the packages within the last two. A room is a package, or a module next to them."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import attrs
import pytest

from gateway.features.known import features
from tests.support.features import describes_all_features
from tests.support.repository import ROOT
from tests.support.syntax import imports, statements

PACKAGES = ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
ALLOWED = {
    "configfile": {"configfile"},
    "streams": {"configfile", "streams"},
    "providers": {"configfile", "streams", "providers"},
    "loadtest": {"configfile", "streams", "providers", "loadtest"},
    "trigate": {"trigate"},
    "gateway": set(PACKAGES),
}
OF_GATEWAY: Final = ("trigate/steps/testing.py", "trigate/features.py")
"""A tool for tests, which uses the gateway's own engine, and the contract of features."""
ASYNC_LIBRARIES = {"trio", "anyio", "asyncio", "quart", "quart_trio", "hypercorn", "trio_websocket"}
HTTP_CLIENTS = {"httpx", "httpcore", "httpx2", "httpcore2", "requests", "urllib3", "aiohttp"}

ARROWS: Final = {
    "providers.grammar": "",
    "providers.neutral": "",
    "providers.auth": "",
    "providers.endpoints": "providers.errors providers.neutral",
    "providers.catalog": "providers.auth providers.endpoints providers.neutral",
    "providers.errors": "providers.neutral",
    "providers.chat": "providers.catalog providers.errors providers.neutral",
    "providers.messages": "providers.catalog providers.errors providers.neutral",
    "providers.responses": "providers.catalog providers.errors providers.neutral",
    "providers.gemini": "providers.catalog providers.errors providers.neutral",
    "providers.converse": "providers.catalog providers.errors providers.neutral",
    "providers.interactions": "providers.errors providers.gemini providers.neutral",
    "providers.members": """
        providers.catalog providers.converse providers.endpoints providers.gemini providers.messages
        providers.neutral""",
    "providers.apis": """
        providers.chat providers.converse providers.gemini providers.interactions providers.messages
        providers.neutral providers.responses""",
    "providers.recordings": "providers.apis",
    "providers.framings": "providers.apis providers.neutral",
    "providers.request_api": "providers.catalog providers.neutral",
    "loadtest": "providers.apis providers.catalog providers.grammar providers.neutral",
    "gateway.named_imports": "",
    "gateway.stores": "http",
    "gateway.http": "",
    "gateway.shared": "",
    "gateway.serving": "http",
    "gateway.upstream": "http providers.auth",
    "gateway.config": "http providers.auth providers.catalog providers.endpoints providers.neutral",
    "gateway.config_files": "config http named_imports providers.auth providers.catalog providers.endpoints",
    "gateway.users_files": "",
    "gateway.config_reports": "config config_files providers.catalog",
    "gateway.file_search": "config config_files users_files",
    "gateway.counters": "config named_imports shared stores",
    "gateway.streaming": "providers.errors providers.neutral",
    "gateway.access": "config http",
    "gateway.logs": "config http",
    "gateway.log_output": "config logs providers.errors providers.neutral",
    "gateway.open_store": "config named_imports stores",
    "gateway.routing": """
        config http providers.apis providers.auth providers.catalog providers.endpoints providers.errors
        providers.neutral""",
    "gateway.kept_objects": """
        config named_imports providers.catalog providers.endpoints providers.neutral routing stores""",
    "gateway.health": "config routing shared",
    "gateway.sign_in": "config http named_imports providers.auth upstream",
    "gateway.ledger": "http logs providers.catalog providers.neutral",
    "gateway.request": """
        config http named_imports providers.apis providers.auth providers.catalog providers.errors providers.neutral
        providers.responses routing shared upstream""",
    "gateway.balancing": "config http providers.apis providers.catalog request routing shared",
    "gateway.allowances": """
        config counters http ledger providers.apis providers.catalog request routing shared""",
    "gateway.conversations": """
        http ledger providers.interactions providers.messages providers.neutral providers.responses request
        routing stores streaming""",
    "gateway.seams": """
        access allowances balancing config conversations health http ledger providers.apis
        providers.framings providers.neutral request routing serving shared stores streaming upstream""",
    "gateway.open_features": "config named_imports seams",
    "gateway.exchange": """
        access allowances balancing config conversations health http ledger logs providers.apis
        providers.auth providers.errors providers.grammar providers.neutral request routing seams serving
        shared stores streaming upstream""",
    "gateway.endpoints": """
        access allowances config conversations exchange http ledger providers.apis providers.interactions
        providers.neutral providers.responses request routing seams serving stores""",
    "gateway.open_parts": """
        access allowances config counters health ledger log_output open_store seams serving shared upstream""",
    "gateway.open_service": """
        access balancing config conversations exchange named_imports open_features open_parts routing seams
        serving shared stores upstream""",
    "gateway.probing": "config health providers.auth routing upstream",
    "gateway.lifespan": "exchange open_features probing serving stores",
    "gateway.relay": """
        access config endpoints exchange http ledger providers.apis providers.catalog providers.endpoints
        providers.errors providers.neutral request routing seams serving streaming upstream""",
    "gateway.websockets": "exchange http providers.apis serving",
    "gateway.viewing": """
        access config http providers.catalog providers.endpoints providers.errors providers.neutral routing""",
    "gateway.processes": "serving",
    "gateway.mock": "http providers.apis providers.endpoints providers.neutral serving websockets",
    "gateway.app": """
        config endpoints exchange http lifespan named_imports open_features open_service processes providers.apis
        serving stores""",
    "gateway.asgi": "app config_files config_reports file_search log_output open_store serving",
    "gateway.reload": """
        app config config_files config_reports exchange http open_features open_service seams serving shared""",
    "gateway.commands": """
        access allowances app config config_files config_reports file_search health http loadtest log_output logs mock
        named_imports open_features open_service open_store providers.apis providers.catalog providers.endpoints
        providers.errors providers.grammar providers.members providers.neutral
        providers.recordings providers.request_api processes reload routing seams serving shared stores
        users_files viewing""",
    "gateway.__main__": "commands mock named_imports providers.catalog",
    "gateway.program": "__main__",
}
"""The imports that each room may have, besides ``streams``, ``configfile`` and the version in ``gateway``.

Lower rooms come first, and names without a package are rooms of ``gateway``. Type-only and deferred imports count,
because a reader must know them. Adding an arrow is a decision about the structure: first consider moving the imported
code to a lower room.
"""

OPEN: Final = (".feature", ".interface", "features.order", "features.known", "features.page_paths")
"""The modules of features that others may import."""

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@cache
def imported_names(path: Path) -> set[str]:
    """Return the dotted names of all imports in a module, including those for types."""
    names = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively, which hides the arrow"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room(module: str) -> str:
    """Return the room of a dotted name: ``gateway.config`` for ``gateway.config.settings``."""
    parts = module.split(".")
    if parts[:2] == ["gateway", "features"]:
        return ".".join(parts[:3])
    return ".".join(parts[:2]) if parts[0] in ("providers", "gateway") else parts[0]


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def arrows() -> dict[str, set[str]]:
    """Return the imported rooms of each room."""
    modules = {dotted_name(path) for path in MODULES}
    rooms: dict[str, set[str]] = {}
    for path in MODULES:
        here = rooms.setdefault(room(dotted_name(path)), set())
        here.update(room(name) for name in imported_names(path) if name in modules)
    known = {"configfile", "streams", "trigate", "gateway"}
    return {
        name: {other for other in others - {name} - known if not is_feature(other)}
        for name, others in rooms.items()
        if not is_feature(name)
    }


def is_feature(room: str) -> bool:
    return room.startswith("gateway.features")


def allowed_imports(name: str) -> set[str]:
    elsewhere = ("providers.", "loadtest")
    return {other if other.startswith(elsewhere) else f"gateway.{other}" for other in ARROWS[name].split()}


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(path)}


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def non_empty(sets: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the sets that are not empty. One test over all modules is faster than a test for each."""
    return {name: names for name, names in sets.items() if names}


def test_there_are_modules_to_check():
    assert {path.parts[len(ROOT.parts)] for path in MODULES} == set(PACKAGES)


def test_imports_point_one_way():
    against = {
        module_id(path): tops(path) & set(PACKAGES) - ALLOWED[path.relative_to(ROOT).parts[0]]
        for path in MODULES
        if module_id(path) not in OF_GATEWAY
    }
    assert non_empty(against) == {}


def test_only_the_load_command_knows_the_load_tester():
    """The load tester is a separate product that the service does not load."""
    ours = [path for path in MODULES if module_id(path).startswith("gateway/") and "loadtest" in tops(path)]
    assert [
        module_id(path) for path in ours if not re.fullmatch(r"gateway/commands/load\w*\.py", module_id(path))
    ] == []


def test_only_commands_know_the_stand_in_provider():
    """The stand-in is a tool that commands start, and not a part of the service."""
    importers = {name for name, others in arrows().items() if "gateway.mock" in others}
    assert importers <= {"gateway.commands", "gateway.__main__"}


def test_a_room_imports_only_allowed_rooms():
    assert non_empty({name: arrows()[name] - allowed_imports(name) for name in ARROWS}) == {}


def test_the_table_allows_nothing_that_no_room_needs():
    """Otherwise a removed arrow could return unnoticed."""
    assert non_empty({name: allowed_imports(name) - arrows()[name] for name in ARROWS}) == {}


def test_no_module_imports_inner_modules_of_a_feature():
    """The kernel must not contain features' names: others may import only ``feature.py`` and ``interface.py``."""
    assert reaches_into_features() == set()


def reaches_into_features() -> set[str]:
    """Return each name of an inner module of a feature outside of it, in an import or as text, with the room."""
    modules = {dotted_name(path) for path in MODULES}
    found = set()
    for path in MODULES:
        here = room(dotted_name(path))
        for name in (imported_names(path) | named_as_text(path)) & modules:
            if is_feature(name) and room(name) not in (here, name) and not name.endswith(OPEN):
                found.add(f"{here} {name.removeprefix('gateway.features.')}")
    return found


@cache
def named_as_text(path: Path) -> set[str]:
    """Return the features' modules that a module names in texts, for a later import, or in imports and comments."""
    return {*re.findall(r"gateway\.features\.[\w.]+", path.read_text())}


KERNEL: Final = [
    "http",
    "serving",
    "upstream",
    "streaming",
    "request",
    "routing",
    "balancing",
    "health",
    "exchange",
    "ledger",
    "access",
    "logs",
    "config",
    "config_files",
    "endpoints",
    "seams",
]
"""The kernel, and ``config_files``, which reads its configuration. They name no feature."""
GENERAL_WORDS: Final = [
    "admin",
    "cache",
    "failures",
    "files",
    "ledger",
    "metrics",
    "people",
    "record",
    "request",
    "sessions",
    "steps",
    "upload",
    "v2",
    "mcp_servers",
    "realtime",
    "web_search",
]
"""The names of features and their keys which mean something else, too: usual words, roles of clients, uses of
listeners, and names in the providers' APIs."""


def test_the_kernel_contains_no_name_of_a_feature():
    """It contains no features, nor their keys, options, paths and metrics, outside docstrings."""
    rooms = kernel_modules()
    names = names_of_features() - {*GENERAL_WORDS}
    assert non_empty({module_id(path): {*filter(names.__contains__, words_of(path))} for path in rooms}) == {}
    metric = re.compile(r"trigate_\w+_(?:total|seconds|bytes)")
    assert non_empty({module_id(path): {*filter(metric.fullmatch, words_of(path))} for path in rooms}) == {}


@describes_all_features
def test_every_general_word_is_in_the_kernel_and_is_the_name_of_a_feature():
    """An unused general word would hide the name of a feature."""
    used = frozenset[str]().union(*map(words_of, kernel_modules()))
    assert {*GENERAL_WORDS} - (used & names_of_features()) == set()


def names_of_features() -> set[str]:
    rows = [(one.name, one.option, *one.first_steps) for one in features()]
    keys = [attrs.fields_dict(part.keys) for one in features() for part in one.keys]
    return {name for row in (*rows, *keys) for name in row if name}


def kernel_modules() -> list[Path]:
    return [path for path in MODULES if room(dotted_name(path)).removeprefix("gateway.") in KERNEL]


@cache
def words_of(path: Path) -> frozenset[str]:
    """Return the words in the names and texts of a module, without docstrings and URLs."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    docs = {one.value for one in nodes if isinstance(one, ast.Expr)}
    texts = (one.value for one in nodes if isinstance(one, ast.Constant) and one not in docs)
    words = {word for text in texts if isinstance(text, str) for word in words_in(text)}
    return frozenset(words.union(*(name_of(one) for one in nodes)))


def words_in(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", re.sub(r"https?://[^\s)]+", "", text))


def name_of(node: ast.AST) -> list[str]:
    return [name for field in ("id", "attr", "arg", "name") if isinstance(name := getattr(node, field, None), str)]


RECORD_READERS: Final = """
    gateway/ledger/ gateway/log_output/ gateway/seams/observe gateway/exchange/responding.py
    gateway/features/failures/ gateway/features/kept_ledger/ gateway/features/live_view/ gateway/features/metrics/
    gateway/features/notices/ gateway/features/prompt_caches/ gateway/features/recording/ gateway/features/tracing/
    gateway/features/steps/observers.py
    gateway/features/files/provider_runs.py gateway/features/realtime/meter.py
    gateway/features/steps/verdicts.py"""
"""The modules that read records: the ledger, what writes a response's headers, observers, and those that continue a
report of their own. All others only write facts to the record of a request."""
FIRST_FACTS: Final = {"gateway/exchange/context.py": {"id", "endpoint", "bill"}, "gateway/exchange/delivery.py": {"id"}}
"""The facts that a record has from the start, which are values of the request."""


def test_no_module_that_decides_reads_the_record():
    (record,) = (one for one in statements(ROOT / "gateway/ledger/record.py") if getattr(one, "name", "") == "Record")
    facts = {ast.unparse(one.target) for one in ast.walk(record) if isinstance(one, ast.AnnAssign)} | {"delivered"}
    readers = tuple(RECORD_READERS.split())
    gateways = (path for path in MODULES if module_id(path).startswith("gateway/"))
    others = (path for path in gateways if not module_id(path).startswith(readers))
    read = {module_id(path): read_facts(path) & facts - FIRST_FACTS.get(module_id(path), set()) for path in others}
    assert non_empty(read) == {}


def read_facts(path: Path) -> set[str]:
    """Return the attributes of records that a module reads."""
    if b"record." not in path.read_bytes():
        return set()
    found = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Attribute)]
    written = {one.value for one in found if isinstance(one.ctx, ast.Store)}  # ``record.bill`` of ``record.bill.usage``
    read = (one for one in found if isinstance(one.ctx, ast.Load) and one not in written)
    return {one.attr for one in read if re.fullmatch(r"(.*\.)?_?record", ast.unparse(one.value))}


def test_every_room_is_in_the_table():
    assert set(arrows()) - {"configfile", "streams", "providers", "trigate", "gateway"} == set(ARROWS)


def test_rooms_have_no_circular_imports():
    assert list(TopologicalSorter(arrows()).static_order())  # it raises ``CycleError`` with the circle


def test_modules_have_no_circular_imports():
    """Imports inside functions and for types count."""
    modules = {dotted_name(path) for path in MODULES}
    ties = {
        dotted_name(path): imported_names(path) & modules - {dotted_name(path)}
        for path in MODULES
        if path.name != "__init__.py"
    }
    assert list(TopologicalSorter(ties).static_order())


def test_no_module_imports_the_tests():
    ours = {"tests", "pytest", "hypothesis", "openai", "anthropic"}
    assert non_empty({module_id(path): tops(path) & ours for path in MODULES}) == {}


def test_only_commands_use_another_http_client_than_ours():
    known = {module_id(path): tops(path) & HTTP_CLIENTS for path in MODULES}
    assert non_empty(known) == {"gateway/commands/fetching.py": {"httpx2"}}


def test_streams_and_providers_do_no_io():
    assert non_empty({module_id(path): tops(path) & not_for(path) for path in MODULES}) == {}


def not_for(path: Path) -> set[str]:
    """Return the I/O modules that a module must not import."""
    if path.relative_to(ROOT).parts[0] in ("gateway", "loadtest"):
        return {"asyncio"}  # everything here runs on trio
    if module_id(path) in ("streams/garbage.py", "streams/handoff.py", "streams/pipe.py"):
        return ASYNC_LIBRARIES - {"trio"}
    return ASYNC_LIBRARIES | {"socket", "ssl", "http", "subprocess", "threading"}


def test_every_module_is_listed_in_the_architecture_or_its_package():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    texts = {path.parent: page + path.read_text() for path in MODULES if path.name == "__init__.py"}
    words = {folder: {*re.findall(r"\w+", text)} for folder, text in texts.items()}
    usual = {"__init__", "feature", "interface", "opening", "options", "settings"}  # of each feature
    modules = [path for path in MODULES if path.stem not in usual]
    assert [module_id(path) for path in modules if path.stem not in words[path.parent]] == []


@describes_all_features
@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_module_on_a_page_for_developers_exists(page):
    named = re.findall(r"`([\w/.]*\w+\.py)`", (ROOT / page).read_text())
    there = [f"/{module_id(path)}" for folder in (*PACKAGES, "tests", ".ci") for path in (ROOT / folder).rglob("*.py")]
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


LATE_IMPORTS: Final = 50
"""The most imports inside functions of ``gateway``. Lower it with each that you remove."""


def test_few_imports_are_inside_functions():
    """Each hides what its module needs: modules that features or commands open lazily import at their top."""
    gateways = (path for path in MODULES if module_id(path).startswith("gateway/"))
    assert sum(map(late_imports, gateways)) <= LATE_IMPORTS


def late_imports(path: Path) -> int:
    """Return the number of imports of a module inside functions, those of other packages too."""
    if re.search(rb"^ +(?:from|import) ", path.read_bytes(), re.MULTILINE) is None:
        return 0
    functions = (node for node in statements(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    found = {node for one in functions for node in ast.walk(one) if isinstance(node, ast.Import | ast.ImportFrom)}
    return len({(node.lineno, node.col_offset) for node in found})
