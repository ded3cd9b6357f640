"""YAML text as PyYAML's nodes, with libyaml's scanner where PyYAML has it, which takes a sixth of the time."""

from functools import cache

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

if yaml.__with_libyaml__:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _QuickLoader(Composer, CParser, Resolver):
        """A loader that composes libyaml's events in Python.

        libyaml composes recursively in C, so deep nesting would end the process instead of raising
        ``RecursionError``."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)
            self.resolve = cache(self.resolve)  # type: ignore[method-assign]  # files repeat keys and values


class Scalars(SafeConstructor, Resolver):
    """The values of scalar nodes, as PyYAML's safe loader constructs them."""

    def __init__(self) -> None:
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    def plain_tag(self, node: yaml.ScalarNode) -> str:
        """Return the tag that the node would have without quotes and without a tag of its own."""
        return str(self.resolve(yaml.ScalarNode, node.value, (True, False)))  # type: ignore[no-untyped-call]


def compose(text: str) -> yaml.Node | None:
    """Return the root of the one document in ``text``, or ``None`` for an empty one. Raises ``yaml.YAMLError`` and
    ``RecursionError``.

    The scanner in Python has the last word and words the error: libyaml rejects a few valid texts, and its messages
    differ between versions."""
    if yaml.__with_libyaml__:
        try:
            return _QuickLoader(text).get_single_node()
        except yaml.YAMLError:
            pass
    loader = yaml.SafeLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()
