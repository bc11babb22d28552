"""Lines shared over the frames of a film, and exchanged points, against dense matrices."""

import math

import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import ifftc
from mri_alps.masks.design import (
    DesignSettings,
    JointInformation,
    LineErrors,
    choose_greedily,
    choose_nested,
)
from mri_alps.masks.design.frames import interleaved
from mri_alps.masks.design.points import PointErrors
from tests.masks.test_design_error import (
    NOISE_STD,
    fourier,
    real_covariances,
    small_case,
    smooth_maps,
)

DYNAMIC = 0.3


def dense_film(covariances, maps, weights, n_frames, measured):
    """The definition in numpy: frame by frame real parts, then imaginary ones, of one row each."""
    total, width = 0.0, maps.shape[-1]
    for row, covariance in enumerate(covariances.numpy()):
        shared = (1 - DYNAMIC) * np.ones((n_frames, n_frames)) + DYNAMIC * np.eye(n_frames)
        joint = np.kron(shared, covariance)
        values = []
        for frame, line in measured:
            for coil in range(len(maps)):
                v = fourier(width)[line] * maps[coil, row].numpy()
                for part in (np.r_[v.real, -v.imag], np.r_[v.imag, v.real]):
                    whole = np.zeros((n_frames, 2 * width))
                    whole[frame] = part
                    values.append(whole.ravel())
        h = np.array(values)
        noisy = h @ joint @ h.T + NOISE_STD**2 * np.eye(len(h))
        after = joint - joint @ h.T @ np.linalg.solve(noisy, h @ joint)
        for frame in range(n_frames):
            part = slice(2 * width * frame, 2 * width * (frame + 1))
            own, weight = after[part, part], weights[row].numpy()
            total += (
                weight @ np.diag(own) if weight.ndim == 1 else np.trace(weight.T @ own @ weight)
            )
    return total


@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize("contrast", [False, True])
def test_a_film_is_conditioned_as_dense_matrices_are(width, contrast):
    covariances, maps, weights, errors = small_case(width, contrast=contrast)
    film = errors.of_frames(3, DYNAMIC)
    measured = [(0, width // 2), (2, 1)]
    before = film.variance()
    for frame, line in measured:
        film.condition(frame * width + line)
    now = dense_film(covariances, maps, weights, 3, measured)
    assert film.variance() == pytest.approx(now, rel=1e-9)
    gains = film.gains()
    assert len(gains) == 3 * width
    for frame, line in ((0, 2), (1, width // 2), (2, width - 1)):
        after = dense_film(covariances, maps, weights, 3, [*measured, (frame, line)])
        expected = math.log(now / after)
        assert float(gains[frame * width + line]) == pytest.approx(expected, rel=1e-6)
    chosen = [frame * width + line for frame, line in measured]
    without = [dense_film(covariances, maps, weights, 3, [one]) for one in measured[::-1]]
    np.testing.assert_allclose(film.losses(chosen), np.log(np.array(without) / now), rtol=1e-6)
    for candidate in chosen:
        film.forget(candidate)
    assert film.variance() == pytest.approx(before, rel=1e-9)


def designed_film(dynamic):
    width, n_frames = 24, 3
    covariances = real_covariances(2, width, imaginary=0.3)
    weights = torch.cat([torch.ones(2, width), torch.zeros(2, width)], 1)
    film = LineErrors(covariances, smooth_maps(1, 2, width), NOISE_STD, weights)
    film = film.of_frames(n_frames, dynamic)
    start = np.zeros((n_frames, width), bool)
    start[:, width // 2 - 2 : width // 2 + 2] = True
    for candidate in np.flatnonzero(start.ravel()):
        film.condition(int(candidate))
    rival = interleaved(start.ravel(), np.zeros(start.size, bool), 8, n_frames)
    fresh = np.flatnonzero(rival & ~start.ravel()).tolist()
    taken = torch.from_numpy(start.ravel())
    found = choose_nested([film], taken, 12, [fresh], n_frames)
    mask = np.zeros(start.size, bool)
    mask[list(found.candidates)] = True
    for candidate in fresh:
        film.condition(candidate)
    return mask.reshape(start.shape), found.variances[-1][0], film.variance()


def test_frames_of_a_still_image_share_and_those_of_another_do_not():
    still, error, rival = designed_film(0.02)
    assert still.sum(1).tolist() == [4, 4, 4]
    assert still.any(0).sum() >= 11  # nearly no line is measured twice
    assert error <= rival * (1 + 1e-9)
    moving, error, rival = designed_film(1.0)
    assert moving.sum(1).tolist() == [4, 4, 4]
    assert moving.any(0).sum() <= 6  # the best lines of one frame are those of another
    assert error <= rival * (1 + 1e-9)


def test_interleaved_frames_cover_what_there_are_lines_for():
    start = np.zeros((4, 36), bool)
    start[:, 16:20] = True
    closed = np.zeros_like(start)
    closed[:, :4] = True
    mask = interleaved(start.ravel(), closed.ravel(), 11, 4).reshape(4, 36)
    assert mask.sum(1).tolist() == [11] * 4
    assert not mask[:, :4].any()
    assert mask[:, 4:].any(0).all()  # 28 lines in 4 frames of 7
    with pytest.raises(ConfigurationError, match="found the objective information"):
        DesignSettings(8, objective="information", frames=2)
    with pytest.raises(ConfigurationError, match=r"0 to 1 of the whole, found 1\.5"):
        DesignSettings(8, frames=2, dynamic=1.5)


def point_case(n_coils=3, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*[torch.arange(side).double() - side // 2] * 2, indexing="ij")
    spectrum = 1 / (1 + torch.hypot(y, x)) ** 2 + 0.01 * torch.rand(
        side, side, generator=generator, dtype=torch.float64
    )
    angle = 2 * math.pi * torch.arange(n_coils).double()[:, None, None] / n_coils
    near = torch.cos(2 * math.pi * x / side - angle) + torch.sin(2 * math.pi * y / side + angle)
    maps = (1 + 0.4 * near).to(torch.complex128)
    return spectrum, maps / n_coils**0.5


def test_a_point_that_is_forgotten_was_never_measured():
    spectrum, maps = point_case()
    errors = PointErrors(spectrum, maps, NOISE_STD)
    gains, whole = errors.gains(), errors.variance()
    points = [36, 37, 44, 3]
    for point in points:
        errors.condition(point)
    measured, losses = errors.variance(), errors.losses(points)
    errors.forget(points[1])
    expected = math.log(errors.variance() / measured)
    assert float(losses[1]) == pytest.approx(expected, rel=1e-9)
    errors.condition(points[1])
    for point in points:
        errors.forget(point)
    assert errors.variance() == pytest.approx(whole, rel=1e-9)
    torch.testing.assert_close(errors.gains(), gains, rtol=1e-6, atol=1e-12)


def exact_error(spectrum, maps, points):
    side = len(spectrum)
    basis = torch.eye(side * side, dtype=torch.complex128).view(-1, side, side)
    exact = JointInformation(
        ifftc(spectrum.flatten().sqrt()[:, None, None] * basis), maps, NOISE_STD, points=True
    )
    for point in points:
        exact.condition(point)
    return exact.variance()


def test_exchanged_points_are_no_worse_than_greedy_ones():
    taken, levels = torch.zeros(64, dtype=torch.bool), []
    taken[36] = True
    for seed in range(3):
        spectrum, maps = point_case(seed=seed)
        scan = PointErrors(spectrum, maps, NOISE_STD)
        scan.condition(36)
        before = scan.variance()
        found = choose_nested([scan], taken, 12)
        assert scan.variance() == pytest.approx(before, rel=1e-9)  # as it was
        assert len(set(found.candidates)) == 12
        assert 36 not in found.candidates
        assert sum(found.gains) == pytest.approx(
            math.log(before / found.variances[-1][0]), rel=1e-6
        )
        greedy = choose_greedily([scan], taken, 12)
        assert found.variances[-1][0] <= greedy.variances[-1][0] * (1 + 1e-9)
        levels.append(
            [
                math.log(exact_error(spectrum, maps, [36, *one]))
                for one in (found.candidates, greedy.candidates)
            ]
        )
    exchanged, greedy = np.mean(levels, 0)
    assert exchanged <= greedy + 0.01  # exactly as well, where the model drops correlations
    with pytest.raises(ConfigurationError, match="64 more were asked for"):
        choose_nested([scan], taken, 64)


def test_an_exchange_takes_back_what_became_superfluous():
    """Three points in a row: the middle one is best alone, the outer two are best together."""

    table = {0b000: 1.0, 0b001: 0.7, 0b010: 0.6, 0b100: 0.7, 0b011: 0.5, 0b110: 0.5, 0b101: 0.1}

    class Toy:
        def __init__(self):
            self.state = 0

        def variance(self):
            return table.get(self.state, 0.05)

        def _of(self, candidate, sign):
            other = Toy()
            other.state = (
                self.state | 1 << candidate if sign > 0 else self.state & ~(1 << candidate)
            )
            return abs(math.log(other.variance() / self.variance()))

        def gains(self):
            return torch.tensor([self._of(c, 1) for c in range(3)])

        def losses(self, lines):
            return torch.tensor([self._of(c, -1) for c in lines])

        def condition(self, candidate):
            self.state |= 1 << candidate

        def forget(self, candidate):
            self.state &= ~(1 << candidate)

    found = choose_nested([Toy()], torch.zeros(3, dtype=torch.bool), 2)
    assert sorted(found.candidates) == [0, 2]
    assert found.variances[-1] == (0.1,)
