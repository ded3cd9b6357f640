"""Modules of the core use no API's name: each API describes its differences itself (``WireApi``, ``Codec``)."""

import ast
import functools
import re
from pathlib import Path
from typing import Final

from gateway.__main__ import APIS
from providers.apis import CODECS
from tests.support.features import is_of_deleted_feature

GATEWAY = Path(__file__).parent.parent / "gateway"

ABOUT_APIS: Final = (
    "endpoints/responses.py", "endpoints/conversations.py", "features/responses_websocket", "conversations", "commands",
    "mock", "config", "__main__.py", "relay", "features/realtime", "features/files", "features/mcp",
    "features/other_endpoints", "features/pass_through", "features/compatible_clients",
    "features/steps/tables", "features/prompt_caches/tables",
)  # fmt: skip
"""Modules about one API, about vendors' endpoints, or about the words with which people configure and request them."""

EXCEPTIONS: Final = {
    "features/answer_cache/lookup.py": "the chunk of token counts, which Chat alone has, and what Responses repeats",
    "endpoints/answers.py": "errors of stored responses and conversations, which are OpenAI's",
    "features/people/claude_code.py": "paths for one program, which speaks this API",
    "endpoints/health.py": "an error to an operator's probe, in the shape of nobody's API",
    "endpoints/own_routes.py": "the paths of stored objects, which this API has",
    "websockets/app.py": "the refusal of a websocket, which Responses alone has",
    "features/metrics/opening.py": "an error to a scraper, in the shape of nobody's API",
    "features/model_lists/shapes.py": "a type of models, which is called as an API is",
    "features/model_lists/views.py": "the two vendors' lists of models",
    "http/paths.py": "base URLs as the vendors' clients are given them",
    "features/kept_ledger/invoices/model_names.py": "a provider that is called as its API is",
    "kept_objects/owned_ids.py": "a shape of files, which is called as the API is that they belong to",
    "request/members.py": "members of requests, one of which is called as an API is",
    "request/narrowing.py": "a provider that is called as its API is",
    "features/client_routing/bodies.py": "a member of other routers' bodies, which is Anthropic's own in Messages",
    "request/tools_in_chat.py": "a rule about Chat: some models take tools in Responses alone",
    "viewing/described.py": "a type of models, which is called as an API is",
    "relay/endpoint_defaults.py": "the same",
    "features/steps/batch_lines.py": "the APIs of a batch's requests and results",
    "features/steps/conversations.py": "the items of stored turns, which are those of Responses",
    "features/steps/kinds/size.py": "a limit on the messages of a request, which has the name of an API",
    "features/tracing/spans.py": "OpenTelemetry's name of an operation, which is no API",
}
"""Modules that use an API's name, each with its reason."""


def modules() -> list[Path]:
    found = (path.relative_to(GATEWAY) for path in sorted(GATEWAY.rglob("*.py")))
    return [path for path in found if not path.as_posix().startswith(ABOUT_APIS)]


@functools.cache
def api_names_in(path: Path) -> set[str]:
    """Return the API names among the texts of a module, except names of request members (``messages``)."""
    source = (GATEWAY / path).read_text()
    if not any(re.search(rf"""["']{name}["']""", source) for name in CODECS):
        return set()
    tree = ast.parse(source)
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts & set(CODECS)


def test_the_command_line_has_all_apis():
    assert tuple(CODECS) == APIS


def test_the_registry_has_names_to_search_for():
    assert {"chat", "messages", "responses"} <= set(CODECS)


def test_a_module_of_the_core_contains_no_api_name():
    """Exceptions must be needed."""
    assert {path.as_posix() for path in modules() if api_names_in(path)} - set(EXCEPTIONS) == set()
    there = [name for name in EXCEPTIONS if not is_of_deleted_feature(f"gateway/{name}")]
    assert [name for name in there if not api_names_in(Path(name))] == []
