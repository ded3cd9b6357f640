"""Model servers on this machine, a row each: how one that does not listen is started."""

from urllib.parse import urlsplit

import attrs
import trio

from gateway.config.urls import is_loopback

PATIENCE = 2.0  # seconds for a connection within the machine


@attrs.frozen
class LocalServer:
    """``ids`` are what its entries are called, less punctuation; ``port`` is its usual one."""

    title: str
    ids: tuple[str, ...]
    port: int
    start: str


_ROWS = (
    LocalServer("Ollama", ("ollama",), 11434, "ollama serve"),
    LocalServer("LM Studio", ("lmstudio",), 1234, "lms server start, or Start Server on its Developer page"),
    LocalServer("llama.cpp", ("llamacpp", "llamafile"), 8080, "llama-server -m MODEL.gguf --port {port}"),
    LocalServer("vLLM", ("vllm", "hostedvllm"), 8000, "vllm serve MODEL --port {port}"),
    LocalServer("SGLang", ("sglang",), 30000, "python -m sglang.launch_server --model-path MODEL --port {port}"),
)


async def what_to_do(provider: str, url: str) -> str:
    """Advice on how to start the server of ``provider`` at ``url``, where that is on this machine and nothing listens
    there; "" otherwise."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not is_loopback(parts.hostname or "") or await _listens(parts.hostname or "", port):
        return ""
    row = _row(provider, port)
    start = f"start {row.title}: {row.start.format(port=port)}" if row is not None else "start the server"
    return f"nothing listens on {parts.netloc.rpartition('@')[2]}: {start} (or correct base_url)"


def _row(provider: str, port: int) -> LocalServer | None:
    """The row of a server, by the name of its provider or else by its port."""
    plain = "".join(filter(str.isalnum, provider.lower()))
    named = next((row for row in _ROWS if plain in row.ids), None)
    return named or next((row for row in _ROWS if row.port == port), None)


async def _listens(host: str, port: int) -> bool:
    try:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream(host, port)
    except (OSError, trio.TooSlowError):
        return False
    await stream.aclose()
    return True
