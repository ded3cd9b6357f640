"""Values for the items of a test that need not all meet each other."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def spread(
    items: Sequence[Item], kind_of: Callable[[Item], Hashable], values: Sequence[Value]
) -> Iterator[tuple[Item, Sequence[Value]]]:
    """Yield each item with some of the values. All items of a kind have each value once together.

    If there are more items of a kind than values, the values repeat.
    """
    number = Counter(map(kind_of, items))
    before = Counter[Hashable]()
    for item in items:
        kind = kind_of(item)
        # The first value is usually the item's own API, or that of its neighbour.
        first = (before[kind] + 1) % len(values)
        yield item, [*values, *values][first : first + len(values) : number[kind]]
        before[kind] += 1
