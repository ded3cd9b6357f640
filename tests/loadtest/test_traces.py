"""Traces of real services in the forms in which their owners publish them: Azure's, BurstGPT's and Mooncake's."""

import pytest

from configfile.document import ConfigError
from loadtest.plan.traces import read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2225670,879,55
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
"""
BURST = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,API log
"""
BURST_SESSIONS = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,17,3.5,ChatGPT,472,18,490,Conversation log
7,,1,ChatGPT,10,20,30,API log
45,17,2,ChatGPT,1087,230,1317,Conversation log
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 7319, "output_length": 490, "hash_ids": [0, 14, 15]}
{"timestamp": 3536999, "input_length": 600, "output_length": 794, "hash_ids": [0]}
"""


@pytest.fixture
def read(tmp_path):
    def read(text, name="trace"):
        path = tmp_path / name
        path.write_text(text)
        return read_trace(path)

    return read


def rows(trace):
    return [(round(row.at, 6), row.input, row.output) for row in map(trace.row, range(len(trace)))]


def test_azures_dates_with_seven_decimals_begin_at_the_first(read):
    assert rows(read(AZURE)) == [(0, 374, 44), (4.314579, 396, 109), (4.541977, 879, 55)]
    assert rows(read(AZURE_2024)) == [(0, 2162, 5), (0.007405, 2399, 6)]


def test_burstgpts_rows_without_response_tokens_are_failures_left_out_and_counted(read):
    trace = read(BURST)
    assert rows(trace) == [(0, 472, 18), (113, 417, 276)]
    assert "1 row skipped: its answer has 0 tokens (a failure)" in trace.describe(1)


def test_burstgpts_rows_of_one_session_are_known_as_such(read):
    trace = read(BURST_SESSIONS)
    assert [(row.session, row.elapsed) for row in map(trace.row, range(3))] == [("17", 3.5), ("", 1.0), ("17", 2.0)]
    assert [trace.row_of_arrival(number) for number in range(3)] == [0, 1, 0]
    assert trace.later_turns == {0: [2]}
    assert len([*trace.arrivals(1)]) == 2
    assert "3 requests of 2 conversations in " in trace.describe(1)


def test_mooncakes_times_are_milliseconds(read):
    """An hour's trace ends at 3,536,999 (https://github.com/kvcache-ai/Mooncake)."""
    trace = read(MOONCAKE)
    assert rows(trace) == [(0, 6755, 500), (3, 7319, 490), (3536.999, 600, 794)]
    assert trace.row(1).blocks == (0, 14, 15)
    assert trace.seconds == pytest.approx(3536.999)


def test_a_trace_is_described_with_its_unit_length_and_rate(read):
    said = read(MOONCAKE, "mooncake.jsonl").describe(1)
    assert (
        said == "mooncake.jsonl: Mooncake's form (times in milliseconds), 3 requests in 58 min 57 s, 0.00085 a second"
    )
    assert (
        read(BURST)
        .describe(2)
        .startswith(
            "trace: BurstGPT's form (times in seconds), 2 requests in 56.5 s, 0.035 a second at speed 2; 1 row skipped"
        )
    )


def test_speed_halves_all_intervals(read):
    trace = read(AZURE)
    assert [*trace.arrivals(2)] == pytest.approx([0, 4.314579 / 2, 4.541977 / 2])


def test_rows_out_of_order_are_sorted_with_all_that_belongs_to_them(read):
    first, second, *others = MOONCAKE.splitlines(keepends=True)
    trace = read("".join((second, first, *others)))
    assert rows(trace)[:2] == [(0, 6755, 500), (3, 7319, 490)]
    assert trace.row(1).blocks == (0, 14, 15)


def test_invalid_traces_are_reported_with_their_line(read):
    cases = {
        "a,b\n1,2\n": "the columns are a, b; give one with TIMESTAMP, ContextTokens, GeneratedTokens",
        "": "the file is empty",
        AZURE + "yesterday,1,2\n": ":5: TIMESTAMP: 'yesterday'; expected a date",
        AZURE + "2023-11-16 18:15:52,many,2\n": ":5: ContextTokens: 'many'; expected a whole number, 0 or more",
        AZURE + "2023-11-16 18:15:52,1\n": ":5: 2 columns; expected 3",
        BURST + "-,GPT,1,2,3,x\n": ":5: Timestamp: '-'; expected a number",
        MOONCAKE + "{}\n": ":4: timestamp: missing",
        MOONCAKE + "[1]\n": ":4: this is not a JSON object",
        MOONCAKE + '{"timestamp": 1, "input_length": "1", "output_length": 2}\n': ":4: input_length: '1'; expected",
        MOONCAKE
        + '{"timestamp": 1, "input_length": 1, "output_length": 2, "hash_ids": 5}': ":4: hash_ids: 5; expected",
        "Timestamp,Model,Request tokens,Response tokens\n1,x,5,0\n": "no row can be sent",
    }
    for text, said in cases.items():
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert said in str(caught.value), (text, str(caught.value))


def test_only_the_first_mistakes_are_listed_and_others_counted(read):
    with pytest.raises(ConfigError) as caught:
        read(BURST + "x,y,z,a,b,c\n" * 500)
    assert len(caught.value.mistakes) == 11
    assert "490 more lines like these" in str(caught.value)


def test_numbers_that_no_clock_and_no_model_has_are_mistakes_of_their_lines(tmp_path):
    for name, text in (
        ("time.jsonl", '{"timestamp":%s,"input_length":1,"output_length":1}' % ("9" * 500)),
        ("tokens.jsonl", '{"timestamp":1,"input_length":%s,"output_length":1}' % ("9" * 500)),
        ("tokens.csv", f"Timestamp,Model,Request tokens,Response tokens\n1,m,{'9' * 6000},1\n"),
        ("time.csv", f"Timestamp,Model,Request tokens,Response tokens\n{'9' * 6000},m,1,1\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_trace(path)
        (mistake,) = caught.value.mistakes
        assert mistake.line in (1, 2), name
