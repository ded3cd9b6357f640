"""The tables of commands at every width of the terminal."""

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gateway.commands import tables
from gateway.commands.tables import TableColumn, table_lines

WORDS = st.text("ab表é", min_size=1, max_size=20)
ROWS = st.lists(st.tuples(WORDS, st.integers(0, 10**6).map(str), WORDS), min_size=1, max_size=4)
NAME, FIGURE = TableColumn("model", "name"), TableColumn("requests", "figure")
TEXT, SPARE = TableColumn("because"), TableColumn("cached", "figure", 1)


def lines_at(width, columns, rows):
    with mock.patch.object(tables, "real_columns", return_value=width):
        return table_lines(columns, rows)[1:]


@given(rows=ROWS, width=st.integers(30, 70))
def test_lines_have_the_width_of_the_terminal_and_lose_no_text(rows, width):
    lines = lines_at(width, (NAME, FIGURE, TEXT), rows)
    assert all(cell_len(line) <= width or line in {name for name, _, _ in rows} for line in lines), "names stay whole"
    assert all(any(line.startswith(name) for line in lines) for name, _, _ in rows)
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(map("".join, rows)))
    assert len(lines_at(None, (NAME, FIGURE, TEXT), rows)) == len(rows)


@given(rows=ROWS, width=st.integers(20, 70))
def test_without_texts_names_are_whole_at_every_width(rows, width):
    lines = lines_at(width, (NAME, FIGURE, SPARE), rows)
    is_wide = max(cell_len(name) for name, _, _ in rows) + 2 + len("requests") <= width
    assert len(lines) == len(rows) * (1 if is_wide else 2)
    assert all(line.startswith(name) for line, (name, _, _) in zip(lines[:: 1 if is_wide else 2], rows, strict=True))
