from __future__ import annotations

import sys
from pathlib import Path

import pytest

from search.errors import StudyError
from search.own_models.source import MAX_CHARACTERS, collect, outside_modules


def test_the_files_that_importing_it_loads_and_no_others(folder: Path) -> None:
    found = collect("my_models.py:build", folder)
    assert sorted(found) == ["layers.py", "my_models.py"]
    assert found["layers.py"] == (folder / "layers.py").read_text()
    assert collect("my_models:build", folder) == found


def test_packages_relative_imports_and_imports_within_functions(tmp_path: Path) -> None:
    for path, text in {
        "nets/__init__.py": "",
        "nets/big.py": "from .parts import one\nfrom . import sister\nfrom .. import unreachable\n",
        "nets/parts/__init__.py": "from nets.parts.one import f",
        "nets/parts/one.py": "import torch\n\ndef f():\n    import late\n",
        "nets/sister.py": "try:\n    import shared.deep.tool\nexcept ImportError:\n    pass\n",
        "nets/unused.py": "",
        "shared/__init__.py": "",
        "shared/deep/tool.py": "",
        "late.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    wanted = {
        *("nets/__init__.py", "nets/big.py", "nets/parts/__init__.py", "nets/parts/one.py", "nets/sister.py"),
        *("shared/__init__.py", "shared/deep/tool.py", "late.py"),
    }
    assert set(collect("nets/big.py:build", tmp_path)) == wanted
    assert set(collect("nets.big:build", tmp_path)) == wanted


def test_nothing_is_run(folder: Path) -> None:
    (folder / "my_models.py").write_text("import layers\nraise SystemExit\n")
    assert set(collect("my_models.py:build", folder)) == {"layers.py", "my_models.py"}
    assert "layers" not in sys.modules


def test_an_installed_distribution_is_its_version(folder: Path) -> None:
    from importlib import metadata

    assert collect("torch.nn:Linear", folder) == {"distribution:torch": metadata.version("torch")}


def test_what_a_node_needs(folder: Path) -> None:
    (folder / "my_models.py").write_text("import os, timm.models\nfrom torch import nn\nimport layers\n")
    assert outside_modules(collect("my_models.py:build", folder)) == ("timm", "torch")


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("my_models.py", r"model\.factory: expected \"my_models\.py:build\" or"),
        ("my_models:build()", "expected"),
        (3, "found 3"),
        ("../my_models.py:build", r"expected a file below the study file's folder, found \.\./my_models\.py"),
        ("/etc/my_models.py:build", "expected a file below"),
        ("my_model.py:build", r"found none at .*my_model\.py; did you mean my_models\.py\?"),
        ("no_such_package.module:build", "found none named no_such_package.module"),
        ("torch.no_such_module:build", "found none named torch.no_such_module"),
    ],
)
def test_a_factory_that_is_not_there(folder: Path, factory: object, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        collect(factory, folder)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"my_models.py": "def build(:\n"}, r"my_models\.py:1: "),
        ({"my_models.py": "import layers\n", "layers.py": "x = (\n\n"}, r"layers\.py:1: "),
        ({"my_models.py": "import random\n", "random.py": ""}, r"random\.py hides the module random; rename"),
        ({"my_models.py": "import numpy\n", "numpy/__init__.py": ""}, r"numpy/__init__\.py hides the module numpy"),
        ({"my_models.py": "import spaces\n", "spaces.py": ""}, r"spaces\.py hides the module spaces"),
        ({"my_models.py": "#" * (MAX_CHARACTERS + 1)}, "found more; import less"),
    ],
)
def test_files_that_cannot_travel(folder: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(StudyError, match=words):
        collect("my_models.py:build", folder)


def test_another_encoding_and_a_link_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "layers.py").write_bytes("# äöü\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"layers\.py: expected Python source in UTF-8"):
        collect("my_models.py:build", folder)
    outside = tmp_path_factory.mktemp("outside") / "secret.py"
    outside.write_text("")
    (folder / "layers.py").unlink()
    (folder / "layers.py").symlink_to(outside)
    with pytest.raises(StudyError, match=r"layers\.py is a link to .*secret\.py"):
        collect("my_models.py:build", folder)
