"""The handler inside gadgetron-python: a test plays Gadgetron itself at the other end."""

import json
import os
import socket
import subprocess
import sys

import ismrmrd
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, MriAlpsError
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner import protocol
from mri_alps.scanner.gadgetron import handler, properties
from tests.scanner.mrd_scans import SETTINGS, header_xml, in_thread, scan
from tests.waiting import LONG

PROPERTIES = "".join(f'<property name="{k}" value="{v}"/>' for k, v in SETTINGS.items())
CONFIGURATION = f"<configuration>{PROPERTIES}</configuration>"


class Connection:
    """As gadgetron.external.Connection."""

    header = ismrmrd.xsd.CreateFromDocument(header_xml())

    def __init__(self, items, config=None):
        from xml.etree import ElementTree

        self.items, self.sent = items, []
        self.config = None if config is None else ElementTree.fromstring(config)

    def __iter__(self):
        return iter(self.items)

    def send(self, item):
        self.sent.append(item)


def test_settings_come_from_the_chain():
    other = ismrmrd.Image.from_array(np.ones((2, 2), np.float32))
    connection = Connection([other, *scan()], CONFIGURATION)
    handler(connection)
    assert connection.sent[0] is other
    assert [image.image_series_index for image in connection.sent[1:]] == [1, 2]
    for image in connection.sent[1:]:
        meta = ismrmrd.Meta.deserialize(image.attribute_string)
        assert int(meta["mri_alps_n_samples"]) == SETTINGS["n_samples"]
        assert float(meta["mri_alps_n_evaluations"]) == SETTINGS["n_evaluations"]
        assert image.data.dtype == np.uint16
    with pytest.raises(MriAlpsError, match="n_samples"):
        handler(Connection(scan(), CONFIGURATION), n_samples="none")


def test_properties_in_every_form_that_chains_have():
    text = (
        '<external xmlns="http://gadgetron.sf.net/gadgetron"><configuration>'
        '<property name="nSamples" value="3"/>'
        "<property><name>seed</name><value>7</value></property></configuration></external>"
    )
    assert dict(properties(Connection([], text))) == {"nSamples": "3", "seed": "7"}
    assert not dict(properties(Connection([])))
    with pytest.raises(ConfigurationError, match="expected a name and a value"):
        list(properties(Connection([], '<configuration><property name="seed"/></configuration>')))


def test_a_configuration_that_is_no_xml_is_refused():
    connection = Connection([])
    connection.raw_bytes = type("Raw", (), {"config": b"n_samples=3"})
    with pytest.raises(ConfigurationError, match="is no XML"):
        handler(connection)


def test_as_a_process_of_gadgetron_itself():
    pytest.importorskip("gadgetron", reason="gadgetron-python is not installed")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(LONG)
    name, port = "mri_alps.scanner.gadgetron", str(listener.getsockname()[1])
    command = [sys.executable, "-m", "gadgetron", port, name, "handler"]
    module = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    said = []
    drain = in_thread(lambda: said.append(module.stderr.read()))
    with listener, listener.accept()[0] as parent:
        parent.settimeout(LONG)
        parent.sendall(
            protocol.text_message(CONFIGURATION, kinds.CONFIG_TEXT)
            + protocol.header_message(header_xml())
            + b"".join(map(protocol.acquisition_message, scan()))
            + protocol.close_message()
        )
        images = []
        with parent.makefile("rb") as stream:
            while (kind := int.from_bytes(stream.read(2), "little")) == kinds.IMAGE:
                images.append(ismrmrd.Image.deserialize_from(stream.read))
        assert kind == kinds.CLOSE, said
    assert module.wait(LONG) == 0
    drain.join(LONG)
    module.stderr.close()
    assert [image.image_series_index for image in images] == [1, 2]
    found = [ismrmrd.Meta.deserialize(image.attribute_string) for image in images]
    assert [float(meta["mri_alps_n_evaluations"]) for meta in found] == [4, 4], json.dumps(said)
