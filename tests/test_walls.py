"""The walls of the house: what may know of what, read from the imports, and what a process loads, seen in one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STEPS = (
    "collect",
    "contributors",
    "registry",
    "reply",
    "tasks",
    "health",
    "metrics",
    "probes",
    "exposition",
    "drift",
    "drift_tests",
    "drift_words",
    "drift_charts",
    "models",
    "review",
    "examine",
    "retrain",
    "hold",
    "snapshots",
    "maps",
    "map_work",
    "map_sample",
    "map_files",
    "fitting",
    "placing",
    "emnist_images",
    "model_facts",
    "export",
    "importing",
    "quotas",
    "reports",
    "showing",
    "backup",
    "stored",
    "privacy",
    "influence",
    "mine",
    "retention",
)
HEAVY = ("tensorflow", "keras", "umap", "sklearn", "scipy", "numba", "matplotlib")


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def imports(path: Path, *, on_loading: bool = False) -> Iterator[str]:
    """Dotted names that a file imports; `on_loading`: only those that run when the file itself is imported."""
    package = path.relative_to(ROOT).parent.parts
    for node in _on_loading(ast.parse(path.read_text())) if on_loading else ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (above, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _on_loading(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _on_loading(child)


def known(path: Path, *forbidden: str, on_loading: bool = False) -> set[str]:
    """Which of the forbidden packages and modules a file knows of."""
    found = set(imports(path, on_loading=on_loading))
    return {each for each in forbidden if any(name == each or name.startswith(each + ".") for name in found)}


def loaded(code: str, *, seconds: int = 120) -> set[str]:
    """Top-level modules that a process of its own holds after running the code."""
    program = f"{code}\nimport sys; print('\\nLOADED', *{{name.partition('.')[0] for name in sys.modules}})"
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "webapp.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_the_reader_of_imports_sees_them(tmp_path: Path) -> None:
    """Were it blind, all else here would pass."""
    assert known(ROOT / "letters" / "api" / "drawings.py", "letters.collect", "rest_framework", "celery") == {
        "letters.collect",
        "rest_framework",
    }
    assert known(ROOT / "ml" / "train.py", "keras")
    assert "numpy" in loaded("import numpy")


@pytest.mark.parametrize("path", modules("ml"), ids=lambda path: path.name)
def test_the_machine_learning_knows_nothing_of_the_site(path: Path) -> None:
    assert known(path, "django", "celery", "kombu", "redis", "rest_framework", "letters", "webapp") == set()


@pytest.mark.parametrize("name", STEPS)
def test_a_step_knows_nothing_of_who_calls_it(name: str) -> None:
    path = ROOT / "letters" / f"{name}.py"
    if path.exists():
        callers = ("letters.api", "letters.views", "letters.admin", "letters.serializers")
        web = () if name == "contributors" else ("django.http", "rest_framework", "django.shortcuts")
        assert known(path, *callers, *web) == set()


@pytest.mark.parametrize("path", modules("letters"), ids=lambda path: path.name)
def test_the_app_loads_nothing_heavy(path: Path) -> None:
    assert known(path, *HEAVY, on_loading=True) == set()


def test_the_tables_know_nothing_of_the_work() -> None:
    found = {name for name in imports(ROOT / "letters" / "models.py") if name.startswith(("letters", "ml", *HEAVY))}
    assert found <= {"ml.labels", "ml.labels.CHARACTERS", "ml.labels.CLASSES"}


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "letters" / f"{name}.py"
        for name in (
            "model_pages",
            "serializers",
            "views",
            "checks",
            "health",
            "watching",
            "request_log",
            "exposition",
        )
    ]
    + modules("letters/admin")
    + modules("letters/api"),
    ids=lambda path: path.name,
)
def test_only_the_steps_write(path: Path) -> None:
    """No call that changes a table stands in what parses, answers or shows."""
    writing = {"create", "bulk_create", "get_or_create", "update_or_create", "bulk_update", "save", "delete"}
    tree = ast.parse(path.read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    written = [
        ast.unparse(call) for call in calls if isinstance(call, ast.Attribute) and call.attr in {*writing, "update"}
    ]
    # Pillow's picture.save writes no table
    assert [call for call in written if "objects" in call or call.split(".")[-1] in writing - {"save"}] == []


@pytest.mark.slow
def test_the_web_process_loads_nothing_heavy() -> None:
    found = loaded("import django; django.setup(); import webapp.urls, webapp.wsgi, webapp.celery, letters.tasks")
    assert "rest_framework" in found
    assert found & {*HEAVY, "ai_edge_litert"} == set()


@pytest.mark.slow
def test_the_inference_worker_loads_litert_and_nothing_heavier() -> None:
    code = (
        "import django; django.setup()\n"
        "import letters.tasks, numpy\n"
        "from ml.artifact import SHIPPED\n"
        "from ml.embed import ReferenceMap\n"
        "from ml.predictor import Predictor\n"
        "ReferenceMap(SHIPPED).place(Predictor(SHIPPED).predict(numpy.zeros((28, 28), numpy.uint8)).features)"
    )
    found = loaded(code)
    assert "ai_edge_litert" in found
    assert found & set(HEAVY) == set()


@pytest.mark.slow
def test_preprocessing_is_cheap_to_load() -> None:
    found = loaded("import ml.preprocess, ml.labels")
    assert found & {*HEAVY, "ai_edge_litert", "django"} == set()


@pytest.mark.slow
def test_a_map_by_umap_loads_no_tensorflow() -> None:
    """Which umap itself would, for a part of it that is not used: half a gigabyte, and most of the time it takes."""
    found = loaded("import numpy\nfrom ml import embed\nembed.fit('umap', numpy.eye(40, 5, dtype=numpy.float32))")
    assert "umap" in found
    assert found & {"tensorflow", "keras"} == set()
