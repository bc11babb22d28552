"""Radial and spiral scans through the server: a slice comes back when its shots are there."""

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd.serialization import ConfigText, ProtocolDeserializer

from mri_alps.pipeline import reconstruct
from mri_alps.rawdata import TrajectoryOptions, make_header, read_raw
from mri_alps.rawdata.ismrmrd import write_acquisitions
from tests.rawdata import trajectory_scans as scans
from tests.scanner.mrd_scans import SETTINGS, Client, Limit, errors, exchange

pytest.importorskip("finufft", reason="shots are simulated with finufft")

N_SHOTS = 24


def header(n_shots=N_SHOTS, name="radial", partitions=1):
    view = (scans.VIEW_MM, scans.VIEW_MM, 5.0 * partitions)
    matrix = (*scans.SHAPE, partitions)
    limits = {"kspace_encoding_step_1": Limit(0, n_shots - 1, n_shots // 2)}
    return make_header(
        matrix, matrix, view, view, limits=limits, n_coils=scans.N_COILS, trajectory=name
    )


def shots_of(places, index=0, flagged=False, **fields):
    """The shots of one slice, brighter the higher its number."""
    samples = index * scans.samples_at(places, noise_std=0) + scans.samples_at(places, seed=index)
    position = (1.0, 2.0, -5.0 * index)
    directions = {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0), "slice_dir": (0, 0, -1)}
    made = scans.shots(
        samples, places, **{**directions, "slice": index, "position": position, **fields}
    )
    if flagged:
        made[-1].setFlag(ismrmrd.ACQ_LAST_IN_SLICE)
    return made


def noise_line():
    noise = np.random.default_rng(3).standard_normal((2, scans.N_COILS, 4000)) * scans.NOISE_STD
    flag = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
    return scans.make_acquisition((noise[0] + 1j * noise[1]).astype(np.complex64), flag)


@pytest.mark.parametrize("kind", ["radial", "spiral"])
def test_pixels_are_those_of_the_file_road(server, tmp_path, run_main, kind):
    places = scans.radial(N_SHOTS) if kind == "radial" else scans.spirals()
    lines = [noise_line(), *shots_of(places, 0), *shots_of(places, 1)]
    path = tmp_path / f"{kind}.h5"
    write_acquisitions(path, header(len(places), kind), lines)
    code, out, err = run_main("send", path, "--port", server.port)
    assert code == 0 and "2 images of 48 x 48" in out, err
    expected = reconstruct(read_raw(path), **SETTINGS)
    arrays = (expected.reconstruction, expected.reconstruction_std)
    with h5py.File(tmp_path / f"{kind}_images.h5", "r") as file:
        for series, ours in enumerate(arrays, 1):
            found = file[f"dataset/image_{series}/data"][:, 0, 0].swapaxes(1, 2)
            np.testing.assert_allclose(found, ours, rtol=2e-3, atol=1e-4 * ours.max())
    truth = scans.root_sum_of_squares()  # not only alike: right, and nothing is exchanged
    error = np.linalg.norm(expected.reconstruction[0] - truth)
    assert error < 0.15 * np.linalg.norm(truth)


def test_what_is_saved_is_what_was_sent(server):
    places = scans.radial(N_SHOTS)
    sent = [noise_line(), *shots_of(places)]
    exchange(server.port, sent, header=header())
    saved = max(server.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    with ismrmrd.Dataset(str(saved), "dataset", mode="r") as dataset:
        for number, acquisition in enumerate(sent):
            assert dataset.read_acquisition(number) == acquisition


@pytest.mark.parametrize("counted", [True, False], ids=["by the limits", "by the flag"])
def test_a_slice_comes_back_while_the_scan_goes_on(server, counted):
    places = scans.radial(N_SHOTS)
    with Client(server.port) as client:
        client.begin(header=header(N_SHOTS if counted else 1))
        first = shots_of(places, 0, flagged=not counted)
        client.send(noise_line(), *first)
        received = []
        for item in ProtocolDeserializer(client.stream).deserialize():
            if not isinstance(item, str):
                received.append((item.image_series_index, item.slice))
            if len(received) == 2:
                break
        assert received == [(1, 0), (2, 0)]
        client.send(*shots_of(places, 1, flagged=not counted))
        client.close()
        images, texts = client.receive()
    assert [(i.image_series_index, i.slice) for i in images] == [(1, 1), (2, 1)]
    assert not errors(texts)


def test_a_scan_that_is_stopped_gives_the_shots_that_came(server):
    """No noise scan: the noise comes of all there is, and a slice of fewer shots is an image."""
    places = scans.radial(N_SHOTS)
    images, texts = exchange(
        server.port, [*shots_of(places, 0), *shots_of(places, 1)[:14]], header=header()
    )
    assert [(i.image_series_index, i.slice) for i in images] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert not errors(texts)
    bright, other = images[2].data[0, 0], images[0].data[0, 0]
    assert np.percentile(bright, 90) == pytest.approx(2 * np.percentile(other, 90), rel=0.1)


def test_a_stack_comes_back_as_one_image(server):
    places = scans.radial(N_SHOTS)
    n = 4
    weights = np.array([1.0, 2.0, 3.0, 1.5])
    flat = scans.samples_at(places, noise_std=0)
    stack = weights[:, None, None, None] * flat
    stack = np.fft.fft(np.fft.ifftshift(stack, axes=0), axis=0, norm="ortho")
    stack = np.fft.fftshift(stack, axes=0)
    rng = np.random.default_rng(0)
    stack = stack + scans.NOISE_STD * (rng.standard_normal((2, *stack.shape)).T @ [1, 1j]).T
    lines = [noise_line()]
    for partition in range(n):
        lines += scans.shots(
            stack[partition].astype(np.complex64), places, kspace_encode_step_2=partition
        )
    images, texts = exchange(server.port, lines, header=header(partitions=n))
    assert not errors(texts) and len(images) == 2, texts
    mean = images[0]
    assert mean.data.shape == (1, n, *scans.SHAPE[::-1])
    assert tuple(mean.field_of_view) == (scans.VIEW_MM, scans.VIEW_MM, 20.0)
    expected = weights[:, None, None] * scans.root_sum_of_squares().T
    assert np.linalg.norm(mean.data[0] - expected) < 0.15 * np.linalg.norm(expected)


def test_a_client_asks_for_delays_shots_and_angles(server, tmp_path):
    """A configuration says what the file does not, and what is to be done with it."""
    places = scans.radial(N_SHOTS)
    nominal = scans.golden_radial(N_SHOTS, places.shape[1], scans.SHAPE).numpy()
    along = nominal[:, -1] - nominal[:, 0]
    delayed = nominal + 0.3 * (along / np.linalg.norm(along, axis=1)[:, None])[:, None]
    lines = [noise_line(), *scans.shots(scans.samples_at(delayed), nominal)]
    asked = ConfigText('{"parameters": {"correct_delays": "True", "shots": "0:24"}}')
    images, texts = exchange(server.port, lines, asked, header=header())
    assert not errors(texts) and not any("--correct-delays" in text for text in texts)
    path = tmp_path / "delayed.h5"
    write_acquisitions(path, header(), lines)
    expected = reconstruct(read_raw(path), correct_delays=True, **SETTINGS).reconstruction[0]
    np.testing.assert_allclose(images[0].data[0, 0].T, expected, rtol=2e-3, atol=1e-3)
    _, texts = exchange(server.port, lines, header=header())
    assert any("--correct-delays" in text for text in texts)

    bare = [noise_line(), *scans.shots(scans.samples_at(places), None)]
    angle = ConfigText('{"parameters": {"golden_angle": 111.246117975}}')
    images, texts = exchange(server.port, bare, angle, header=header())
    assert not errors(texts)
    write_acquisitions(path, header(), bare)
    raw = read_raw(path, trajectory=TrajectoryOptions(golden_angle=111.246117975))
    expected = reconstruct(raw, **SETTINGS).reconstruction[0]
    np.testing.assert_allclose(images[0].data[0, 0].T, expected, rtol=2e-3, atol=1e-3)


def test_a_client_says_the_unit_where_the_header_says_cartesian(server):
    lines = [noise_line(), *shots_of(scans.radial(N_SHOTS))]
    asked = ConfigText('{"parameters": {"trajectory_units": "fov"}}')
    images, texts = exchange(server.port, lines, asked, header=header(name="cartesian"))
    assert not errors(texts)
    truth = scans.root_sum_of_squares()
    assert np.linalg.norm(images[0].data[0, 0].T - truth) < 0.15 * np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("spoil", "header_of", "words"),
    [
        (lambda shot: shot.traj.__imul__(0.0), header, ["trajectory", "0"]),
        (lambda shot: shot.traj.__imul__(np.nan), header, ["NaN", "shot 0"]),
        (lambda shot: None, lambda: header(name="cartesian"), ["Cartesian", "trajectories"]),
    ],
    ids=["nowhere", "NaN", "called Cartesian"],
)
def test_shots_that_cannot_be_placed_are_refused(server, spoil, header_of, words):
    lines = shots_of(scans.radial(N_SHOTS))
    for line in lines:
        spoil(line)
    images, texts = exchange(server.port, lines, header=header_of())
    assert not images
    said = " ".join(errors(texts)).lower()
    for word in words:
        assert word.lower() in said, said


def test_shots_without_trajectory_name_what_helps(server):
    lines = scans.shots(scans.samples_at(scans.radial(N_SHOTS)), None)
    images, texts = exchange(server.port, lines, header=header())
    assert not images and "golden" in " ".join(errors(texts))
