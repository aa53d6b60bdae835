"""Records: tuples with names, as `typing.NamedTuple` makes them, for less of a start.

Invariant: to type checkers a record is a `NamedTuple`, and it behaves like one. That one compiles a
constructor for every class, an eighth of a millisecond each, of which a start would pay ten; here
they share one, which is slower to call. So nothing that happens at every call is a record.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

__all__ = ["Record"]

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:

    class Record(tuple):
        """The base of records, whose fields are the annotations of their class."""

        __slots__ = ()
        _fields = __match_args__ = ()
        _field_defaults = {}  # noqa: RUF012 - as NamedTuple has it

        def __init_subclass__(cls) -> None:
            # None are a subclass's of a record: it has the record's fields.
            fields = tuple(cls.__annotations__)
            if not fields:
                return
            cls._fields = cls.__match_args__ = fields
            cls._field_defaults = {n: cls.__dict__[n] for n in fields if n in cls.__dict__}
            for index, name in enumerate(fields):
                setattr(cls, name, property(itemgetter(index)))

        def __new__(cls, *values: Any, **named: Any) -> Any:
            """Make a record of its fields, in order or by name."""
            fields = cls._fields
            if named or len(values) != len(fields):
                given, open_fields = {**cls._field_defaults, **named}, fields[len(values) :]
                values += tuple([given[name] for name in open_fields if name in given])
                if len(values) != len(fields) or not named.keys() <= set(open_fields):
                    raise TypeError(f"{cls.__name__}: expected {', '.join(fields)}, each once.")
            return tuple.__new__(cls, values)

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            shown = [f"{name}={value!r}" for name, value in self._asdict().items()]
            return f"{type(self).__name__}({', '.join(shown)})"

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **named: Any) -> Record:
            return type(self)(**{**self._asdict(), **named})

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Record:
            return cls(*values)
