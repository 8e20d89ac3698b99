"""The table of the house: which package may import which."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"api", "client", "jobs", "trainer", "worker"}
MAY_IMPORT = {
    "jobs": {"jobs"},
    "trainer": {"trainer", "jobs.spec", "jobs.errors", "jobs.failpoints"},
    "worker": {"worker", "jobs", "trainer"},
    "api": {"api", "jobs"},
    "client": {"client", "jobs.spec"},
}
ALSO = {"trainer/__main__.py": {"jobs.rules", "jobs.profiles"}}
"""The trainer's command resolves a spec as the service does; the library does not."""
MUST_NOT_IMPORT = {
    "jobs": {"torch", "fastapi", "polars", "sklearn"},
    "trainer": {"fastapi", "celery", "sqlalchemy", "redis"},
    "worker": {"fastapi"},
    "api": {"torch", "polars", "sklearn"},
    "client": {"fastapi", "celery", "sqlalchemy", "torch"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def covered(name: str, allowed: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in allowed)


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_import_only_what_the_house_allows(package: str) -> None:
    wrong = []
    for path in (ROOT / package).rglob("*.py"):
        place = str(path.relative_to(ROOT))
        allowed = MAY_IMPORT[package] | ALSO.get(place, set())
        for name in imports(path):
            is_ours = name.split(".")[0] in OURS
            if (is_ours and not covered(name, allowed)) or covered(name, MUST_NOT_IMPORT[package]):
                wrong.append(f"{place}: {name}")
    assert wrong == []


def test_no_function_imports() -> None:
    wrong = []
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    inner = [x for x in ast.walk(node) if isinstance(x, ast.Import | ast.ImportFrom)]
                    wrong += [f"{path.relative_to(ROOT)}:{x.lineno}" for x in inner]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("api.app", {"torch", "polars", "sklearn", "trainer", "worker"}),
        ("worker.tasks", {"torch", "polars", "sklearn", "fastapi", "api"}),
        ("client.cli", {"torch", "sqlalchemy", "celery", "fastapi"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert heavy & set(loaded.split()) == set()
