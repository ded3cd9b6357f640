"""Configurations with steps, and their code, as files."""

from pathlib import Path

from gateway.config.loading import Config, load
from gateway.config.settings import Trust

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
