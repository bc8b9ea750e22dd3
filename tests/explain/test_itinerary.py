"""The JSON of an itinerary is what docs/trace.md says."""

from __future__ import annotations

import json

from kproxy.explain.itinerary import VERSION, Ends, from_values
from tests.explain.itineraries import ITINERARY, THROUGH
from tests.explain.trace_schema import PAGE, schema_problems


def test_the_page_describes_all_of_it() -> None:
    for itinerary in (ITINERARY, THROUGH):
        assert schema_problems(json.loads(json.dumps(itinerary.values))) == []
    assert f'"version": {VERSION}' in PAGE.read_text()


def test_the_check_finds_what_is_wrong() -> None:
    values = json.loads(json.dumps(ITINERARY.values))
    del values["hops"][0]["before"]["source"]
    values["question"]["port"] = "80"
    values["more"] = 1
    del values["at"]
    problems = schema_problems(values)
    assert sorted(each.partition(":")[0] for each in problems) == ["at", "more", "question.port"]
    for each in values["hops"]:
        each["before"].pop("source", None)
    assert "hops[].before.source: missing" in schema_problems(values)


def test_it_is_the_same_after_a_journey_as_json() -> None:
    assert from_values(json.loads(json.dumps(ITINERARY.values))) == ITINERARY


def test_ends_turned_round() -> None:
    ends = Ends("10.0.0.1", 20000, "10.0.0.2", 80)
    assert ends.turned == Ends("10.0.0.2", 80, "10.0.0.1", 20000)
    echo = Ends("10.0.0.1", 77, "10.0.0.2", 0)  # an echo keeps its identifier
    assert echo.turned == Ends("10.0.0.2", 77, "10.0.0.1", 0)
