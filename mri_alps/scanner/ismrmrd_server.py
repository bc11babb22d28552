"""``process`` for python-ismrmrd-server and its kin.

These servers import the module that a configuration names and call its ``process``. Both
``mri_alps`` and ``mri_alps.scanner.ismrmrd_server`` are such names. An ImportError at this point
would make them run another reconstruction without a word, so that nothing is imported here that
they do not have themselves.
"""

from __future__ import annotations

import json
import logging
from typing import Any

_LOG = logging.getLogger(__name__)


def process(connection: Any, config: Any, header: Any) -> None:
    """Reconstruct the scan that comes over a connection, and send the images back.

    Parameters
    ----------
    connection : object
        Of python-ismrmrd-server: iterating it gives ismrmrd acquisitions, images and waveforms,
        then None; `send_image`, `send_logging` and `send_close` answer.
    config : str or dict
        Name of the configuration, or JSON with ``parameters``; see
        `mri_alps.scanner.configuration`.
    header : ismrmrd.xsd.ismrmrdHeader or str
        The scan's header.
    """
    try:
        _process(connection, config, header)
    except Exception as error:  # noqa: BLE001 - the server must go on
        _LOG.exception("the reconstruction failed")
        connection.send_logging("ERROR   ", _sentence(error))
        for _ in _until_none(connection):  # closing with unread data would lose the message
            pass
    finally:
        connection.send_close()


def _process(connection: Any, config: Any, header: Any) -> None:
    import ismrmrd

    from mri_alps.scanner.plugin import reconstruct_items

    def send_log(level: str, sentence: str) -> None:
        connection.send_logging(f"{level:<8}", sentence)

    items = (item for item in _until_none(connection) if isinstance(item, ismrmrd.Acquisition))
    reconstruct_items(items, header, config_text(config), send_log, connection.send_image)


def _until_none(connection: Any) -> Any:
    for item in connection:
        if item is None:
            return
        yield item


def config_text(config: object) -> str:
    """Return a configuration as `configure` takes it.

    Parameters
    ----------
    config : str, dict or None
        JSON, parsed JSON, or a name: whatever it is, the server has chosen this module for it.
    """
    if config is None:
        return ""
    if not isinstance(config, str):
        return json.dumps(config)
    return config if config.lstrip().startswith("{") else ""


def _sentence(error: Exception) -> str:
    from mri_alps.core.errors import MriAlpsError
    from mri_alps.scanner.workers import internal_error

    return str(error) if isinstance(error, MriAlpsError) else internal_error(error)
