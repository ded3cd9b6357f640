"""Conditions as JUnit's XML, which programs for continuous integration show: a suite a run, a case a condition."""

from collections.abc import Sequence
from xml.etree import ElementTree

from loadtest.exchange.plain_text import plain_text
from loadtest.figures.conditions import ConditionVerdict
from loadtest.figures.result import RunResult


def junit(runs: Sequence[RunResult], verdicts: Sequence[ConditionVerdict]) -> bytes:
    """The whole file."""
    root = ElementTree.Element("testsuites", name="trigate load")
    for run in runs:
        stopped = (run.target or run.url) if run.stopped else ""  # `--until` knows no labels of several runs
        of_run = [one for one in verdicts if one.run in (run.name, stopped)]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=plain_text(run.name),
            tests=str(len(of_run)),
            failures=str(sum(not one.ok for one in of_run)),
            errors="0",
            skipped="0",
            time=f"{run.elapsed:.3f}",
            timestamp=run.started,
        )
        for one in of_run:
            _case(suite, run, one)
    for name in ("tests", "failures"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return b"%b\n" % ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _case(suite: ElementTree.Element, run: RunResult, verdict: ConditionVerdict) -> None:
    condition = plain_text(verdict.condition)
    case = ElementTree.SubElement(suite, "testcase", classname=plain_text(run.name), name=f"not {condition}", time="0")
    if not verdict.ok:
        ElementTree.SubElement(case, "failure", type="condition", message=plain_text(verdict.failure))
