"""A dictionary of named parts that user code can extend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


class Registry(dict[str, Any]):
    """Name -> part, filled by `register`, as a call or as a decorator.

    `registry.register("name", part)` and `@registry.register("name")` do the same.
    """

    @overload
    def register(self, module_name: str) -> Callable[[T], T]: ...
    @overload
    def register(self, module_name: str, module: T) -> T: ...
    def register(self, module_name: str, module: Any = None) -> Any:
        """Give a part a name.

        Raises:
            ValueError: if the name is taken.
        """
        if module is not None:
            self._add(module_name, module)
            return module

        def decorate(part: T) -> T:
            self._add(module_name, part)
            return part

        return decorate

    def _add(self, name: str, part: Any) -> None:
        if name in self:
            raise ValueError(
                f"cannot register {part!r}: the name {name!r} already belongs to {self[name]!r}; "
                "choose another name"
            )
        self[name] = part
