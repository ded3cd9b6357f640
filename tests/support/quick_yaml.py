"""YAML with the parser and the emitter in C, which take a tenth of the time of those in Python."""

from typing import Any

import yaml


def load_yaml(text: str | bytes) -> Any:
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def dump_yaml(value: Any, **options: Any) -> str:
    return str(yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), **options))
