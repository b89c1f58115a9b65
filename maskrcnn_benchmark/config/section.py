"""A group of keys: typed, documented and validated, and read and written as the old configuration nodes were.

A key is an upper-case field. Each section knows its place (`MODEL.RPN`), where each of its values came from, and
whether it is frozen.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo

from maskrcnn_benchmark.config.describe import describe_field, describe_value
from maskrcnn_benchmark.config.literals import to_value
from maskrcnn_benchmark.config.suggest import nearest
from maskrcnn_benchmark.errors import ConfigError

DEFAULT = "default"
IN_CODE = "set in code"

_Section = TypeVar("_Section", bound="Section")


class UnknownKeyError(ConfigError, AttributeError, KeyError):
    """A key that does not exist; also what a missing attribute or dictionary key raises."""

    def __str__(self) -> str:
        """Return the message as it is (a KeyError would quote it)."""
        return str(self.args[0])


class Section(BaseModel):
    """A group of keys.

    Attribute access, `section["KEY"]`, `"KEY" in section` and iteration over the keys all work. Assignment checks
    the value, and raises ConfigError for an unknown key, a wrong value or a frozen section.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", validate_assignment=True, allow_inf_nan=False
    )

    _path: str = PrivateAttr(default="")
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _frozen: bool = PrivateAttr(default=False)

    # --- reading ---

    if not TYPE_CHECKING:  # a typed reader should still be told of a key that does not exist

        def __getattr__(self, name: str) -> Any:
            """Explain a key that does not exist."""
            if name.startswith("_"):
                return super().__getattr__(name)
            raise self._unknown(name)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a key, or a section."""
        if name not in type(self).model_fields:
            raise self._unknown(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        """Say whether the key exists."""
        return name in type(self).model_fields

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """Iterate over the names of keys and sections."""
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        """Return the number of keys and sections."""
        return len(type(self).model_fields)

    def __eq__(self, other: object) -> bool:
        """Compare the values; where they came from does not matter."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def keys(self) -> Iterable[str]:
        """Return the names of keys and sections."""
        return type(self).model_fields.keys()

    def values(self) -> list[Any]:
        """Return the values, sections included."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, Any]]:
        """Return (name, value) pairs, sections included."""
        return [(name, self[name]) for name in self]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` where there is no such key."""
        return getattr(self, name) if name in type(self).model_fields else default

    def walk(self) -> Iterator[tuple[Section, str]]:
        """Yield (section, name) for every key here and below, in order of definition."""
        for name, value in self.items():
            if isinstance(value, Section):
                yield from value.walk()
            else:
                yield self, name

    def key(self, name: str) -> str:
        """Return the full name of a key, for example SOLVER.BASE_LR."""
        return f"{self._path}.{name}" if self._path else name

    def field(self, name: str) -> FieldInfo:
        """Return type, limits, default and meaning of a key."""
        return type(self).model_fields[name]

    def origin_of(self, name: str) -> str:
        """Return where the value of one of this section's own keys came from."""
        return self._origins.get(name, DEFAULT)

    # --- writing ---

    if not TYPE_CHECKING:  # a typed writer should be told of wrong names and values beforehand

        def __setattr__(self, name: str, value: Any) -> None:
            """Check and set a key."""
            if name.startswith("_"):
                super().__setattr__(name, value)
            else:
                self.assign(name, value, origin=IN_CODE)

    def __setitem__(self, name: str, value: Any) -> None:
        """Check and set a key."""
        self.assign(name, value, origin=IN_CODE)

    def __delattr__(self, name: str) -> None:
        """Refuse: keys can be set, not removed."""
        raise ConfigError(f"{self.key(name)} cannot be removed; set it to the value wanted.")

    def assign(self, name: str, value: object, *, origin: str) -> None:
        """Check and set a key, and note where its value came from.

        Raises:
            ConfigError: unknown key, wrong type, impossible value, or a frozen section.
        """
        field = type(self).model_fields.get(name)
        if field is None:
            raise self._unknown(name)
        if self._frozen:
            raise ConfigError(
                f"{self.key(name)} cannot be set to {describe_value(value)}: the configuration is "
                "frozen. Call defrost() on it first, or change a clone()."
            )
        if isinstance(self.__dict__[name], Section):
            raise ConfigError(
                f"{self.key(name)} is a section, not a key; set its keys, for example "
                f"{self.key(name)}.{next(iter(self[name]))}."
            )
        value = to_value(value, annotation=field.annotation)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise ConfigError(self._explain(name, value, error)) from None
        self._origins[name] = origin

    def _explain(self, name: str, value: object, error: ValidationError) -> str:
        field = self.field(name)
        detail = error.errors()[0]
        expected = describe_field(field)
        if detail["type"] == "value_error":
            expected = detail["msg"].removeprefix("Value error, ")
        hint = ""
        if isinstance(value, str) and detail["type"] == "literal_error":
            hint = nearest(value, _choices(field))
        elif detail["type"] == "tuple_type" and len(detail["loc"]) == 1:
            hint = _tuple_hint(value)
        return f"{self.key(name)}: expected {expected}, got {describe_value(value)}{hint}"

    def _unknown(self, name: str) -> UnknownKeyError:
        hint = nearest(self.key(name), (self.key(other) for other in self))
        if not hint:
            hint = f"; the keys here are {', '.join(self)}"
        return UnknownKeyError(f"{self.key(name)} is not a configuration key{hint}")

    # --- freezing, copying ---

    def freeze(self) -> None:
        """Refuse changes from now on, here and below."""
        self._set_frozen(True)

    def defrost(self) -> None:
        """Allow changes again, here and below."""
        self._set_frozen(False)

    def is_frozen(self) -> bool:
        """Say whether changes are refused."""
        return self._frozen

    def clone(self: _Section) -> _Section:
        """Return an independent copy, as frozen as this one."""
        return copy.deepcopy(self)

    def _set_frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        for value in self.__dict__.values():
            if isinstance(value, Section):
                value._set_frozen(frozen)

    def _place(self, path: str) -> None:
        self._path = path
        for name, value in self.__dict__.items():
            if isinstance(value, Section):
                value._place(f"{path}.{name}" if path else name)

    def _adopt(self, other: Section) -> None:
        """Take over values and origins of a section of the same class; sub-sections stay the same objects."""
        for name, value in other.__dict__.items():
            if isinstance(value, Section):
                self.__dict__[name]._adopt(value)
            else:
                self.__dict__[name] = value
        self._origins = dict(other._origins)


def _tuple_hint(value: object) -> str:
    if isinstance(value, str) and value.strip().startswith(("(", "[")):
        return "; the names in it need quotes, and the whole too in a shell: \"('a', 'b')\""
    return f'; a tuple of one is written "({value!r},)"'


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return tuple(str(choice) for choice in getattr(field.annotation, "__args__", ()))
