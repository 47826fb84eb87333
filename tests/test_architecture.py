"""The architecture: packages import in one direction, and there are no import cycles."""

import ast
import tomllib
from pathlib import Path

import pytest

import optimlab

PACKAGE = Path(optimlab.__file__).parent
# Each room may import what stands below it. Rooms of one line do not import each other.
FLOORS = [
    ["__main__"],
    ["cli"],
    ["commands"],
    ["listing", "python", "start"],
    ["result"],
    ["arguments", "execution", "report"],
    ["storage", "statistics"],
    ["notebook"],
    ["experiment"],
    ["training"],
    ["problems"],
    ["nn", "data", "optimizers", "schedules"],
    ["compiled_code", "files", "pool", "messages", "progress", "hints"],
    ["validation"],
    ["errors", "formatting", "metrics", "processes", "statuses", "user_cache"],
]
LEVEL = {room: -number for number, rooms in enumerate(FLOORS) for room in rooms}


def name_of(file):
    """Return the dotted name of a module below `optimlab`."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imported(source):
    """Yield the modules of the package that code imports anywhere, also within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{ast.unparse(node)}: imports are absolute"
            parts = (node.module or "").split(".")
            if parts[0] == "optimlab":
                for alias in node.names:
                    whole = ".".join([*parts[1:], alias.name])
                    yield whole if whole in MODULES else ".".join(parts[1:])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                if top == "optimlab" and rest:  # by itself it is for the version
                    yield rest
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            text = ast.unparse(node.args[0]).strip("f'\"")
            if text.startswith("optimlab."):
                yield text.removeprefix("optimlab.").partition(".{")[0]


ROOMS = {name.split(".")[0] for name in MODULES}
LOOPS = "nn.compiled"  # which makes a function a compiled loop, for optimizers, too


@pytest.fixture(scope="module")
def imports():
    """Each module with those that it imports."""
    return {
        name: set(imported(file.read_text(encoding="utf-8"))) - {name} for name, file in MODULES.items()
    }


def wrong_ways(edges):
    """Return the imports that lead upwards, or to another room of the same floor."""
    rooms = {
        (name.split(".")[0], other.split(".")[0]) for name in edges for other in edges[name] - {LOOPS}
    }
    return {(room, other) for room, other in rooms if room != other and LEVEL[other] >= LEVEL[room]}


def test_every_module_has_a_room():
    assert {name.split(".")[0] for name in MODULES} - {"__init__"} <= set(LEVEL)


def test_every_package_is_installed():
    """Experiments are installed as a package, so that the others must be listed."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"]) - {"optimlab.shipped"}
    found = {f"optimlab.{name_of(file)}" for file in PACKAGE.rglob("*/__init__.py")}
    assert listed == found | {"optimlab"}


def test_rooms_import_downwards_alone(imports):
    edges = {name: others for name, others in imports.items() if name != "__init__"}
    assert wrong_ways(edges) == set()
    assert wrong_ways({"nn.layers": {"storage.store"}}) == {("nn", "storage")}


@pytest.mark.parametrize(
    "source",
    [
        "import optimlab.storage.store",
        "import os, optimlab.storage.store as s",
        "from optimlab.storage.store import Store",
        "from optimlab.storage import store",
        "def late():\n    from optimlab.storage.store import Store",
        "class A:\n    def b(self):\n        def c():\n            import optimlab.storage.store",
        "if TYPE_CHECKING:\n    from optimlab.storage.store import Store",
        "try:\n    pass\nfinally:\n    import optimlab.storage.store",
        "import_module('optimlab.storage.store')",
    ],
)
def test_imports_are_seen_wherever_they_are(source):
    assert set(imported(source)) == {"storage.store"}
    assert wrong_ways({"nn.layers": set(imported(source))}) == {("nn", "storage")}


def test_modules_import_from_modules_not_from_what_a_package_shows(imports):
    """Names of a package come from its modules, which would import themselves by a detour."""
    own = {name: {"", name.rpartition(".")[0]} for name in imports}
    assert [name for name, others in imports.items() if others & own[name] and name not in ROOMS] == []


def test_no_module_imports_itself_by_a_detour(imports):
    """A package is left out, since its own names are those of its modules."""
    edges = {name: others - ROOMS for name, others in imports.items() if name not in ROOMS}
    while edges:
        free = {name for name, others in edges.items() if not others & edges.keys()}
        assert free, f"these import each other: {sorted(edges)}"
        edges = {name: others for name, others in edges.items() if name not in free}
