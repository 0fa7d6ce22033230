"""The tools an app has: found once in a package, then looked up by name."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import ModuleType

from perdure.tools.tool import Tool


class ToolRegistry:
    """Tools by name.

    Raises:
        ValueError: Two tools have one name.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            other = self._tools.setdefault(tool.name, tool)
            if other is not tool:
                raise ValueError(
                    f"two tools are named {tool.name!r}: in {other.module} and in {tool.module}; rename one"
                )

    def __iter__(self) -> Iterator[Tool]:
        """Go through the tools in order of their names, so that everything derived from them is the same every time."""
        return (self._tools[name] for name in sorted(self._tools))

    def __len__(self) -> int:
        return len(self._tools)

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, or None: a model may ask for one that does not exist."""
        return self._tools.get(name)

    def select(self, names: Iterable[str]) -> tuple[Tool, ...]:
        """Return the tools of these names in the given order, each once.

        Raises:
            LookupError: A name is unknown; the message suggests the nearest.
        """
        wanted = tuple(dict.fromkeys(names))
        unknown = [name for name in wanted if name not in self._tools]
        if unknown:
            raise LookupError("; ".join(self._unknown(name) for name in unknown))
        return tuple(self._tools[name] for name in wanted)

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, self._tools, 1)
        known = ", ".join(sorted(self._tools)) or "none"
        return f"no tool is named {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; there are: {known}")


def discover(package: ModuleType | str) -> ToolRegistry:
    """Import every module directly in a package and collect the tools defined at their top level.

    Modules and variables whose names start with "_" are left out.

    Raises:
        ImportError: A module failed to import; the message names its file and what went wrong.
        ValueError: Two tools have one name.
    """
    root = importlib.import_module(package) if isinstance(package, str) else package
    found: list[Tool] = []
    for module in pkgutil.iter_modules(root.__path__):
        if not module.name.startswith("_"):
            found += _tools_in(_imported(f"{root.__name__}.{module.name}"))
    return ToolRegistry(found)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        spec = importlib.util.find_spec(name)
        path = spec.origin if spec else None
        raise ImportError(
            f"tool module {path or name} failed to import: {type(error).__name__}: {error}", name=name, path=path
        ) from error


def _tools_in(module: ModuleType) -> list[Tool]:
    return [value for name, value in vars(module).items() if isinstance(value, Tool) and not name.startswith("_")]
