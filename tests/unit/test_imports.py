"""The direction of imports, what start-up may load, and a docstring on every public function."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

DBMPI = sorted((ROOT / "dbmpi").rglob("*.py"))
KERNELS = sorted((ROOT / "kernels").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))

# The levels, the lowest first. A package or module imports what is on lower levels, and nothing
# on its own level or above; types count too. This is the one place where the direction of imports stands.
LEVELS = {
    "dbmpi": [
        ["errors"],
        [
            "text",
            "typed",
            "files",
            "extras",
            "arrays",
            "screen",
            "process",
            "awake",
            "imports",
            "spans",
            "phases",
        ],
        ["config", "ownership"],
        ["layout"],
        ["comm", "data"],
        ["model", "output"],
        ["checkpoint"],
        ["logs"],
        ["diagnosis"],
        ["trained"],
        ["export", "report"],
        ["server", "coordinator", "prepare", "trace"],
        ["replica", "sandblaster"],
        ["run"],
        ["inference"],
        ["train", "evaluate", "predict", "api", "status"],
    ],
    "kernels": [
        ["deferred"],
        ["image"],
        ["threads"],
        ["jit"],
        ["llvm"],
        ["elementary"],
        ["layers", "losses", "parameters"],
        ["reference"],
    ],
}

# Packages and modules that calculate, or that stand on the way to --help: no MPI wherever it is imported
# from. The exceptions carry messages.
WITHOUT_MPI = {
    "dbmpi.errors": set(),
    "dbmpi.text": set(),
    "dbmpi.typed": set(),
    "dbmpi.files": set(),
    "dbmpi.arrays": set(),
    "dbmpi.awake": set(),
    "dbmpi.spans": set(),
    "dbmpi.trace": set(),
    "dbmpi.screen": set(),
    "dbmpi.phases": set(),
    "dbmpi.config": set(),
    "dbmpi.ownership": set(),
    "dbmpi.layout": set(),
    "dbmpi.comm": {"clocks", "meeting", "messages", "ulfm", "world"},
    "dbmpi.data": set(),
    "dbmpi.model": {"boundary"},
    "dbmpi.output": set(),
    "dbmpi.prepare": set(),
    "dbmpi.checkpoint": set(),
    "dbmpi.logs": set(),
    "dbmpi.diagnosis": set(),
    "dbmpi.export": set(),
    "dbmpi.report": set(),
    "dbmpi.server": {
        "service",
        "reports",
        "requests",
        "round_requests",
        "mirror",
        "transfer",
        "emergency",
        "gathering",
    },
    "dbmpi.coordinator": {"service", "commands", "failover", "fencing", "shards"},
    "dbmpi.sandblaster": set(),
    "dbmpi.inference": {"team"},
    "dbmpi.replica": {"service", "mpi_client", "piece_exchange", "leader"},
    "dbmpi.run.plan.capacity": set(),
    "dbmpi.run.start.cli": set(),
    "dbmpi.run.start.early": set(),
    "dbmpi.run.start.first_sign": set(),
    "dbmpi.run.start.launch": set(),
    "dbmpi.run.plan.dryrun": set(),
    "dbmpi.run.plan.memory": set(),
    "dbmpi.run.tables": set(),
}
# Read and checked before MPI starts: not even numpy, which 64 processes would load at once, and which reads
# its number of threads as it is loaded.
WITHOUT_NUMPY = (
    "dbmpi.errors", "dbmpi.text", "dbmpi.typed", "dbmpi.files", "dbmpi.screen", "dbmpi.spans",
    "dbmpi.phases", "dbmpi.config", "dbmpi.output.starting", "dbmpi.layout", "dbmpi.ownership",
    "dbmpi.comm.abort", "dbmpi.comm.wait", "dbmpi.run.plan.capacity", "dbmpi.run.start.cli",
    "dbmpi.run.start.early", "dbmpi.run.start.first_sign", "dbmpi.run.start.launch",
    "dbmpi.run.start.refusal", "dbmpi.run.plan.setup", "dbmpi.run.start.starting", "dbmpi.train",
    "dbmpi.evaluate", "dbmpi.predict", "dbmpi.inference.job", "dbmpi.inference.options",
)  # fmt: skip
# What reads and checks TOML: rank 0 alone does, inside a function, and sends the others the configuration.
READERS_OF_TOML = {"tomllib", "difflib", "dbmpi.config.load", "dbmpi.config.source", "dbmpi.config.values"}


def name_of(path: Path) -> str:
    """Return the dotted module name of a file of the tree."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def type_checking_only(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`, whose body never runs."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(tree: ast.AST, inside_functions: bool, types: bool = False) -> Iterator[ast.AST]:
    """Yield every node that runs, at import or (with `inside_functions`) at any time; `types`: or never."""
    for node in ast.iter_child_nodes(tree):
        if type_checking_only(node) and not types:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        yield node
        yield from statements(node, inside_functions, types)


def package_of(path: Path, level: int) -> list[str]:
    """Return the package that a relative import of so many dots begins at."""
    parts = name_of(path).split(".")
    package = parts if path.name == "__init__.py" else parts[:-1]
    return package[: len(package) - level + 1]


def imports(path: Path, inside_functions: bool = True, types: bool = False) -> set[str]:
    """Return the modules a file imports, `from a import b` as both a and a.b; relative ones made absolute."""
    found = set()
    for node in statements(ast.parse(path.read_text()), inside_functions, types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package_of(path, node.level) if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def tops(names: set[str]) -> set[str]:
    """Return the first part of each dotted name."""
    return {name.split(".")[0] for name in names}


def loaded_by_import(name: str, files: dict[str, Path]) -> set[str]:
    """Return everything that importing one module loads, through the modules of the tree."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        if module in files:
            pending += imports(files[module], inside_functions=False)
            pending.append(module.rpartition(".")[0] or module)
    return seen


FILES = {name_of(path): path for path in [*DBMPI, *KERNELS]}


def own_imports(name: str, files: dict[str, Path]) -> set[str]:
    """Return the modules of the tree that a module imports, types too, but for packages."""
    found = {one for one in imports(files[name], types=True) if one in files}
    return {one for one in found if files[one].name != "__init__.py"} - {name}


def level_of(name: str) -> tuple[int, str]:
    """Return the number of a module's floor, and its package or, of a module of none, its own name."""
    top, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    for number, rooms in enumerate(LEVELS[top]):
        if room in rooms:
            return number, room
    raise AssertionError(f"{name} is in no package of the table")


def upward(files: dict[str, Path]) -> list[str]:
    """Return the imports that do not go down: `a -> b`."""
    arrows = []
    for name in files:
        if files[name].name == "__init__.py":
            continue
        number, room = level_of(name)
        for other in own_imports(name, files):
            if other.split(".")[0] != name.split(".")[0]:
                continue  # from dbmpi to kernels: see below
            below, theirs = level_of(other)
            if theirs != room and below >= number:
                arrows.append(f"{name} -> {other}")
    return arrows


ROOMS_OF_RUN = "tables", "start", "plan", "roles"


def test_the_rooms_of_run_are_entered_from_start_to_roles_and_never_back():
    def number(name: str) -> int:
        return ROOMS_OF_RUN.index(name.split(".")[2])

    within = [name for name in FILES if name.startswith("dbmpi.run.")]
    assert len(within) > 30
    arrows = [(name, other) for name in within for other in own_imports(name, FILES) if other in within]
    assert not [(name, other) for name, other in arrows if number(other) > number(name)]


def circle(files: dict[str, Path]) -> list[str]:
    """Return modules that import one another in a circle, of types too; nothing if there is none."""
    state: dict[str, bool] = {}  # False: on the way down; True: done

    def visit(name: str, path: list[str]) -> list[str]:
        if name in state:
            return [] if state[name] else [*path[path.index(name) :], name]
        state[name] = False
        for other in sorted(own_imports(name, files)):
            found = visit(other, [*path, name])
            if found:
                return found
        state[name] = True
        return []

    return next((found for name in files if (found := visit(name, []))), [])


def test_imports_go_down_only():
    assert not upward(FILES)


def test_there_is_no_circle():
    assert not circle(FILES)


def test_upward_imports_and_circles_are_seen(tmp_path):
    """The guards themselves: two modules, each with the other's types; one of no package."""
    texts = {"dbmpi.errors": "import dbmpi.text", "dbmpi.text": "if TYPE_CHECKING:\n    import dbmpi.errors"}
    files = {}
    for name, text in texts.items():
        files[name] = tmp_path / f"{name}.py"
        files[name].write_text(text)
    assert upward(files) == ["dbmpi.errors -> dbmpi.text"]
    assert circle(files) == ["dbmpi.errors", "dbmpi.text", "dbmpi.errors"]
    files["dbmpi.stray"] = files["dbmpi.errors"]
    with pytest.raises(AssertionError, match="dbmpi.stray is in no package"):
        upward(files)


@pytest.mark.parametrize("path", KERNELS, ids=name_of)
def test_kernels_import_neither_dbmpi_nor_mpi_nor_files(path):
    assert not tops(imports(path, types=True)) & {"dbmpi", "mpi4py", "h5py"}


@pytest.mark.parametrize(
    "package", [path.parent for path in [*DBMPI, *KERNELS] if path.name == "__init__.py"][1:]
)
def test_packages_hold_a_docstring_only(package):
    if package.parent != ROOT:
        assert len(ast.parse((package / "__init__.py").read_text()).body) == 1


def pure() -> list[str]:
    """Return the modules that the table says are without MPI."""
    chosen = []
    for name, path in FILES.items():
        package = name if name in WITHOUT_MPI else name.rpartition(".")[0]
        if path.name != "__init__.py" and package in WITHOUT_MPI:
            if name.rpartition(".")[2] not in WITHOUT_MPI[package]:
                chosen.append(name)
    return chosen


@pytest.mark.parametrize("name", pure())
def test_pure_modules_never_import_mpi(name):
    assert "mpi4py" not in tops(imports(FILES[name]))
    assert "mpi4py" not in tops(loaded_by_import(name, FILES))


def test_the_exceptions_are_modules():
    named = {f"{package}.{name}" for package, names in WITHOUT_MPI.items() for name in names}
    assert named | set(WITHOUT_NUMPY) <= set(FILES)


@pytest.mark.parametrize("name", sorted(f"{p}.{name}" for p, names in WITHOUT_MPI.items() for name in names))
def test_every_exception_is_needed(name):
    assert "mpi4py" in tops(imports(FILES[name]) | loaded_by_import(name, FILES))


@pytest.mark.parametrize(
    "name", [n for n in FILES if n in WITHOUT_NUMPY or n.rpartition(".")[0] in WITHOUT_NUMPY]
)
def test_start_up_modules_load_no_numpy(name):
    assert not tops(loaded_by_import(name, FILES)) & {"numpy", "numba", "h5py", "scipy"}


@pytest.mark.parametrize("name", [n for n in FILES if n == "dbmpi.train" or n.startswith("dbmpi.run.")])
def test_what_every_rank_loads_reads_no_toml(name):
    assert not loaded_by_import(name, FILES) & READERS_OF_TOML


def test_train_loads_nothing_heavy_before_it_has_read_its_arguments():
    # `from mpi4py import MPI` initializes MPI: what does so, train imports inside its functions.
    assert not tops(loaded_by_import("dbmpi.train", FILES)) & {"mpi4py", "numpy", "numba", "h5py"}


def loaded_modules(*arguments: str) -> tuple[int, set[str]]:
    """Return the status and the top-level modules that a Python child process has loaded at its end."""
    child = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    lines = [line for line in child.stderr.splitlines() if line.startswith("import time:")]
    return child.returncode, tops({line.split("|")[-1].strip() for line in lines})


def test_import_dbmpi_loads_nothing_heavy():
    status, loaded = loaded_modules("-c", "import dbmpi")
    assert status == 0 and "dbmpi" in loaded
    assert not loaded & {"mpi4py", "numpy", "numba", "h5py"}


def test_import_kernels_loads_no_mpi():
    status, loaded = loaded_modules("-c", "import kernels")
    assert status == 0
    assert not loaded & {"mpi4py", "h5py", "dbmpi"}


def test_help_loads_nothing_heavy():
    status, loaded = loaded_modules("-m", "dbmpi.train", "--help")
    assert status == 0 and "dbmpi" in loaded
    assert not loaded & {"mpi4py", "numpy", "numba", "h5py"}


def test_the_coordinator_loads_no_kernels_and_no_hdf5():
    """64 processes start at once: each pays for what it imports."""
    modules = ("coordinator.downpour", "sandblaster.training", "output.metrics", "run.roles.coordinator_rank")
    status, loaded = loaded_modules("-c", f"import {', '.join(f'dbmpi.{name}' for name in modules)}")
    assert status == 0 and "numpy" in loaded
    assert not loaded & {"mpi4py", "numba", "h5py"}


@pytest.mark.parametrize(("first", "status"), [("sys", 0), ("kernels", 1)])
def test_a_foreign_package_named_kernels_is_passed_by_or_told(tmp_path, first, status):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    text = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import {first}, dbmpi, kernels.jit"
    ended = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == status
    told = "ImportError: the package kernels at" in ended.stderr and "environment of its own" in ended.stderr
    assert told == bool(status)


def public_definitions(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the public functions and classes of a module, and the public methods of public classes."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield inner


@pytest.mark.parametrize("path", [*DBMPI, *KERNELS, *SCRIPTS], ids=name_of)
def test_every_public_name_has_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "the module has none"
    missing = [node for node in public_definitions(path) if not ast.get_docstring(node)]
    assert not [f"line {node.lineno}: {node.name}" for node in missing]


def test_the_sources_were_found():
    assert len(DBMPI) > 100 and len(KERNELS) > 20


@pytest.mark.parametrize("name", ["Classifier", "Regressor", "load"])
def test_dbmpi_says_what_there_is_and_loads_it_when_it_is_asked_for(name):
    text = f"import dbmpi; assert {name!r} in dir(dbmpi) and {name!r} in dbmpi.__all__"
    status, loaded = loaded_modules("-c", text)
    assert status == 0 and not loaded & {"mpi4py", "numpy", "numba", "h5py", "sklearn", "threadpoolctl"}
    status, loaded = loaded_modules("-c", f"import dbmpi; assert callable(dbmpi.{name})")
    assert status == 0 and not loaded & {"mpi4py", "numba"}


@pytest.mark.parametrize(("name", "told"), [("Classifier", True), ("load", False)])
def test_estimators_without_scikit_learn_are_one_import_error(name, told):
    text = f"import sys; sys.modules['sklearn'] = None; import dbmpi; dbmpi.{name}"
    ended = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode != 0) == told
    assert ("ImportError: dbmpi.Classifier needs scikit-learn" in ended.stderr) == told
    assert ended.stderr.count("Traceback") == told


def test_dbmpi_has_nothing_else():
    import dbmpi

    with pytest.raises(AttributeError, match="no attribute 'Classifer'"):
        dbmpi.Classifer  # noqa: B018


@pytest.mark.parametrize(
    "program", ["train", "evaluate", "predict", "export", "report", "prepare", "data", "trace"]
)
def test_a_program_imports_nothing_of_the_directory_that_it_is_started_in(program, tmp_path):
    for name in ("typing", "json", "random", "argparse", "dataclasses", "signal", "numpy", "h5py"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from here')")
    words = [sys.executable, "-m", f"dbmpi.{program}", "--help"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
