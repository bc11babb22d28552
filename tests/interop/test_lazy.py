"""Optional packages stay optional."""

import subprocess
import sys

import pytest

import mri_alps.interop
from mri_alps.core.errors import MissingDependencyError, MriAlpsError
from mri_alps.core.optional import require


@pytest.mark.parametrize("module", ["mri_alps", "mri_alps.interop", "mri_alps.cli.app"])
def test_nothing_optional_is_imported(module):
    optional = ("deepinv", "mrpro", "nibabel", "pydicom", "sigpy")
    code = f"import sys, {module}; print([name for name in {optional} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("DeepinvPhysics", "deepinv", "pip install 'mri-alps[deepinv]'"),
        ("DeepinvReconstructor", "deepinv", "pip install 'mri-alps[deepinv]'"),
        ("as_mrpro_operator", "mrpro", "pip install 'mri-alps[mrpro]'"),
        ("raw_from_kdata", "mrpro", "pip install 'mri-alps[mrpro]'"),
    ],
)
def test_a_missing_package_names_its_pip_command(monkeypatch, name, package, command):
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    module = mri_alps.interop._HOME_OF[name]
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delitem(vars(mri_alps.interop), name, raising=False)
    monkeypatch.delitem(vars(mri_alps.interop), module.rpartition(".")[2], raising=False)
    with pytest.raises(MissingDependencyError) as caught:
        getattr(mri_alps.interop, name)
    assert command in str(caught.value) and isinstance(caught.value, (ImportError, MriAlpsError))


def test_a_package_that_lacks_a_part_of_its_own_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_a_package.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        require("half_a_package", "a test", "test")


def test_names():
    assert set(mri_alps.interop.__all__) <= set(dir(mri_alps.interop))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mri_alps.interop.nothing
