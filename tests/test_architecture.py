"""The floor plan: arrows only point down, parts stay small, heavy imports live in leaves."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("monitor", "sds_engine", "detectors", "streams")
ALLOWED = {
    "streams": (),
    "sds_engine": (),
    "detectors": ("sds_engine.dsp", "sds_engine.physics"),
    "monitor": ("streams", "sds_engine", "detectors"),
}
TOP_LEVEL = {"monitor", "sds_engine", "detectors", "streams", "deploy", "tests", "docs"}
FORBIDDEN_NAMES = {"types.py", "io.py", "queue.py", "signal.py", "logging.py"}


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the package"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def is_under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_down(package: str) -> None:
    """A package imports only what the floor plan lies below it."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(package)
        for name in imports(path)
        for other in PACKAGES
        if other != package and is_under(name, other) and not any(is_under(name, ok) for ok in ALLOWED[package])
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_no_cycles_inside(package: str) -> None:
    """The parts of a package form no circle of imports, not even through functions."""
    modules = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in python_files(package)
    }
    graph = {
        name: {
            target
            for full in imports(path)
            for target in [full if full in modules else full.rpartition(".")[0]]  # a module, or a name in one
            if target in modules and target != name
        }
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_package_is_seen() -> None:
    """The checks above look at real files: a moved folder must not turn them into checks that cannot fail."""
    assert all(len(python_files(package)) > 3 for package in PACKAGES)


def test_top_level_is_the_users() -> None:
    """No folder stands at the top that the floor plan does not have."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    if not any(tracked):
        pytest.skip("not a git checkout")
    folders = {name.split("/")[0] for name in tracked if "/" in name}
    assert {name for name in folders if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize("package", PACKAGES)
def test_parts_are_readable_in_one_sitting(package: str) -> None:
    """No file is over 400 lines, no function over 60, no module shadows a standard one."""
    for path in python_files(package):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{path}: split it"
        assert path.name not in FORBIDDEN_NAMES
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 60, f"{path}:{node.lineno} {node.name}: split it"


def test_deploy_has_no_python() -> None:
    """deploy/ holds configuration only; what is generated comes from monitor/."""
    assert not python_files("deploy")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("streams.capture", ("torch", "sklearn", "aiohttp")),
        ("streams.embedded.broker", ("torch", "sklearn", "aiohttp")),
        ("monitor.cli", ("torch", "numpy", "aiohttp", "pydantic", "sklearn")),
        ("monitor.watch", ("torch", "sklearn", "matplotlib")),
    ],
)
def test_heavy_imports_live_in_leaves(module: str, absent: tuple[str, ...]) -> None:
    """A gateway starts without torch, --help without anything."""
    code = f"import {module}, sys; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_no_pickle_is_read() -> None:
    """Nothing in the packages can unpickle."""
    for package in PACKAGES:
        for path in python_files(package):
            for name in imports(path):
                assert name.split(".")[0] not in {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}, path
            text = path.read_text(encoding="utf-8")
            assert "torch.load(" not in text, path
            assert "allow_pickle=True" not in text, path


def test_the_lock_file_satisfies_the_project() -> None:
    """Every dependency that pyproject.toml names is pinned with hashes, and no line names a host or a path."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    for requirement in wanted:
        name = requirement.split("[")[0].split("<")[0].split(">")[0].split("=")[0].strip()
        assert f"\n{name}==" in "\n" + lock, name
    assert "://" not in lock
    assert "--find-links" not in lock
