"""Patterns of topics, the filters that they need, and names made of what they capture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.mqtt.owners import slug
from bridges.mqtt.patterns import apart, covering, covers, filters, overlap, pattern, template
from heliobus.errors import ConfigError
from heliobus.paho import mqtt
from heliobus.topics import SLUG

INPUT = {"input": "(?:[1-6])", "n": "(?:[0-9]+)"}


@pytest.mark.parametrize(
    ("text", "topic", "captures"),
    [
        ("solar/{serial}/0/{leaf}", "solar/1164/0/power", {"serial": "1164", "leaf": "power"}),
        ("solar/{serial}/0/{leaf}", "solar/1164/1/power", None),
        ("solar/{serial}/0/{leaf}", "solar/1164/0/heap/size", None),
        ("{input}/x", "6/x", {"input": "6"}),
        ("{input}/x", "7/x", None),
        ("inverter_{n}/{leaf}", "inverter_12/power", {"n": "12", "leaf": "power"}),
        ("inverter_{n}/{leaf}", "inverter_/power", None),
        ("{prefix...}/status", "a/status", {"prefix": "a"}),
        ("{prefix...}/status", "a/b/c/d/status", {"prefix": "a/b/c/d"}),
        ("{prefix...}/status", "a/b/c/d/e/status", None),
        ("{prefix...}/status", "status", None),
        ("dtu/{leaf...}", "dtu/heap/size", {"leaf": "heap/size"}),
        ("{id}/{id}/power", "a/a/power", {"id": "a"}),
        ("{id}/{id}/power", "a/b/power", None),
        ("a.b/{leaf}", "axb/power", None),
        ("{leaf}", "line\nbreak", {"leaf": "line\nbreak"}),
    ],
)
def test_a_topic_fits_or_it_does_not(
    text: str, topic: str, captures: dict[str, str] | None
) -> None:
    assert pattern(text, INPUT).match(topic) == captures


def test_an_expression_that_takes_more_levels_than_its_capture_may_have_does_not_fit() -> None:
    assert pattern("{any}/x", {"any": "(?:.+)"}).match("a/x") == {"any": "a"}
    assert pattern("{any}/x", {"any": "(?:.+)"}).match("a/b/x") is None
    assert pattern("{any...}", {"any": "(?:.+)"}).match("a/b/c/d/e") is None


@pytest.mark.parametrize("text", ["{Serial}", "{serial", "serial}", "{}", "{a..}", "{a:2}"])
def test_what_is_no_capture_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected captures like"):
        pattern(text, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("solar/{serial}/0/{leaf}", ["solar/+/0/+"]),
        ("inverter_{n}/x", ["+/x"]),
        ("dtu/{leaf...}", ["dtu/#"]),
        ("{a...}/status", ["+/status", "+/+/status", "+/+/+/status", "+/+/+/+/status"]),
        ("dtu/status", ["dtu/status"]),
    ],
)
def test_a_pattern_needs_these_filters(text: str, expected: list[str]) -> None:
    assert list(filters(text)) == expected


def test_a_wildcard_of_mqtt_is_not_a_part_of_a_pattern() -> None:
    with pytest.raises(ConfigError, match=r"expected \{name\} where MQTT has \+ or #"):
        list(filters("solar/+/power"))


def test_filters_that_others_cover_are_left_out() -> None:
    wanted = ["a/1/x", "a/+/x", "a/+/+", "b", "a/b/c/d", "a/#", "c/+", "+/d"]
    assert covering(wanted) == ["b", "a/#", "c/+", "+/d"]


def test_filters_that_overlap_become_one_that_takes_what_both_take() -> None:
    assert apart(["a/+/+/+", "a/+/name", "a/dtu/#"]) == [
        "a/+/+/+",
        "a/dtu/+/+/+",
        "a/dtu/+/+/+/+",
        "a/+/+",
    ]


def test_filters_that_would_become_everything_stay_as_they_are() -> None:
    assert apart(["tele/+/LWT", "+/tele/LWT", "c/#", "c/d/e"]) == [
        "tele/+/LWT",
        "+/tele/LWT",
        "c/#",
    ]


def test_a_leaf_is_as_long_as_what_is_looked_up() -> None:
    assert list(filters("dtu/{leaf...}", 2)) == ["dtu/+", "dtu/+/+"]


LEVELS = st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=4)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]), LEVELS, st.sampled_from([[], ["#"]])
)
TOPICS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5).map("/".join)


@given(FILTERS, FILTERS, TOPICS)
def test_what_a_covered_filter_takes_the_other_one_takes(
    wide: str, narrow: str, topic: str
) -> None:
    if covers(wide, narrow) and mqtt.topic_matches_sub(narrow, topic):
        assert mqtt.topic_matches_sub(wide, topic)


@given(FILTERS, FILTERS, TOPICS)
def test_a_topic_that_fits_two_filters_is_seen_by_their_overlap(
    one: str, other: str, topic: str
) -> None:
    if mqtt.topic_matches_sub(one, topic) and mqtt.topic_matches_sub(other, topic):
        assert overlap(one, other)


PATTERNS = st.lists(
    st.sampled_from(["a", "b", "{x}", "c_{y}", "{z...}"]), min_size=1, max_size=4, unique=True
).map("/".join)


@given(PATTERNS, TOPICS | st.text())
def test_a_topic_that_fits_is_heard(text: str, topic: str) -> None:
    if pattern(text, {}).match(topic) is not None:
        assert any(mqtt.topic_matches_sub(one, topic) for one in filters(text))


@given(st.lists(PATTERNS, min_size=1, max_size=4), TOPICS)
def test_filters_that_are_put_apart_take_all_that_their_patterns_take(
    texts: list[str], topic: str
) -> None:
    found = apart(one for text in texts for one in filters(text))
    if any(pattern(text, {}).match(topic) for text in texts):
        assert any(mqtt.topic_matches_sub(one, topic) for one in found)


@given(st.lists(PATTERNS.map(lambda text: "base/" + text), min_size=1, max_size=4), TOPICS)
def test_below_one_base_no_topic_is_heard_twice(texts: list[str], topic: str) -> None:
    found = apart(one for text in texts for one in filters(text))
    assert sum(mqtt.topic_matches_sub(one, f"base/{topic}") for one in found) <= 1


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("pv_{input:2}_w", "pv_03_w"),
        ("pv_{input+1:2}_w", "pv_04_w"),
        ("pv_{input-1}_w", "pv_2_w"),
        ("{word}_{input}", "roof_3"),
        ("{word:2}_w", None),
        ("{input-5}_w", None),
        ("{missing}_w", None),
        ("output_w", "output_w"),
    ],
)
def test_a_template_is_filled(text: str, filled: str | None) -> None:
    assert template(text).fill({"input": "3", "word": "roof"}) == filled


@pytest.mark.parametrize("text", ["{a:}", "{a+}", "{A}", "a}", "{a:22}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected captures like"):
        template(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tasmota_9CF9D1", "tasmota_9cf9d1"),
        ("Living Room/Plug 1", "living_room_plug_1"),
        ("Küche", "kuche"),
        ("-a-", "a"),
        ("x" * 80, "x" * 58 + "_0fe8"),
        ("Straße 1", "strasse_1"),
        # Where letters are lost, others may be called the same.
        ("кухня", "device_bc0a658c"),
        ("Лампа 1", "1_7974"),
        ("Стол 1", "1_da63"),
        ("bus", "device_2f566b69"),
    ],
)
def test_a_name_is_made_of_what_topics_say(text: str, name: str) -> None:
    assert slug(text) == name


@given(st.text())
def test_every_text_gives_a_name_that_a_topic_may_have(text: str) -> None:
    assert SLUG.match(slug(text))
    assert slug(text) != "bus"
