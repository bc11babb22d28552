"""A handler for gadgetron-python: an external module of a Gadgetron chain.

In the chain's XML, after the acquisitions have been noise-adjusted or not::

    <external>
        <execute name="mri_alps.scanner.gadgetron" target="handler" type="python"/>
    </external>
"""

from __future__ import annotations

import logging
from typing import Any

_LOG = logging.getLogger(__name__)


def handler(connection: Any, **parameters: Any) -> None:
    """Reconstruct the acquisitions of a Gadgetron connection and send images down the chain.

    Parameters
    ----------
    connection : gadgetron.external.Connection
        With `header`, iteration and `send`.
    **parameters
        As in `mri_alps.scanner.configuration`, for example ``n_samples=8``.

    Raises
    ------
    MriAlpsError
        If the scan cannot be reconstructed; Gadgetron reports it to its client.
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

    reconstruct_items(
        acquisitions(), connection.header, config_text(parameters), send_log, connection.send
    )
