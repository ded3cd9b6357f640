"""The attributes of spans, as values."""

from gateway.features.tracing.spans import AttemptTimes, call_attributes, operation_of
from gateway.ledger.bill import Bill
from gateway.ledger.record import Record
from streams.events import Usage


def test_a_span_has_the_request_settings_and_the_billed_units():
    """The names of operations are those of the conventions (open-telemetry/semantic-conventions-genai)."""
    names = {None: "chat", "embeddings": "embeddings", "completions": "text_completion", "speech": "speech"}
    assert {one: operation_of(Record("r", "chat", endpoint=one)) for one in names} == names
    record = Record(
        "r", "chat", endpoint="image_edits", bill=Bill(usage=Usage(units=(("image", 2),)), is_complete=True)
    )
    found = call_attributes(record, [AttemptTimes("https://h/v1/images/edits")])
    assert (found["gen_ai.operation.name"], found["trigate.units.image"]) == ("image_edits", 2)
