"""Short builders for LiteLLM proxy files, and their conversion by ``trigate import``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gateway.commands.importing import read_with_includes
from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.result import Result, lines
from gateway.config_files.loading import Config, from_mapping

TOKEN_COSTS = {"input_cost_per_token": 0.0000025, "output_cost_per_token": 1e-5}


def item(name: str, model: str, **params: Any) -> dict[str, Any]:
    """Return an item of ``model_list``."""
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def file_text(result: Result) -> str:
    """Return the text of the new file."""
    return "\n".join(lines(result, "config.yaml"))


def convert_file(*models: Any, **sections: Any) -> tuple[Config, str, dict[str, Any]]:
    """Return the configuration made from a file, its text, and its content."""
    text = file_text(convert_litellm({"model_list": list(models), **sections}))
    content = yaml.load(text, yaml.CSafeLoader)
    return from_mapping(content), text, content


def import_with_tables(file: Path, tables: Mapping[str, Sequence[dict[str, Any]]]) -> Result:
    """Return the result for a file and these tables of LiteLLM's database."""
    return convert_litellm(read_with_includes(file)[0], tables)
