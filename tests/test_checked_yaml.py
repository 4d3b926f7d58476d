"""The walk over a schema: it judges as jsonschema does."""

import json

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from heliobus.checked_yaml import FORMATS, Reader, compose
from heliobus.errors import ConfigError

PLAIN = {
    "type": "object",
    "required": ["a"],
    "additionalProperties": False,
    "properties": {
        "a": {"type": "integer", "minimum": 1, "maximum": 9},
        "b": {"type": ["string", "boolean"], "maxLength": 3, "pattern": "^[a-z]*$"},
        "c": {"type": "array", "items": {"type": "number"}},
        "d": {"enum": ["x", "y"], "type": "string"},
        "e": {"type": "object", "patternProperties": {"^p": {"type": "boolean"}}},
    },
}
VALUES = st.one_of(
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([0.5, 1.0, 2.25]),
    st.sampled_from(["x", "y", "abcd", "A", "1", "true"]),
    st.lists(st.sampled_from([1, 2.5, "x", True]), max_size=3),
    st.dictionaries(st.sampled_from(["p", "pq", "z"]), st.booleans(), max_size=2),
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "f"]), VALUES))
def test_the_walk_over_a_schema_agrees_with_jsonschema(tree: dict[str, object]) -> None:
    node = compose(json.dumps(tree), "x")
    assert node is not None
    reader = Reader("x", formats=FORMATS, environ={})
    value = reader.root(node, PLAIN)
    # 1.0 is a whole number to JSON Schema; in a file people read it as one with a point.
    strict = jsonschema.Draft202012Validator(PLAIN).is_valid(tree) and tree.get("a") != 1.0
    try:
        reader.finish()
    except ConfigError:
        assert not strict
    else:
        assert value == tree
        assert jsonschema.Draft202012Validator(PLAIN).is_valid(tree)
