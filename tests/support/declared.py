"""Classes that declare the keys of a file."""

from typing import Any, get_args

import attrs

from configfile.keys import Given, keys_of, kind_of


def classes_of(root: type) -> list[type]:
    """Return the class of the root, and the classes of its keys."""
    found: list[type] = []

    def visit(of: Any) -> None:
        if isinstance(of, Given):
            visit(of.cls)
        elif isinstance(of, type) and attrs.has(of):
            if of not in found:
                found.append(of)
                for field in keys_of(of).values():
                    visit(field.type)
        elif (kind := kind_of(of)) is not None:
            for part in kind.parts:
                visit(part)
        else:
            for part in get_args(of):
                visit(part)

    visit(root)
    return [cls for cls in found if keys_of(cls)]
