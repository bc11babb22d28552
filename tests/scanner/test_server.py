"""Scans through the server, by a client that is made of the ismrmrd package's own code."""

import json

import ismrmrd
import numpy as np
import pytest
from ismrmrd.serialization import ConfigFile, ConfigText, ProtocolDeserializer

from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import reconstruct
from mri_alps.rawdata import read_raw
from tests.scanner.mrd_scans import (
    CROP,
    ROWS,
    SETTINGS,
    SHAPE,
    Client,
    Limit,
    errors,
    exchange,
    header_xml,
    kspace_of,
    noise_line,
    scan,
    slice_lines,
)


def newest(folder):
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_the_images_are_those_of_the_file_road(server):
    images, texts = exchange(server.port, scan(2), ConfigFile("mri_alps"))
    assert not errors(texts)
    assert [(i.image_series_index, i.slice) for i in images] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    saved = newest(server.folder)
    assert "tiny" in saved.name and "incomplete" not in saved.name
    raw = read_raw(saved)
    assert raw.provenance["slice_order"] == [0, 1]
    expected = reconstruct(raw, **SETTINGS)
    arrays = {1: expected.reconstruction, 2: expected.reconstruction_std}
    for image in images:
        ours = arrays[image.image_series_index][image.slice]
        np.testing.assert_allclose(image.data[0, 0].T, ours, rtol=2e-3, atol=1e-4 * ours.max())


def test_what_was_sent_is_what_is_saved(server):
    acquisitions = scan(2)
    exchange(server.port, acquisitions)
    with ismrmrd.Dataset(str(newest(server.folder)), "dataset", mode="r") as dataset:
        assert dataset.number_of_acquisitions() == len(acquisitions)
        for number, acquisition in enumerate(acquisitions):
            assert dataset.read_acquisition(number) == acquisition
        assert b"<protocolName>tiny</protocolName>" in dataset.read_xml_header()


def test_geometry_windows_and_meta(server):
    images, _ = exchange(server.port, scan(), ConfigFile("mri_alps"))
    mean, std = images
    assert mean.data.shape == (1, 1, CROP[1], CROP[0]) and mean.data.dtype == np.float32
    for image in images:
        assert tuple(image.position) == (1.0, 2.0, 0.0)
        assert tuple(image.read_dir) == (0, 1, 0) and tuple(image.phase_dir) == (1, 0, 0)
        assert tuple(image.slice_dir) == (0, 0, -1)
        assert tuple(image.field_of_view) == (200.0, 200.0, 5.0)
        assert image.image_type == ismrmrd.IMTYPE_MAGNITUDE and image.image_index == 1
        meta = image.meta
        assert meta["DataRole"] == "Image" and meta["Keep_image_geometry"] == "1"
        assert [float(v) for v in meta["ImageRowDir"]] == [0, 1, 0]
        assert [float(v) for v in meta["ImageColumnDir"]] == [1, 0, 0]
        width = float(meta["WindowWidth"])
        assert width == pytest.approx(2 * float(meta["WindowCenter"]), rel=1e-4)
        assert width == pytest.approx(np.percentile(image.data, 99.5), rel=1e-4)
        assert meta["mri_alps_prior"] and meta["mri_alps_n_samples"] == "2"
    assert mean.meta["ImageProcessingHistory"] == ["MRI_ALPS", "POSTERIOR_MEAN"]
    assert std.meta["ImageProcessingHistory"] == ["MRI_ALPS", "POSTERIOR_STD"]
    # the object is tall along the readout (x): 0.5 of 250 mm to each side, here 0.7 of 200 along y
    inside = mean.data[0, 0] > 0.3 * np.percentile(mean.data, 99)
    assert inside[CROP[1] // 2, CROP[0] // 2]
    assert inside.any(axis=1).sum() == pytest.approx(0.7 * SHAPE[1], abs=3)
    assert inside.any(axis=0).sum() == pytest.approx(0.5 * SHAPE[0], abs=3)


def test_samples_on_request_as_text_values(server):
    config = {"version": "1.1.0", "parameters": {"send_samples": "True", "n_samples": "3"}}
    images, _ = exchange(server.port, scan(), ConfigText(json.dumps(config)))
    by_series = {image.image_series_index: image for image in images}
    assert sorted(by_series) == [1, 2, 10, 11, 12]
    samples = np.stack([by_series[10 + k].data[0, 0] for k in range(3)])
    assert samples.dtype == np.complex64 and by_series[10].image_type == ismrmrd.IMTYPE_COMPLEX
    mean = abs(samples.mean(axis=0))
    assert_equal_to_rounding(by_series[1].data[0, 0], mean, n_summed=3, dtype="float32")
    std = abs(samples).std(axis=0, ddof=1)
    assert_equal_to_rounding(
        by_series[2].data[0, 0], std, n_summed=3, scale=abs(samples).max(), dtype="float32"
    )


def test_integers_with_one_slope_for_mean_and_deviation(server):
    plain, _ = exchange(server.port, scan(2))
    images, _ = exchange(
        server.port, scan(2), extra=['{"parameters": {"data_type": "uint16", "config": "x"}}']
    )
    assert len(images) == 4
    slopes = set()
    for image, expected in zip(images, plain, strict=True):
        assert image.data.dtype == np.uint16
        slope = float(image.meta["mri_alps_slope"])
        slopes.add(slope)
        np.testing.assert_allclose(image.data * slope, expected.data, atol=0.51 * slope)
        assert image.data.max() > (1000 if image.image_series_index == 1 else 100)
    assert len(slopes) == 1


def test_a_slice_comes_back_while_the_scan_goes_on(server):
    with Client(server.port) as client:
        client.begin(ConfigFile("mri_alps"))
        client.send(noise_line(), *slice_lines(0))
        received = []
        for item in ProtocolDeserializer(client.stream).deserialize():
            if not isinstance(item, str):
                received.append((item.image_series_index, item.slice))
            if len(received) == 2:
                break  # both images of the first slice, and the second is not yet sent
        assert received == [(1, 0), (2, 0)]
        client.send(*slice_lines(1))
        client.close()
        images, texts = client.receive()
    assert [(i.image_series_index, i.slice) for i in images] == [(1, 1), (2, 1)]
    assert not errors(texts)


def test_without_flags_and_noise_scan_all_is_done_at_the_end(server):
    acquisitions = slice_lines(0, flagged=False) + slice_lines(1, flagged=False)
    images, texts = exchange(server.port, acquisitions)
    assert len(images) == 4 and not errors(texts)


def test_repetitions_and_contrasts_are_images_of_their_own(server):
    acquisitions = [noise_line()]
    for contrast in range(2):
        for repetition in range(2):
            kspace = kspace_of(strength=1 + contrast + 2 * repetition)
            acquisitions += slice_lines(kspace=kspace, contrast=contrast, repetition=repetition)
    images, texts = exchange(server.port, acquisitions)
    means = {(i.contrast, i.repetition): i.data for i in images if i.image_series_index == 1}
    assert set(means) == {(0, 0), (1, 0), (0, 1), (1, 1)} and not errors(texts)
    for (contrast, repetition), data in means.items():
        factor = np.percentile(data, 95) / np.percentile(means[0, 0], 95)
        assert factor == pytest.approx(1 + contrast + 2 * repetition, rel=0.02)


def test_lines_after_the_last_are_not_lost(server):
    """A flag that came too early costs a second reconstruction, never a wrong final image."""
    early = [row for row in ROWS if row < 24]
    late = [row for row in ROWS if row >= 24]
    acquisitions = [noise_line(), *slice_lines(rows=early), *slice_lines(rows=late, flagged=False)]
    images, texts = exchange(server.port, acquisitions)
    expected, _ = exchange(server.port, scan())
    assert any("more lines came" in text for text in texts)
    np.testing.assert_allclose(images[-2].data, expected[0].data, rtol=1e-3, atol=1e-4)


def test_calibration_lines_that_come_last_are_waited_for(server):
    rows = list(range(0, SHAPE[1], 2))
    calibration = slice_lines(rows=range(8, 24), flagged=False)
    for line in calibration:
        line.setFlag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    images, texts = exchange(server.port, [noise_line(), *slice_lines(rows=rows), *calibration])
    assert any("waits for the rest" in text for text in texts)
    assert len(images) == 2 and not errors(texts)


def test_waveforms_do_not_disturb_the_reconstruction(server):
    waveform = ismrmrd.Waveform.from_array(np.zeros((2, 7), np.uint32))
    acquisitions = scan()
    acquisitions.insert(3, waveform)
    images, texts = exchange(server.port, acquisitions)
    assert len(images) == 2 and not errors(texts)


def test_a_volume_comes_back_as_one_image(server):
    from mri_alps.rawdata.ismrmrd.writer import make_acquisition

    x, y, z = 16, 20, 16
    grid = np.meshgrid(*(np.linspace(-1, 1, n, endpoint=False) for n in (x, y, z)), indexing="ij")
    ball = (np.hypot(np.hypot(grid[0] / 0.6, grid[1] / 0.8), grid[2] / 0.4) < 1).astype(complex)
    coils = np.stack([ball * np.exp(-((grid[1] - c) ** 2)) for c in (-0.8, 0.0, 0.8)])
    axes = (1, 2, 3)
    kspace = np.fft.fftshift(
        np.fft.fftn(np.fft.ifftshift(coils, axes), axes=axes, norm="ortho"), axes
    )
    rng = np.random.default_rng(0)
    kspace = kspace + 0.01 * rng.standard_normal(kspace.shape)
    lines = [
        make_acquisition(
            kspace[:, :, row, partition],
            kspace_encode_step_1=row,
            kspace_encode_step_2=partition,
            sample_time_us=5.0,
        )
        for row in range(y)
        for partition in range(z)
    ]
    noise = 0.01 * rng.standard_normal((2, 3, 2000))
    flag = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
    noise_scan = make_acquisition(noise[0] + 1j * noise[1], flag, sample_time_us=5.0)
    from mri_alps.rawdata.header import make_header

    header = make_header((x, y, z), (x, y, z), (160.0, 200.0, 96.0), (160.0, 200.0, 96.0))
    images, texts = exchange(server.port, [noise_scan, *lines], header=header)
    assert not errors(texts)
    mean, std = images
    assert mean.data.shape == (1, z, y, x) and tuple(mean.field_of_view) == (160.0, 200.0, 96.0)
    expected = np.linalg.norm(coils, axis=0).transpose(2, 1, 0)
    error = np.linalg.norm(mean.data[0] - expected) / np.linalg.norm(expected)
    assert error < 0.1 and (std.data >= 0).all()


@pytest.mark.parametrize(
    ("acquisitions", "header", "config", "words"),
    [
        (scan(rows=[r for r in ROWS if r % 2 == 0]), None, None, ["slice 0", "calibration"]),
        (scan(), header_xml(trajectory="spiral"), None, ["'spiral'", "no trajectory"]),
        (scan(), None, ConfigFile("simplefft"), ["'simplefft'", "mri_alps"]),
        (scan(), None, ConfigText('{"parameters": {"n_samples": "many"}}'), ["n_samples", "many"]),
        ([noise_line()], None, None, ["imaging"]),
        (scan(), header_xml(matrix=(16000, 16000, 1)), None, ["GiB", "--memory-limit"]),
    ],
    ids=["no calibration", "spiral", "unknown name", "bad value", "only noise", "too large"],
)
def test_refusals_say_why_and_keep_the_scan(server, acquisitions, header, config, words):
    before = set(server.folder.iterdir())
    images, texts = exchange(server.port, acquisitions, config, header)
    assert not images
    said = " ".join(errors(texts))
    for word in words:
        assert word in said
    (saved,) = set(server.folder.iterdir()) - before
    assert "incomplete" not in saved.name
    with ismrmrd.Dataset(str(saved), "dataset", mode="r") as dataset:
        assert dataset.number_of_acquisitions() == len(acquisitions)


def test_one_bad_slice_does_not_stop_the_others(server):
    bad = kspace_of(1)
    bad[0, 3, 4] = np.nan
    acquisitions = [noise_line(), *slice_lines(0), *slice_lines(1, kspace=bad), *slice_lines(2)]
    images, texts = exchange(server.port, acquisitions)
    assert {image.slice for image in images} == {0, 2}
    assert len(errors(texts)) == 1 and "slice 1" in errors(texts)[0] and "NaN" in errors(texts)[0]


def test_unknown_parameters_are_named_and_ignored(server):
    config = ConfigText('{"parameters": {"n_sample": 9, "mask": "/etc/passwd"}}')
    images, texts = exchange(server.port, scan(), config)
    assert len(images) == 2
    assert any("'n_sample'" in text and "n_samples" in text for text in texts)
    assert any("'mask'" in text for text in texts)


def test_averages_wait_for_the_last(server):
    limit = {"average": Limit(0, 1, 0)}
    acquisitions = [noise_line()]
    for average in range(2):
        acquisitions += slice_lines(kspace=kspace_of(0, seed=average), average=average)
    images, texts = exchange(server.port, acquisitions, header=header_xml(**limit))
    assert len(images) == 2 and not any("more lines" in text for text in texts)


def test_nothing_but_close_is_answered_with_close(server):
    with Client(server.port) as client:
        client.close()
        assert client.receive() == ([], [])
