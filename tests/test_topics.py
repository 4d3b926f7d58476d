"""Topics: what is built is what is parsed, and nothing else is taken for ours."""

import pytest

from heliobus.errors import ConfigError
from heliobus.topics import Address, Topics, slug

TOPICS = Topics("farm")


def test_topics_read_as_the_contract_says() -> None:
    assert TOPICS.device("axpert", "state") == "heliobus/farm/axpert/state"
    assert TOPICS.component("archive", "history") == "heliobus/farm/bus/archive/history"
    assert TOPICS.command("axpert", "rules") == "heliobus/farm/axpert/set/rules"
    assert TOPICS.value("hass", "axpert", "mode") == "heliobus/farm/bus/hass/set/axpert/mode"
    assert Topics("farm", "home/solar").device("a", "info") == "home/solar/farm/a/info"


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        ("heliobus/farm/axpert/state", Address("farm", "state", device="axpert")),
        ("heliobus/hut/axpert/set/rules", Address("hut", "set", device="axpert", issuer="rules")),
        ("heliobus/farm/bus/archive/status", Address("farm", "status", component="archive")),
        (
            "heliobus/farm/bus/hass/set/axpert/mode",
            Address("farm", "set", device="axpert", component="hass", name="mode"),
        ),
    ],
)
def test_a_topic_of_ours_is_taken_apart(topic: str, address: Address) -> None:
    assert TOPICS.parse(topic) == address


@pytest.mark.parametrize(
    "topic",
    [
        "", "heliobus", "heliobus/farm", "heliobus/farm/axpert", "heliobus/farm//state",
        "heliobus/farm/bus/status", "heliobus/farm/bus//status", "heliobus/farm/bus/archive/",
        "heliobus/farm/bus/set/rules/x", "heliobus/farm/axpert/set/", "heliobus/farm/axpert/a/b",
        "other/farm/axpert/state", "heliobusfarm/axpert/state", "homeassistant/sensor/x/config",
    ],
)  # fmt: skip
def test_a_topic_of_others_is_none_of_ours(topic: str) -> None:
    assert TOPICS.parse(topic) is None


def test_a_base_with_slashes_is_parsed_back() -> None:
    topics = Topics("farm", "home/solar")
    assert topics.parse("home/solar/farm/a/info") == Address("farm", "info", device="a")


def test_the_command_to_a_device_called_set_is_none_to_a_component() -> None:
    assert TOPICS.parse("heliobus/farm/bus/set/status") == Address(
        "farm", "status", component="set"
    )


@pytest.mark.parametrize("text", ["", "Axpert", "a b", "a/b", "a-b", "ä", "a\n", "+", "#"])
def test_what_cannot_stand_in_a_topic_is_no_name(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        slug(text, "devices.x")
    assert str(refused.value) == (
        f"devices.x: found {text!r}, expected lower-case letters, digits and _"
    )


def test_the_name_bus_is_reserved() -> None:
    with pytest.raises(ConfigError, match="the name 'bus' is reserved; choose another"):
        slug("bus", "devices")
    assert slug("bus_2", "devices") == "bus_2"
