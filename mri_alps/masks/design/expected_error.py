"""How much a phase-encode line would lower the expected squared error.

Information counts small and large things alike; images are compared by squared error. Here a line
is worth what the expected squared error of the magnitude falls by when it is measured (A-optimal
design), in nats of the error's logarithm, so that every scan of a population counts the same
whatever its brightness.

The error of a posterior mean is taken apart into what lies along the image's own phase and what
lies across it. The first is nearly all that changes the magnitude; the second is small wherever
phase is smooth, and a covariance that knows this knows that a line at -k repeats what the line at k
has told. A circular complex covariance does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mri_alps.core.errors import ShapeError
from mri_alps.core.fourier import fftc


class LineErrors:
    """Posterior of image rows, real and imaginary parts jointly; rows are independent.

    An `Information` whose `gains` are falls of the logarithm of the expected squared error. Lines
    can be taken back as well, in float64: what a line told is subtracted again. A row may hold
    several frames of a film, one after the other (`of_frames`); a candidate is then a line of one
    frame, counted frame by frame.

    Parameters
    ----------
    covariances : torch.Tensor
        Real (rows, 2 W, 2 W): of the real, then the imaginary part of every pixel of a row, of all
        its frames.
    maps : torch.Tensor
        Complex (coils, rows, W), whitened sensitivities times the phase that was taken out.
    noise_std : float
        Per real component.
    weights : torch.Tensor
        Real (rows, 2 W), what the squared error of each part counts; or (rows, 2 W, m), whose
        columns are contrasts of which the squared errors count.
    n_frames : int
        Frames that the W pixels of a row are of.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """

    def __init__(
        self,
        covariances: torch.Tensor,
        maps: torch.Tensor,
        noise_std: float,
        weights: torch.Tensor,
        n_frames: int = 1,
    ):
        n_rows, width = covariances.shape[0], covariances.shape[1] // 2
        if (
            covariances.shape != (n_rows, 2 * width, 2 * width)
            or maps.shape[1:] != (n_rows, width)
            or weights.shape[:2] != (n_rows, 2 * width)
            or width % n_frames
        ):
            raise ShapeError(
                f"covariances {tuple(covariances.shape)}, maps {tuple(maps.shape)} and weights "
                f"{tuple(weights.shape)} do not fit: expected (rows, 2 W, 2 W), (coils, rows, W) "
                f"and (rows, 2 W) with W a multiple of {n_frames}"
            )
        self._covariances = covariances.double().clone()
        self._maps = maps.to(torch.complex128).movedim(1, 0)  # (rows, coils, W)
        self._noise_variance = float(noise_std) ** 2
        self._weights = weights.double()
        self._n_frames, self._n_lines = n_frames, width // n_frames
        basis = torch.eye(self._n_lines, dtype=torch.complex128, device=covariances.device)
        self._fourier = fftc(basis, dim=-1)  # symmetric: row k holds the harmonics of line k
        self._of_lines: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def covariances(self) -> torch.Tensor:
        """Posterior covariances of the rows, (rows, 2 W, 2 W)."""
        return self._covariances

    def of_frames(self, n_frames: int, dynamic: float) -> LineErrors:
        """Return the posterior of a film of such images before any further line is measured.

        A frame is a static image plus a dynamic one of its own: each has the covariance of this
        image, two frames share the static part of it. What a line of one frame tells about the
        others follows by conditioning, jointly over all.

        Parameters
        ----------
        n_frames : int
            Frames; W n_frames candidates.
        dynamic : float
            Part of the covariance that is dynamic, 0 to 1.
        """
        own = torch.eye(n_frames, dtype=torch.float64, device=self._maps.device)
        shared = (1 - dynamic) * torch.ones_like(own) + dynamic * own
        rows, n_lines = len(self._maps), self._n_lines
        blocks = self._covariances.view(rows, 2, n_lines, 2, n_lines)
        joint = torch.einsum("rpxqy,ab->rpaxqby", blocks, shared)
        size = 2 * n_frames * n_lines
        halves = self._weights.unflatten(1, (2, n_lines))
        if self._weights.ndim == 2:
            weights = halves[:, :, None].expand(-1, -1, n_frames, -1).reshape(rows, size)
        else:  # every frame has contrasts of its own
            contrasts = torch.einsum("rpxm,ab->rpaxbm", halves, own)
            weights = contrasts.reshape(rows, size, -1)
        maps = self._maps.movedim(0, 1).repeat(1, 1, n_frames)
        noise_std = self._noise_variance**0.5
        return LineErrors(joint.reshape(rows, size, size), maps, noise_std, weights, n_frames)

    def gains(self) -> torch.Tensor:
        """Return by how much log(error) falls with every line, (W,)."""
        lines = range(self._n_lines * self._n_frames)
        fallen = self._changes(lines, 1.0) / max(self.variance(), 1e-300)
        return -torch.log1p(-fallen.clamp(0, 1 - 1e-9))

    def losses(self, lines: Sequence[int]) -> torch.Tensor:
        """Return by how much log(error) would rise without each of these lines, (lines,).

        Parameters
        ----------
        lines : sequence of int
            Lines that `condition` has taken as measured.
        """
        return torch.log1p(self._changes(lines, -1.0).clamp_min(0) / max(self.variance(), 1e-300))

    def condition(self, candidate: int) -> None:
        """Take a line as measured in every row."""
        self._update(candidate, 1.0)

    def forget(self, candidate: int) -> None:
        """Undo `condition`.

        Parameters
        ----------
        candidate : int
            Measured before.
        """
        self._update(candidate, -1.0)

    def variance(self) -> float:
        """Return the expected squared error, weighted."""
        if self._weights.ndim == 2:
            diagonal = torch.diagonal(self._covariances, dim1=-2, dim2=-1)
            return float((self._weights * diagonal).sum())
        return float((self._weights * (self._covariances @ self._weights)).sum())

    def _changes(self, lines: Sequence[int], sign: float) -> torch.Tensor:
        """Squared error that goes with each line, or comes back without it."""
        values, told = (known[:, list(lines)] for known in self._known())
        identity = torch.eye(values.shape[-1], dtype=values.dtype, device=values.device)
        noisy = self._noise_variance * identity + sign * values
        solved = torch.cholesky_solve(told, torch.linalg.cholesky(noisy))
        return torch.diagonal(solved, dim1=-2, dim2=-1).sum((0, 2))

    def _known(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every line the covariance of its values H S H^T, and what they tell, H S W S H^T.

        Real (rows, lines, 2 coils, 2 coils) each, H being the line's harmonics times the maps, S
        the covariance and W the weights. From here on `_update` keeps them.
        """
        if self._of_lines is None:
            parts = []
            for row in range(len(self._maps)):  # one row at a time: memory stays small
                part = slice(row, row + 1)
                cross = self._values(self._covariances[part], part)[0]  # (lines, 2 coils, 2 W)
                own = self._harmonics(range(len(cross)), part)[0]
                values = cross @ own.mT
                weighted = self._weighted(cross.flatten(0, 1)[None], part).view_as(cross)
                told = weighted @ cross.mT
                parts.append(((values + values.mT) / 2, told))
            values, told = (torch.stack(column) for column in zip(*parts, strict=True))
            self._of_lines = values, told
        return self._of_lines

    def _values(self, vectors: torch.Tensor, rows: slice) -> torch.Tensor:
        """Values of all lines for real vectors (rows, m, 2 W): (rows, lines, 2 coils, m)."""
        maps = self._maps[rows].unflatten(-1, (self._n_frames, self._n_lines))
        images = torch.complex(*vectors.split(self._maps.shape[-1], -1))
        images = images.unflatten(-1, (self._n_frames, self._n_lines))
        values = fftc(maps[:, :, None] * images[:, None], dim=-1)
        values = values.flatten(-2).permute(0, 3, 1, 2)
        return torch.cat([values.real, values.imag], 2)

    def _harmonics(self, lines: Sequence[int], rows: slice) -> torch.Tensor:
        """Real matrices from rows to the values of these lines, (rows, lines, 2 coils, 2 W)."""
        frames, places = zip(*(divmod(line, self._n_lines) for line in lines), strict=True)
        maps = self._maps[rows]
        own = maps.new_zeros(len(maps), len(frames), *maps.shape[1:])
        for number, (frame, place) in enumerate(zip(frames, places, strict=True)):
            part = slice(frame * self._n_lines, (frame + 1) * self._n_lines)
            own[:, number, :, part] = self._fourier[place] * maps[:, :, part]
        upper, lower = torch.cat([own.real, -own.imag], -1), torch.cat([own.imag, own.real], -1)
        return torch.cat([upper, lower], -2)

    def _weighted(self, vectors: torch.Tensor, rows: slice) -> torch.Tensor:
        """Vectors (rows, m, 2 W) times W."""
        weights = self._weights[rows]
        if weights.ndim == 2:
            return vectors * weights[:, None]
        return (vectors @ weights) @ weights.mT

    def _update(self, candidate: int, sign: float) -> None:
        rows = slice(None)
        harmonics = self._harmonics([candidate], rows)[:, 0]
        cross = harmonics @ self._covariances
        values = cross @ harmonics.mT
        identity = torch.eye(values.shape[-1], dtype=values.dtype, device=values.device)
        noisy = self._noise_variance * identity + sign * (values + values.mT) / 2
        told = torch.linalg.solve_triangular(torch.linalg.cholesky(noisy), cross, upper=False)
        if self._of_lines is not None:
            self._update_lines(told, sign)
        self._covariances -= sign * told.mT @ told

    def _update_lines(self, told: torch.Tensor, sign: float) -> None:
        """What the change S -> S - sign T^T T makes of all lines; S is still the old one."""
        values, gained = self._known()
        weighted = self._weighted(told, slice(None))
        own = self._values(told, slice(None))
        mixed = self._values(weighted @ self._covariances, slice(None)) @ own.mT
        within = (weighted @ told.mT)[:, None]
        values -= sign * own @ own.mT
        gained -= sign * (mixed + mixed.mT) - own @ within @ own.mT
