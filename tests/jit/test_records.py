"""Records do what named tuples do."""

import copy
import pickle
from typing import NamedTuple

import pytest

from warp_bitonic_sort.records import Record


class _Point(Record):
    x: int
    y: int = 0
    label: str = "p"


class _Located(_Point):
    """Has the fields of what it derives from."""


class _Reference(NamedTuple):
    x: int
    y: int = 0
    label: str = "p"


@pytest.mark.parametrize("kind", [_Point, _Located, _Reference])
def test_a_record_is_a_named_tuple(kind):
    made = kind(1, label="q")
    assert made == (1, 0, "q") == kind(x=1, y=0, label="q") == kind._make([1, 0, "q"])
    assert hash(made) == hash((1, 0, "q"))
    assert (made.x, made.y, made.label) == tuple(made)
    assert repr(made) == f"{kind.__name__}(x=1, y=0, label='q')"
    assert made._replace(y=5) == (1, 5, "q")
    assert type(made._replace(y=5)) is kind
    assert made._asdict() == {"x": 1, "y": 0, "label": "q"}
    assert kind._fields == kind.__match_args__ == ("x", "y", "label")
    assert kind._field_defaults == {"y": 0, "label": "p"}
    for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):  # noqa: S301 - our own
        assert again == made
        assert type(again) is kind
    with pytest.raises(AttributeError):
        made.x = 2


@pytest.mark.parametrize("kind", [_Point, _Located, _Reference])
@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((), {"y": 1}), ((1, 2, "", 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1})],
)
def test_what_does_not_fit_its_fields_is_refused(kind, values, named):
    with pytest.raises(TypeError):
        kind(*values, **named)
