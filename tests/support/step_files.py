"""Configurations with steps, and their code, as files."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from gateway.config.settings import Trust
from gateway.config_files.loading import Config, load

HEAD = """version: v0.4.0
model_providers:
  - {model: openai/gpt-5, access_key: k}
"""


def step_config(folder: Path, steps: str, code: str = "", head: str = HEAD, trust: Trust = "named") -> Config:
    """Return the configuration in ``folder`` with the list ``steps``; ``code`` is in ``steps.py`` next to it."""
    (folder / "steps.py").write_text(code)
    file = folder / "trigate.yaml"
    file.write_text(f"{head}steps:\n{steps}")
    return load(file, {}, trust=trust)


@contextlib.asynccontextmanager
async def service_step(
    use: str, folder: Path, url: str, more: str = "", settings: str = "", head: str = HEAD
) -> AsyncIterator[Any]:
    """Open a step that sends texts to ``url``, with ``more`` keys and ``settings``."""
    from gateway.features.steps.loading import load_steps  # which may be deleted

    steps = load_steps(step_config(folder, f"  - {{use: {use}{more}, with: {{url: '{url}'{settings}}}}}\n", head=head))
    async with trio.open_nursery() as nursery:
        await steps.open(nursery)
        yield steps.steps[0]
        await steps.aclose()
