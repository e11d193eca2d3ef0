"""A name that begins with an underscore belongs to its module: no other module of the package uses it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "polarlight"
FILES = sorted(PACKAGE.rglob("*.py"))


def private(name: str) -> bool:
    """Whether a name is private; `__version__` and its like are the language's."""
    return name.startswith("_") and not name.endswith("__")


def is_ours(node: ast.ImportFrom) -> bool:
    return bool(node.level) or (node.module or "").split(".")[0] == "polarlight"


def private_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every private name or module of the package that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and is_ours(node):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            ours = [alias.name for alias in node.names if alias.name.split(".")[0] == "polarlight"]
            names = [part for name in ours for part in name.split(".")]
        else:
            continue
        yield from ((node.lineno, name) for name in names if private(name))


def own_private_names(tree: ast.AST) -> set[str]:
    """The private functions, classes, variables and attributes that a file makes."""
    made = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            made.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in made if private(name)}


def private_uses(tree: ast.AST, of_others: set[str]) -> Iterator[tuple[int, str]]:
    """(line, name) of every attribute of another thing than `self` or `cls` that only other files make."""
    own = own_private_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in of_others - own:
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in ("self", "cls"):  # a class may use what the class it is made from has
                yield node.lineno, ast.unparse(node)


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MADE_HERE = set().union(*map(own_private_names, TREES.values()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_uses_a_private_name_of_another(path: Path) -> None:
    found = [*private_imports(TREES[path]), *private_uses(TREES[path], MADE_HERE)]
    wrong = [f"polarlight/{path.relative_to(PACKAGE)}:{line}: {name}" for line, name in sorted(found)]
    assert not wrong, "\n".join(["make these public, with a docstring, or move them:", *wrong])


@pytest.mark.parametrize(
    "source",
    [
        "from .jobs import _job",
        "from polarlight.serve.jobs import Job, _job",
        "from ._jobs import Job",
        "import polarlight.serve._jobs",
        "def late():\n    from ..jobs import _job",
    ],
)
def test_a_private_import_is_caught_however_it_is_written(source: str) -> None:
    assert [name for _, name in private_imports(ast.parse(source))] in (["_job"], ["_jobs"])


def test_the_attribute_of_another_files_class_is_caught_and_a_librarys_is_not() -> None:
    source = "self.generator._pixels\njobs._job(row)\ntorch._C\nself._pixels\nrow._mapping"
    found = private_uses(ast.parse(source), {"_pixels", "_job"})
    assert [name for _, name in found] == ["self.generator._pixels", "jobs._job"]


def test_what_a_file_makes_itself_is_its_own() -> None:
    source = "class A:\n    def _step(self): ...\n\ndef run(a):\n    a._step()"
    assert not [*private_uses(ast.parse(source), {"_step"})]


@pytest.mark.parametrize(
    "source", ["from polarlight import __version__", "from torch import _C", "from .jobs import Job"]
)
def test_other_imports_pass(source: str) -> None:
    assert not [*private_imports(ast.parse(source))]
