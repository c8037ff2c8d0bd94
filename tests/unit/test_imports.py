"""The direction of imports, what start-up may load, and a docstring on every public function."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DBMPI = sorted((ROOT / "dbmpi").rglob("*.py"))
KERNELS = sorted((ROOT / "kernels").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))

# Read and checked before MPI starts, or plain arithmetic:
WITHOUT_NUMPY = {
    "errors", "config", "schema", "layerspecs", "tomlwriter", "configpage", "settings", "values", "source",
    "cli", "launch", "topology", "blocks", "network", "partition", "sharding", "tiling",
}  # fmt: skip
# On the way to --help and to a message for the user: not even numpy, which 64 processes would load at once.
# Plain arithmetic besides: no MPI wherever it is imported from.
WITHOUT_MPI = WITHOUT_NUMPY | {
    "outline", "portions", "ledger", "assignments", "protocol", "schedule", "stopping", "batch", "batches",
    "operations", "optimizer", "linesearch", "direction", "lbfgs", "conjugate", "roster", "activity",
    "coordinator", "passes", "iterates", "sandblaster", "vectors", "slices", "will", "capacity", "sanity",
    "storage",
}  # fmt: skip


def name_of(path: Path) -> str:
    """Return the dotted module name of a file of the tree."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def type_checking_only(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`, whose body never runs."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(tree: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    """Yield every node that runs, at import or (with `inside_functions`) at any time."""
    for node in ast.iter_child_nodes(tree):
        if type_checking_only(node):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        yield node
        yield from statements(node, inside_functions)


def imports(path: Path, inside_functions: bool = True) -> set[str]:
    """Return the modules a file imports, `from a import b` as both a and a.b; relative ones made absolute."""
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    found = set()
    for node in statements(ast.parse(path.read_text()), inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
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


@pytest.mark.parametrize("path", KERNELS, ids=name_of)
def test_kernels_import_neither_dbmpi_nor_mpi_nor_files(path):
    assert not tops(imports(path)) & {"dbmpi", "mpi4py", "h5py"}


@pytest.mark.parametrize("path", [path for path in DBMPI if path.stem in WITHOUT_MPI], ids=name_of)
def test_pure_modules_never_import_mpi(path):
    assert "mpi4py" not in tops(imports(path))
    assert "mpi4py" not in tops(loaded_by_import(name_of(path), FILES))


@pytest.mark.parametrize("path", [path for path in DBMPI if path.stem in WITHOUT_NUMPY], ids=name_of)
def test_start_up_modules_load_no_numpy(path):
    assert not tops(loaded_by_import(name_of(path), FILES)) & {"numpy", "numba", "h5py", "scipy"}


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
    modules = "dbmpi.coordinator, dbmpi.sandblaster, dbmpi.metrics, dbmpi.coordinatorrole"
    status, loaded = loaded_modules("-c", f"import {modules}")
    assert status == 0 and "numpy" in loaded
    assert not loaded & {"mpi4py", "numba", "h5py"}


def test_a_foreign_package_named_kernels_is_told(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import dbmpi"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "ImportError: the package kernels at" in ended.stderr and "environment of its own" in ended.stderr


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
    assert len(DBMPI) > 5 and len(KERNELS) > 2
