"""The last stage of a response: it returns the client's own values."""

import msgspec

from gateway.features.steps.holding import HoldingStage
from gateway.features.steps.masks import LONGEST_PLACEHOLDER, PLACEHOLDER, Span, open_placeholder
from gateway.features.steps.runs import Run


class RestoringStage(HoldingStage):
    """A stage that replaces the placeholders of this exchange by the client's own values."""

    async def judge(self) -> None:
        for run in self.runs:
            if not self.waits_for_end(run):
                self._restore(run, run.length if run.is_complete else run.start + open_placeholder(run.text))
            elif run.is_complete:
                self._restore(run, run.length)

    def waits_for_end(self, run: Run) -> bool:
        return run.part in ("tool_calls", "reasoning")

    def _restore(self, run: Run, safe: int) -> None:
        if safe <= run.released and not run.is_complete:
            return
        if run not in self.sealed:
            encode = _escape_for_json if run.part == "tool_calls" else str
            values = self.placeholders.values
            start = max(run.start, run.released - LONGEST_PLACEHOLDER)
            placeholders = PLACEHOLDER.finditer(run.text, start - run.start, safe - run.start)
            spans = [
                Span(found.start(), found.end(), "", encode(values[found[0]]))
                for found in placeholders
                if found[0] in values
            ]
            if spans:
                run.mask(spans, run.start)
        self.release(run, safe)
        run.forget_before(run.released - LONGEST_PLACEHOLDER)


def _escape_for_json(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]
