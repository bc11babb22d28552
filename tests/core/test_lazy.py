"""Large libraries are imported without garbage collections, and these go on afterwards."""

import gc
import sys

import pytest

from mri_alps.core.lazy import lazy_names, undisturbed_imports


@pytest.fixture(params=[True, False])
def enabled(request):
    was = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was else gc.disable)()


def test_nothing_is_collected_inside_and_all_is_as_before_outside(enabled):
    with pytest.raises(ImportError), undisturbed_imports():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() == enabled


def test_names_of_a_package_are_imported_without_collections(enabled, tmp_path, monkeypatch):
    (tmp_path / "imported_later.py").write_text("import gc\nwhile_imported = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imported_later", raising=False)
    get, _ = lazy_names(__name__, {"while_imported": "imported_later"})
    assert get("while_imported") is False
    assert gc.isenabled() == enabled
