"""`python -m bench NAME [options]`; without a name, the list."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench


def names() -> list[str]:
    """The modules here that are benchmarks: those with a `main`."""
    found = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name for name in found if name != "__main__" and hasattr(_module(name), "main")]


def _module(name: str) -> object:
    return importlib.import_module(f"bench.{name}")


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in names():
        print(f"usage: python -m bench {{{','.join(names())}}} [options]", file=sys.stderr)
        return 2
    return int(getattr(_module(argv[0]), "main")(argv[1:]) or 0)  # noqa: B009


sys.exit(main(sys.argv[1:]))
