"""The architecture: who may import whom."""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "polarlight"

# folder (or file of the package's root) -> what it may import beside itself; the table only looks down
TABLE = {
    "base": "",
    "ops": "base",
    "media": "base",
    "text": "base",
    "nn": "base ops",
    "flow": "base ops",
    "worlds": "base ops media text",
    "data": "base media text",
    "models": "base ops nn flow text",
    "train": "base ops nn flow models",
    "infer": "base ops nn flow media text models",
    "evals": "base ops media text worlds models infer",
    "agent": "base media text infer",
    "recipes": "base ops nn flow media text worlds data models train infer evals",
    "serve": "base media text worlds infer agent",
    "cli": "base media text worlds data infer evals recipes serve agent",
    "__main__": "cli",
    "__init__": "",
}


def floor_of(path: Path) -> str:
    """The table's name for a file of the package: its folder, or its own name at the root."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported_modules(path: Path, source: str) -> list[tuple[int, str]]:
    """(line, dotted module) of every import in a file, wherever it stands; relative ones are made absolute."""
    package = ["polarlight", *path.relative_to(PACKAGE).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from polarlight import worlds` names the folder after the import
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            found += [(node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return found


def forbidden_imports(path: Path, source: str) -> list[str]:
    """One sentence for every import of a file that the table does not allow."""
    own = floor_of(path)
    allowed = {own, *TABLE[own].split()}
    wrong = []
    for line, module in imported_modules(path, source):
        top, _, rest = module.partition(".")
        folder = rest.partition(".")[0]
        within = f"polarlight/{path.relative_to(PACKAGE)}:{line}"
        if top == "polarlight" and folder in TABLE and folder not in allowed:
            wrong.append(f"{within}: {own} may not import {folder}; it may import {TABLE[own] or 'nothing'}")
        elif own == "base" and top != "polarlight" and top not in sys.stdlib_module_names:
            wrong.append(f"{within}: base is standard library only, and {top} is not")
    return wrong


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_folder_of_the_package_has_a_floor() -> None:
    missing = {floor_of(path) for path in FILES} - set(TABLE)
    assert not missing, f"not in the import table: {', '.join(sorted(missing))}; give each a floor"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_look_down(path: Path) -> None:
    wrong = forbidden_imports(path, path.read_text(encoding="utf-8"))
    assert not wrong, "\n".join(["", *wrong])


def test_the_printed_table_is_this_one() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    printed = {}
    for names, below in re.findall(r"^\| ([a-z, ]+) \| ([a-z ]+) \|$", text, re.MULTILINE):
        if names != "folder":
            printed |= {name: set(below.split()) - {"nothing"} for name in names.split(", ")}
    assert printed == {name: set(below.split()) for name, below in TABLE.items() if not name.startswith("__")}


def test_the_table_itself_has_no_circles() -> None:
    left = {name: set(below.split()) for name, below in TABLE.items()}
    while ground := [name for name, below in left.items() if not below & set(left)]:
        for name in ground:
            del left[name]
    assert not left, f"these import each other in a circle: {', '.join(left)}"


@pytest.mark.parametrize(
    "source",
    [
        "import polarlight.train",
        "from polarlight.train.loop import train",
        "from polarlight import train",
        "from .. import train",
        "from ..train import loop",
        "def late():\n    from polarlight.train import loop",
        "if TYPE_CHECKING:\n    from ..train.loop import train",
        "importlib.import_module('polarlight.train')",
    ],
)
def test_an_upward_import_is_caught_however_it_is_written(source: str) -> None:
    assert "models may not import train" in forbidden_imports(PACKAGE / "models" / "example.py", source)[0]


def test_base_may_not_import_a_library() -> None:
    assert "standard library only" in forbidden_imports(PACKAGE / "base" / "example.py", "import torch")[0]


def test_an_import_of_a_lower_floor_passes() -> None:
    assert not forbidden_imports(PACKAGE / "models" / "example.py", "from ..nn.layers import mlp\nimport torch")
