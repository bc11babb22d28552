"""A handler for gadgetron-python: an external module of a Gadgetron chain.

In the chain's XML, after the acquisitions have been noise-adjusted or not::

    <external>
        <execute name="mri_alps.scanner.gadgetron" target="handler" type="python"/>
        <configuration>
            <property name="n_samples" value="8"/>
        </configuration>
    </external>
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

_LOG = logging.getLogger(__name__)


def handler(connection: Any, **parameters: Any) -> None:
    """Reconstruct the acquisitions of a Gadgetron connection and send images down the chain.

    Parameters
    ----------
    connection : gadgetron.external.Connection
        With `header`, iteration and `send`; the properties of its `config` are settings as in
        `mri_alps.scanner.configuration`.
    **parameters
        Settings from Python, which win over those of the chain.

    Raises
    ------
    MriAlpsError
        If a setting makes no sense, or the scan cannot be reconstructed; Gadgetron reports it to
        its client.
    """
    import ismrmrd

    from mri_alps.scanner.ismrmrd_server import config_text
    from mri_alps.scanner.plugin import reconstruct_items

    def send_log(level: str, sentence: str) -> None:
        _LOG.log(getattr(logging, level), sentence)

    def acquisitions() -> Any:
        for item in connection:
            if isinstance(item, ismrmrd.Acquisition):
                yield item
            elif not isinstance(item, ismrmrd.Waveform):
                connection.send(item)  # for others down the chain

    given = config_text(dict(properties(connection)) | parameters)
    reconstruct_items(acquisitions(), connection.header, given, send_log, connection.send)


def properties(connection: Any) -> Iterator[tuple[str, str]]:
    """Yield names and values of the properties that the chain's XML gives this module.

    Parameters
    ----------
    connection : gadgetron.external.Connection
        Its `config` is the parsed element ``configuration``, or None where it is no XML. A
        property has ``name`` and ``value`` as attributes, or as elements within.

    Raises
    ------
    ConfigurationError
        If there is a configuration that is no XML, or a property without a name or a value.
    """
    from mri_alps.core.errors import ConfigurationError

    raw = getattr(getattr(connection, "raw_bytes", None), "config", None)
    root = getattr(connection, "config", None)
    if root is None:
        if raw and raw.strip(b"\0 \t\r\n"):
            raise ConfigurationError(
                f"the configuration of the external module is no XML ({raw[:40]!r}), expected "
                "<configuration> with elements <property name=... value=...>: correct the chain"
            )
        return
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "property":
            found = _parts(element)
            if not found.get("name") or "value" not in found:
                raise ConfigurationError(
                    f"a <property> of the external module has {found or 'nothing'}, expected a "
                    "name and a value: correct the chain"
                )
            yield found["name"], found["value"]


def _parts(element: Any) -> dict[str, str]:
    inner = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}
    return inner | dict(element.attrib)
