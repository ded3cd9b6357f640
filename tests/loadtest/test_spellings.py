"""What other load testers call things: each name of theirs leads to one of ours that is there."""

import re

import attrs
import click
import pytest

from gateway.commands.load_options import load
from loadtest.figures.conditions import NAMES
from loadtest.plan import spellings
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.raw_scenario import RawScenario
from tests.support.cases import case
from tests.support.harness import ROOT

OURS = {name for option in load.params for name in option.opts}
KEYS = {field.name for kind in (RawScenario, LoadRequest) for field in attrs.fields(kind)}


def test_every_name_leads_to_one_of_ours_and_is_none_of_ours():
    for table, ours in (
        (spellings.OPTIONS_ELSEWHERE, OURS),
        (spellings.KEYS_ELSEWHERE, KEYS),
        (spellings.MEASURES_ELSEWHERE, {*NAMES}),
    ):
        assert set(table.values()) - ours <= {"--http"}
        assert set(table) & ours == set()
    assert not (set(spellings.ADVICE_ELSEWHERE) & (OURS | set(spellings.OPTIONS_ELSEWHERE)))


def test_an_option_of_another_tool_is_answered_with_ours():
    for args, said in [
        (["--request-rate", "5"], "No such option '--request-rate': did you mean --rate?"),
        (["--num-prompts=5"], "No such option '--num-prompts': did you mean -n?"),
        (["-c", "5"], "No such option '-c': did you mean --concurrency?"),
        (["--goodput", "ttft:500"], "No such option '--goodput': did you mean --slo?"),
        (["-d", "5s"], "No such option '-d': use --seconds for the duration, and --requests FILE"),
        (["--base-url", "http://x"], "No such option '--base-url': give the URL without an option: trigate load URL"),
        (["-H", "x: y"], "No such option '-H': set the key with --key-env NAME; for other headers"),
        (["--tokenizer", "gpt2"], "No such option '--tokenizer': not needed: the tokens"),
        (["--ratte", "5"], "No such option '--ratte'. (Did you mean one of"),
    ]:
        with case((args, said)):
            with pytest.raises(click.NoSuchOption) as caught:
                load.make_context("load", ["http://x", *args])
            assert caught.value.format_message().startswith(said)


def test_the_table_of_the_page_has_options_that_exist():
    rows = (ROOT / "docs/load-reference.md").read_text().partition("## Options of other tools")[2]
    ours = [row.split("|")[1] for row in rows.splitlines() if row.startswith("| `")]
    found = {name for cell in ours for name in re.findall(r"`(--?[\w-]+)", cell)}
    assert len(found) > 15
    assert found - OURS == set()
