"""The documents hold: commands run, names exist, tables are those of the code."""

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from api import problems
from jobs import errors
from jobs.spec.data import Task
from tests import tables
from tests.fleet import Fleet

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
RELIABILITY = (ROOT / "docs/reliability.md").read_text()
RULES = (ROOT / "docs/rules.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HOME = "http://127.0.0.1:8000"
MARK = "<!-- next -->"

# Commands


def fenced(text: str) -> list[tuple[str, str]]:
    """Each fenced block: what stands behind its first three ticks, and its lines."""
    return re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)


def walk(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page to run, as shell, and what they should print."""
    blocks = [*fenced(page.read_text()), ("", "")]
    found = []
    for (kind, code), (next_kind, printed) in zip(blocks, blocks[1:], strict=False):
        if kind.endswith(" run"):
            script = f"python - <<'END'\n{code}END\n" if kind.startswith("python") else code
            found.append((script, printed if next_kind.endswith(" output") else ""))
    return found


def words(text: str) -> set[str]:
    """What must come again in a like answer: words, keys, status codes; no ids, no measured numbers."""
    plain = re.sub(r"\b(job|ds|ckpt|file|key|wh)_[0-9a-z]{26}|\b[0-9a-f]{32,}", r"\1", text)
    return set(re.findall(r"[A-Za-z_]{2,}|(?<![\d.])\d{3}(?![\d.])", plain))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("s"))
    yield found
    found.close()


@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize("page", [page for page in PAGES if walk(page)], ids=lambda page: str(page.name))
def test_the_commands_of_a_page_print_what_it_says(service: Fleet, tmp_path: Path, page: Path) -> None:
    home = f"http://127.0.0.1:{service.environment['FITD_PORT']}"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = "set -eu\n" + "".join(f"{code}echo '{MARK}'\n" for code, _ in walk(page)).replace(HOME, home)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "FITD_URL": home, "URL": f"{home}/v1"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for (code, expected), printed in zip(walk(page), done.stdout.split(MARK), strict=False):
        assert words(expected) - words(printed) == set(), code


@pytest.mark.slow
def test_the_optimizer_of_the_readme_trains_as_torch_says(tmp_path: Path) -> None:
    (patch,) = (code for kind, code in fenced(README) if kind == "diff")
    for name in ("jobs", "trainer", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, text=True, check=True)
    added = [line for line in patch.splitlines() if re.match(r"\+(?!\+\+|$| *\"\"\")", line)]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-k",
        "rprop",
        "tests/trainer/test_optimizers.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "2 passed" in done.stdout, len(added)) == (0, True, 15), done.stdout


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", page.read_text())} <= targets


# Names


def tree() -> dict[str, str]:
    """Path and description of each line of the annotated tree."""
    (drawn,) = (code for kind, code in fenced(README) if kind == "text tree")
    found, above = {}, [""]
    for line in drawn.splitlines():
        indent, name, what = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()  # type: ignore[union-attr]
        above = [*above[: len(indent) // 2 + 1], name]
        found["".join(above)] = what
    return found


def test_the_tree_is_the_tree() -> None:
    assert [path for path in tree() if not (ROOT / path).exists()] == []
    ignored = (ROOT / ".gitignore").read_text().split()
    folders = {f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    ours = {name for name in folders if not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)}
    assert ours <= set(tree())


def names(node: ast.stmt) -> set[str]:
    """What a statement defines."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {getattr(node, "name", "")} | {target.id for target in targets if isinstance(target, ast.Name)}


def defines(path: Path, dotted: str) -> bool:
    body = ast.parse(path.read_text()).body
    for name in dotted.split("."):
        found = next((node for node in body if name in names(node)), None)
        if found is None:
            return False
        body = getattr(found, "body", [])
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_whatever_a_page_points_to_is_there(page: Path) -> None:
    text = page.read_text()
    code = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|json|md|yml|conf|toml))(?::([\w.]+))?`", text)
    assert [where for where in code if not (ROOT / where[0]).exists()] == []
    assert [where for where in code if where[1] and not defines(ROOT / where[0], where[1])] == []
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


# Rules and codes


def rulebook() -> Iterator[ast.AST]:
    for path in [*(ROOT / "jobs/rulebook").glob("*.py"), ROOT / "trainer/device.py", ROOT / "trainer/trials.py"]:
        yield from ast.walk(ast.parse(path.read_text()))


def texts(node: ast.AST) -> set[str]:
    """The strings that an expression may be; of an f-string that ends with the task, one for each."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), ast.FormattedValue()]):
            return {text + task for task in get_args(Task)}
        case ast.IfExp(body=one, orelse=other):
            return texts(one) | texts(other)
    return set()


def ledgered(verb: str) -> set[str]:
    """The codes of all calls `ledger.verb(path, code, …)`."""
    calls = [node for node in rulebook() if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return set().union(*(texts(node.args[1]) for node in calls if getattr(node.func, "attr", "") == verb))


def failures() -> set[str]:
    """The codes of all `Failed(…)` and `Failure(…)`."""
    found = {errors.SpecInvalid.code, errors.DataInvalid.code}
    for path in [*(ROOT / "worker").glob("*.py"), *(ROOT / "jobs").glob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        made = [node for node in calls if getattr(node.func, "id", "") in ("Failed", "Failure")]
        found |= set().union(*(texts(word.value) for node in made for word in node.keywords if word.arg == "code"))
    return found


def told() -> set[str]:
    """The codes of all problems that the api answers with."""
    ours = {kind.code for kind in problems.STATUS} | {code for code, _ in problems.BY_STATUS.values()} | {"http_error"}
    for path in (ROOT / "api").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        answers = [node for node in calls if ast.unparse(node.func) in ("answer", "problems.answer")]
        ours |= set().union(*(texts(node.args[2]) for node in answers))
    return ours


def in_table(heading: str) -> set[str]:
    """The first column under a heading of docs/rules.md."""
    (section,) = re.findall(rf"^## {heading}\n((?:(?!## ).*\n)*)", RULES, re.MULTILINE)
    return set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))


def test_the_rules_are_all_there() -> None:
    source = set().union(*(texts(node) for node in rulebook()))
    assert in_table("Decisions") == {text for text in source if re.fullmatch(r"[a-z]+\.[a-z_]+", text)}


def test_the_codes_are_all_there() -> None:
    returned = [node.value for node in rulebook() if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)]
    by_reason = {text for pair in returned for text in texts(pair.elts[0]) if "." not in text}
    assert in_table("Warnings") == ledgered("warn") | {"dataset_profiling"}
    assert in_table("Faults") == ledgered("fault") | by_reason
    assert in_table("Failures") == failures()
    assert in_table("Problems") == told()


def test_the_metrics_are_all_there() -> None:
    assert set(re.findall(r'"(fitd_\w+)"', (ROOT / "api/telemetry.py").read_text())) <= words(OPERATIONS)


def test_every_attack_has_its_test() -> None:
    named = re.findall(r"`(\S+\.py)::(\w+)`", (ROOT / "docs/security.md").read_text())
    assert len(named) > 30
    assert [
        f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()
    ] == []
    rooms = {path.name for path in (ROOT / "tests/attacks").glob("test_*.py")}
    assert rooms - {Path(file).name for file, _ in named} <= {"test_audit.py"}


def test_the_failpoints_are_all_there() -> None:
    rooms = [ROOT / name for name in ("api", "jobs", "worker", "trainer")]
    source = "".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    (section,) = re.findall(r"^## Failpoints\n((?:(?!## ).*\n)*)", RELIABILITY, re.MULTILINE)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z]+\.[a-z]+)`", row)}
    assert named == set(re.findall(r'failpoints\.reach\("([a-z]+\.[a-z]+)"\)', source))


def test_every_reason_to_wait_is_told() -> None:
    (section,) = re.findall(r"^## Why a job waits\n((?:(?!## ).*\n)*)", OPERATIONS, re.MULTILINE)
    told = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    assert told == set(re.findall(r'Reason\("(\w+)"', (ROOT / "jobs/reasons.py").read_text()))


# Tables


@pytest.mark.parametrize("page", tables.PAGES)
def test_a_table_says_what_the_code_says(page: str) -> None:
    assert tables.renewed(page) == (ROOT / page).read_text(), "renew it: python -m tests.tables"
