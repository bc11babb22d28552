"""The container for OpenRecon: its label by the rules of the schema, and the package."""

import base64
import copy
import io
import json
import tarfile
import zipfile
from importlib import resources

import pytest

import mri_alps
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.scanner.configuration import OnlineConfiguration, configure
from mri_alps.scanner.openrecon import LABEL_NAME, check_label, package_name, read_label
from mri_alps.scanner.openrecon import write_package as pack

NAME = f"OpenRecon_mrialps_ALPS_V{mri_alps.__version__}"


def test_the_label_keeps_the_rules_and_the_server_takes_what_it_offers():
    label = read_label()
    assert check_label(label) == []
    settings = label["reconstruction"]
    assert (settings["port"], settings["emitter"], settings["injector"]) == (9002, "raw", "image")
    general = label["general"]
    assert general["version"] == mri_alps.__version__
    assert general["regulatory_information"]["production_identifier"] == mri_alps.__version__
    assert package_name(label) == NAME
    values = {entry["id"]: entry["default"] for entry in label["parameters"]}
    found = configure([json.dumps({"parameters": values})], OnlineConfiguration())
    assert found.notes == () and found.sending.data_type == "uint16"
    for entry in label["parameters"]:
        for choice in entry.get("values", []):
            configure([json.dumps({entry["id"]: choice["id"]})], OnlineConfiguration())


@pytest.mark.parametrize("name", ["n_samples", "nSamples", "nsamples", "N_SAMPLES"])
def test_a_parameter_is_known_with_and_without_underscores(name):
    found = configure([json.dumps({name: "5"})], OnlineConfiguration())
    assert found.reconstruction.n_samples == 5 and found.notes == ()


def test_two_spellings_of_one_parameter_are_refused():
    with pytest.raises(ConfigurationError, match="n_samples is given as nSamples and n_samples"):
        configure(['{"nSamples": 3, "n_samples": 4}'], OnlineConfiguration())


def change(place, value):
    label = copy.deepcopy(read_label())
    *way, last = place
    part = label
    for step in way:
        part = part[step]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return label


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("parameters", 1, "id"), "n_samples", "letters and digits"),
        (("parameters", 1, "default"), 1, "outside its bounds"),
        (("parameters", 1, "default"), True, "expected int"),
        (("parameters", 1, "maximum"), 2**31, "32 bits"),
        (("parameters", 1, "unit"), {"en": "many"}, "4 letters"),
        (("parameters", 1, "type"), "whole", "expected boolean"),
        (("parameters", 1, "more"), 1, "unknown entry more"),
        (("parameters", 1, "id"), "prior", "occurs twice"),
        (("parameters", 0, "default"), "none", "none of its values"),
        (("parameters", 0, "values"), [{"id": "x"}], "lacks name"),
        (("parameters", 0, "label"), {"de": "x"}, "no English text"),
        (("parameters",), [{}] * 15, "at most 14"),
        (("general", "version"), "1.0", "none such as"),
        (("general", "vendor"), None, "lacks vendor"),
        (("general", "regulatory_information", "gtin"), None, "lacks gtin"),
        (("general", "name"), {}, "no English text"),
        (("reconstruction", "emitter"), "kspace", "expected raw or image"),
        (("reconstruction", "min_count_required_cpu_cores"), 0, "at least 1"),
        (("reconstruction", "transfer_protocol", "version"), "2", "ISMRMRD 1.4.1"),
        (("reconstruction", "port"), "9002", "expected int"),
        (("general",), None, "the label lacks general"),
    ],
)
def test_what_breaks_a_rule_is_named(place, value, words):
    assert words in "; ".join(check_label(change(place, value)))


def saved_image(path, label):
    """A tar as docker save writes it, but for the layers."""
    labels = {LABEL_NAME: base64.b64encode(json.dumps(label).encode()).decode()}
    entries = {
        "manifest.json": [{"Config": "blobs/sha256/ab", "Layers": []}],
        "blobs/sha256/ab": {"config": {"Labels": labels}},
    }
    with tarfile.open(path, "w") as archive:
        for name, content in entries.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_the_package_is_all_but_the_image(tmp_path):
    document, recipe = pack(tmp_path / "package")
    assert document.name == f"{NAME}.pdf" and document.read_bytes()[:5] == b"%PDF-"
    (line,) = [line for line in recipe.read_text().splitlines() if line.startswith("ARG LABEL")]
    assert json.loads(base64.b64decode(line.split('"')[1])) == read_label()
    image = saved_image(tmp_path / "image.tar", read_label())
    written = pack(tmp_path / "package", image)
    assert written[1].name == f"{NAME}.zip"
    with zipfile.ZipFile(written[1]) as archive:
        assert archive.namelist() == [f"{NAME}.tar", f"{NAME}.pdf"]
        assert archive.read(f"{NAME}.tar") == image.read_bytes()


def test_an_image_of_something_else_is_refused(tmp_path):
    old = saved_image(tmp_path / "old.tar", change(("general", "version"), "0.0.9"))
    with pytest.raises(InputFileError, match="another version"):
        pack(tmp_path / "package", old)
    (tmp_path / "no.tar").write_bytes(b"no tar")
    with pytest.raises(InputFileError, match="docker save"):
        pack(tmp_path / "package", tmp_path / "no.tar")
    assert not (tmp_path / "package").exists()


def test_the_container_serves_integers():
    folder = resources.files("mri_alps") / "scanner" / "openrecon"
    container = (folder / "Containerfile").read_text()
    assert "pip install --no-cache-dir ." in container and '"--data-type", "uint16"' in container
