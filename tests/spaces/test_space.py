"""Spaces: conditions, forbidden clauses, counting, points, pinning."""

import itertools
import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spaces.domains import Fixed
from spaces.space import Point, Space, SpaceError

TEXT = """
rnn: [none, gru, lstm]
nodes: {int: [8, 32], step: 8, when: {rnn: {not: none}}}
bias: {choice: [false, true], when: {rnn: [gru, lstm], nodes: {not: [8, 16]}}}
head: {choice: [a, b], when: [{rnn: none}, {bias: true}]}
drop: [0.0, 0.5]
forbidden:
  - {when: {rnn: lstm, drop: 0}, why: overfits}
"""
TINY = {"a": [0, 1], "b": {"choice": [0, 1], "when": {"a": 1}}}


def space(text=TEXT, name="demo"):
    return Space.from_dict(name, yaml.safe_load(text) if isinstance(text, str) else text)


def faults(action):
    with pytest.raises(SpaceError) as caught:
        action()
    return caught.value.faults


def test_points_by_hand():
    assert [dict(point) for point in space(TINY).enumerate()] == [{"a": 0}, {"a": 1, "b": 0}, {"a": 1, "b": 1}]


def test_size_is_exact_and_enumeration_meets_every_point_once():
    # none: head 2 x drop 2; gru: (8, 16: 2; 24, 32: 2 x (bias false 1 + bias true x head 2)) x drop 2; lstm: drop 1
    per_cell = 2 + 2 * (1 + 2)
    assert space().size == 2 * 2 + per_cell * 2 + per_cell * 1
    points = list(space().enumerate())
    assert len({point.digest for point in points}) == len(points) == space().size
    assert all(space().point(point) == point for point in points)
    assert len(list(space().enumerate(limit=3))) == 3


def test_size_does_not_walk_the_points():
    wide = {f"p{index}": {"int": [1, 10**6]} for index in range(30)}
    wide["last"] = {"choice": [1, 2, 3], "when": {"p0": {"not": 7}}}
    assert space(wide).size == 10 ** (6 * 29) * (3 * (10**6 - 1) + 1)


def test_continuous_spaces_are_named_not_listed():
    mixed = space({"lr": {"float": [0.1, 1.0]}, "a": [1, 2]})
    assert mixed.size is None
    assert faults(lambda: list(mixed.enumerate())) == ("demo: expected countable parameters only, found lr",)
    assert mixed.pin({"lr": 1}).size == 2


def test_a_continuous_parameter_that_is_never_active_does_not_count():
    data = {"a": "x", "lr": {"float": [0.1, 1.0], "when": {"a": {"not": "x"}}}, "b": [1, 2]}
    assert (space(data).size, space(data).free) == (2, ("b",))


def test_assemble_asks_in_order_for_active_free_parameters_only():
    asked = []

    def suggest(name, _):
        asked.append(name)
        return {"rnn": "gru", "nodes": 24, "bias": True, "head": "b", "drop": 0}[name]

    point = space().pin({"nodes": 24}).assemble(suggest)
    assert asked == ["rnn", "bias", "head", "drop"]
    assert point == {"rnn": "gru", "nodes": 24, "bias": True, "head": "b", "drop": 0.0}
    assert type(point["drop"]) is float


def test_assemble_names_bad_suggestions():
    values = {"rnn": "lstm", "nodes": 8, "drop": 0.0}
    with pytest.raises(SpaceError, match=r"^demo.drop: expected one of 0.5, found 0.0$"):
        space().assemble(lambda name, _: values[name])
    with pytest.raises(SpaceError, match=r"demo.rnn: expected one of none, gru, lstm, found 3"):
        space().assemble(lambda *_: 3)


@given(st.data())
def test_assembled_points_are_points(data):
    def suggest(_, domain):
        return data.draw(st.sampled_from(list(domain.members())))

    point = space().assemble(suggest)
    assert space().point(dict(reversed(list(point.items())))) == point


def test_point_tells_all_faults_at_once():
    found = faults(lambda: space().point({"rnn": "gru", "nodez": 8, "bias": True, "head": "c", "drop": 2}))
    assert found == (
        "demo.nodez: expected a parameter of this space, found an unknown name (did you mean nodes?)",
        "demo.nodes: expected a whole number from 8 to 32 in steps of 8, found no value",
        "demo.head: expected one of a, b, found c",
        "demo.drop: expected one of 0.0, 0.5, found 2",
    )
    assert faults(lambda: space().point({"rnn": "none", "nodes": 8, "head": "a", "drop": 0})) == (
        "demo.nodes: expected no value (active only when rnn is not none), found 8",
    )
    assert faults(lambda: space().point({"rnn": "lstm", "nodes": 8, "drop": 0})) == (
        "demo: forbidden (rnn is lstm and drop is 0.0): overfits",
    )


def test_point_digest_depends_on_types_not_on_order():
    kinds = [Point({"a": value}) for value in (1, 1.0, True, "1")]
    assert len(set(kinds)) == 4
    assert all(left != right for left, right in itertools.combinations(kinds, 2))
    assert Point({"a": 1, "b": 2}) == Point({"b": 2, "a": 1})
    assert Point({"a": 1}).digest == "015abd7f5cc57a2d"
    assert pickle.loads(pickle.dumps(kinds[0])) == kinds[0]


def test_one_value_has_one_digest_however_it_is_spelt():
    floats = space({"x": {"float": [0, 2]}})
    assert floats.point({"x": 1}).digest == floats.point({"x": 1.0}).digest
    assert faults(lambda: floats.point({"x": True})) == ("demo.x: expected a number from 0.0 to 2.0, found true",)


def test_fixed_parameters_may_be_left_out_of_a_point():
    pinned = space(TINY).pin({"b": 1})
    assert pinned.point({"a": 1}) == {"a": 1, "b": 1}
    assert pinned.point({"a": 0}) == {"a": 0}


def test_pin():
    pinned = space().pin({"rnn": "none", "drop": 0})
    assert (pinned.size, pinned.free) == (2, ("head",))
    assert isinstance(pinned.parameters[0].domain, Fixed)
    assert Space.from_dict("demo", pinned.to_dict()) == pinned
    assert pinned.digest != space().digest
    assert faults(lambda: space().pin({"rn": "none", "nodes": 9})) == (
        "demo.rn: expected a parameter of this space, found an unknown name (did you mean rnn?)",
        "demo.nodes: expected a whole number from 8 to 32 in steps of 8, found 9",
    )
    assert faults(lambda: space().pin({"rnn": "lstm", "drop": 0})) == (
        "demo: expected at least one possible point, found none",
    )


def test_round_trip_through_plain_data():
    again = Space.from_dict("demo", yaml.safe_load(yaml.safe_dump(space().to_dict(), sort_keys=False)))
    assert again == space()
    assert again.digest == space().digest
    assert pickle.loads(pickle.dumps(again)) == again


def test_space_digest_sees_order_ranges_and_clauses_but_not_the_name():
    base = {"a": [0, 1], "b": [0, 1]}
    others = [{"b": [0, 1], "a": [0, 1]}, {"a": [0, 1], "b": [0, 2]}, {"a": [0, 1.0], "b": [0, 1]}, TINY]
    clause = {"forbidden": [{"when": {"a": 0, "b": 1}, "why": "because"}]}
    digests = {space(data).digest for data in (base, *others, {**base, **clause})}
    assert len(digests) == 6
    assert space(base, "another").digest == space(base).digest


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "demo: expected at least one possible point, found none"),
        ({"a": []}, "demo.a: expected at least one value, found an empty choice"),
        ({"a": {"float": [2, 1]}}, "demo.a: expected low <= high, found 2.0 > 1.0"),
        ({"a": {"float": [0, 1], "log": True}}, "demo.a: expected low > 0 with log, found 0.0"),
        (
            {"a": {"float": ["1e-4", 1]}},
            "demo.a: expected a number, found the text '1e-4'; YAML needs its point: 1.0e-04",
        ),
        ({"a": {"int": 3}}, "demo.a: expected int: [low, high], found 3"),
        ({"a": {"int": [1, 2], "stepp": 2}}, "demo.a: expected only log, step, when beside int, found stepp"),
        ({"a": {"float": [1, 2], "log": 1}}, "demo.a: log: expected true or false, found 1"),
        ({"a": None}, "demo.a: expected a truth value, a finite number or text, found null"),
        ({"a": {"flaot": [1, 2]}}, "demo.a: expected a value, a list, {float: [low, high]}"),
        ({"a": 1, "b": {"fixed": 1, "when": {"c": 1}}, "c": 2}, "demo.b.when.c: expected a parameter declared earlier"),
        ({"nodes": [1, 2], "b": {"fixed": 1, "when": {"node": 1}}}, "(did you mean nodes?)"),
        ({"a": [1, 2], "b": {"fixed": 1, "when": {"a": 3}}}, "demo.b.when.a: expected one of 1, 2, found 3"),
        ({"a": [1, 2], "b": {"fixed": 1, "when": {"a": {"nott": 3}}}}, "demo.b.when.a: expected a value, a list"),
        ({"a": [1, 2], "b": {"fixed": 1, "when": "a"}}, "demo.b.when: expected a mapping parameter: value"),
        ({"a": {"float": [0, 1]}, "b": {"fixed": 1, "when": {"a": 1}}}, "expected a parameter with countable values"),
        ({"a": [1, 2], "forbidden": [{"when": {"a": 1}}]}, "demo.forbidden.0: expected {when: condition, why: text}"),
        ({"a": [1, 2], "forbidden": {"when": {"a": 1}}}, "demo.forbidden: expected a list"),
        ({"a": [1, 2], "forbidden": [{"when": {"a": [1, 2]}, "why": "x"}]}, "expected at least one possible point"),
    ],
)
def test_faulty_spaces_say_so(data, expected):
    (fault,) = faults(lambda: space(data))
    assert expected in fault


def test_all_faults_of_a_space_at_once():
    data = {"a": [], "b": {"int": [2, 1]}, "c": {"choice": [1], "when": {"a": 5, "zz": 1}}}
    assert [line.split(":")[0] for line in faults(lambda: space(data))] == ["demo.a", "demo.b", "demo.c.when.zz"]


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(SpaceError("one", "two")))
    assert (error.faults, str(error)) == (("one", "two"), "one\ntwo")
