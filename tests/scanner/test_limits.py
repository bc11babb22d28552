"""Every kind of message has a limit on number and sum; units become jobs once."""

import ismrmrd
import numpy as np
import pytest
from ismrmrd.serialization import ConfigText

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import description
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner import protocol
from mri_alps.scanner._intake import ScanHeader, ScanIntake
from mri_alps.scanner.configuration import OnlineConfiguration, configure
from mri_alps.scanner.limits import QUOTAS, LimitExceeded
from mri_alps.scanner.protocol import MessageReader, ReceivedAcquisition
from mri_alps.scanner.settings import Limits, Quota, ServerSettings
from tests.scanner.mrd_scans import (
    Client,
    check_good_scan,
    errors,
    exchange,
    header_xml,
    noise_line,
    slice_lines,
)

SMALL = ismrmrd.Acquisition.from_array(np.ones((2, 3), np.complex64))
WAVEFORM = ismrmrd.Waveform.from_array(np.ones((1, 3), np.uint32))
IMAGE = ismrmrd.Image.from_array(np.ones((3, 2), np.float32))
MESSAGES = {
    kinds.CONFIG_FILE: protocol.config_file_message("x"),
    kinds.CONFIG_TEXT: protocol.text_message("{}", kinds.CONFIG_TEXT),
    kinds.HEADER: protocol.header_message(b"<a/>"),
    kinds.TEXT: protocol.text_message("a remark"),
    kinds.CLOSE: protocol.close_message(),
    kinds.ACQUISITION: protocol.acquisition_message(SMALL),
    kinds.WAVEFORM: b"\x02\x04" + WAVEFORM.to_bytes(),
    kinds.IMAGE: protocol.image_message(IMAGE),
}


def read_all(data, limits, skipped=()):
    place = 0

    def read(count):
        nonlocal place
        part = data[place : place + count]
        place += len(part)
        return part

    reader, count = MessageReader(read, limits, skipped), 0
    while reader.next() is not None:
        count += 1
    return count


def test_every_kind_has_a_row():
    assert set(QUOTAS) == {*kinds.NAMES, kinds.EMPTY} and set(MESSAGES) == set(kinds.NAMES)


@pytest.mark.parametrize("kind", MESSAGES, ids=kinds.NAMES.get)
@pytest.mark.parametrize("skipped", [(), (kinds.IMAGE, kinds.WAVEFORM)], ids=["kept", "skipped"])
def test_number_and_sum_are_limited(kind, skipped):
    few = Limits(quotas={**QUOTAS, kind: QUOTAS[kind]._replace(number=3)})
    assert read_all(MESSAGES[kind] * min(3, QUOTAS[kind].number), few, skipped)
    with pytest.raises(LimitExceeded, match=r"4 messages .* at most 3 are taken"):
        read_all(MESSAGES[kind] * 4, few, skipped)
    if kind == kinds.CLOSE:
        return
    lengths = {kinds.CONFIG_TEXT: 4, kinds.HEADER: 4, kinds.TEXT: 4, kinds.IMAGE: 8}
    size = len(MESSAGES[kind]) - 2 - lengths.get(kind, 0)
    short = Limits(quotas={**QUOTAS, kind: Quota(9, size, 3 * size - 1)})
    assert read_all(MESSAGES[kind] * 2, short, skipped) == 2
    with pytest.raises(LimitExceeded, match=r"have more than .* bytes together"):
        read_all(MESSAGES[kind] * 3, short, skipped)
    with pytest.raises(LimitExceeded, match="--scan-limit"):
        read_all(MESSAGES[kind], Limits(scan_limit=2**-30), skipped)


def test_texts_that_configure_count_as_configurations():
    data = protocol.text_message("{}") * 17
    with pytest.raises(LimitExceeded, match="'configuration'"):
        read_all(data, Limits())
    assert read_all(protocol.text_message("remark") * 17, Limits()) == 17


def test_acquisitions_without_samples_have_a_limit_of_their_own():
    empty = ismrmrd.Acquisition.from_array(np.zeros((2, 0), np.complex64))
    limits = Limits(quotas={**QUOTAS, kinds.EMPTY: Quota(2, 0, 0)})
    assert read_all(protocol.acquisition_message(empty) * 2, limits) == 2
    with pytest.raises(LimitExceeded, match="without samples"):
        read_all(protocol.acquisition_message(empty) * 3, limits)


@pytest.mark.parametrize("begin", [[], slice_lines(flagged=False)[:1]], ids=["before", "within"])
def test_a_flood_of_configurations_is_refused_and_stored_once(server, begin):
    before = set(server.folder.iterdir())
    with Client(server.port) as client:
        client.begin()
        client.send(*begin, *[ConfigText('{"a": "' + "x" * 60_000 + '"}')] * 40)
        client.close()
        images, texts = client.receive()
    assert not images and "17 messages of the kind 'configuration'" in errors(texts)[0]
    saved = set(server.folder.iterdir()) - before
    assert len(saved) == len(begin) and sum(path.stat().st_size for path in saved) < 100_000
    check_good_scan(server.port)


def test_a_second_header_is_refused(server):
    header = ismrmrd.xsd.CreateFromDocument(header_xml())
    _, texts = exchange(server.port, [], extra=[header])
    assert "a connection for each scan" in errors(texts)[0]


def test_unknown_parameters_are_named_at_most_ten_times():
    text = "{" + ", ".join(f'"p{number}": 1' for number in range(1000)) + "}"
    assert len(configure([text], OnlineConfiguration()).notes) == 10


@pytest.fixture
def intake(tmp_path):
    with intake_of(tmp_path) as made:
        yield made


def intake_of(folder, **limits):
    scan = ScanHeader.parse(header_xml(), folder / "scan")
    return ScanIntake(scan, OnlineConfiguration(), Limits(**limits), folder)


def received(*flags, **counters):
    (line,) = slice_lines(rows=[3], flagged=False, **counters)
    for flag in flags:
        line.setFlag(flag)
    return ReceivedAcquisition.from_ismrmrd(line)


@pytest.mark.parametrize("flag", [ismrmrd.ACQ_LAST_IN_SLICE, ismrmrd.ACQ_LAST_IN_MEASUREMENT])
def test_lines_that_each_claim_to_be_the_last_make_one_job(intake, flag):
    due = [job for _ in range(50) for job in intake.add(received(flag))]
    assert [(job.unit.slice, job.n_lines) for job in due] == [(0, 1)]
    (final,) = intake.finish()
    assert final.n_lines == 50 and not final.is_early


def test_a_job_has_the_lines_that_had_come_when_it_became_due(intake):
    intake.add(received())
    (due,) = intake.add(received(ismrmrd.ACQ_LAST_IN_SLICE))
    expected = intake.work(due).job.store.heads()
    for _ in range(3):
        intake.add(received())
    found = intake.work(due).job.store.heads()
    np.testing.assert_array_equal(found.index, expected.index)
    assert len(found.index) == due.n_lines == 2


def test_slices_beyond_the_limit_are_left_out_and_counted(tmp_path):
    with intake_of(tmp_path, image_limit=2) as intake:
        for repetition in range(5):
            intake.add(received(repetition=repetition))
        assert [due.unit.repetition for due in intake.finish()] == [0, 1]
        assert intake.n_left_out == 3


@pytest.mark.parametrize(
    ("cls", "name"),
    [(Limits, name) for name in description(Limits)]
    + [(ServerSettings, name) for name in ("port", "workers", "max_connections", "grace")],
)
@pytest.mark.parametrize("value", [-1.0, float("nan"), "one", None, True])
def test_wrong_limits_are_named(cls, name, value):
    with pytest.raises(ConfigurationError, match=f"^{name} is .*, expected a "):
        cls(**{name: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--scan-limit", value) for value in ("0", "nan")),
        ("--max-connections", "0"),
        ("--port", "65536"),
        ("--grace", "0"),
        ("--data-type", "int8"),
    ],
)
def test_wrong_options_of_a_server_are_named(run, option, value):
    result = run("serve", option, value)
    assert result.code == 1 and f"{option} is " in result.err


def test_limits_may_be_infinite_and_are_given_in_gibibytes():
    limits = Limits(scan_limit=float("inf"), memory_limit=0.5)
    assert limits.scan_bytes > 2**60 and limits.memory_bytes == 2**29


def test_noise_floods_cost_no_jobs(intake):
    line = ReceivedAcquisition.from_ismrmrd(noise_line())
    assert not any(intake.add(line) for _ in range(20))
