"""EPI scans with a known truth, in the ways in which scanners and converters write them."""

import ismrmrd
import numpy as np

from mri_alps.rawdata.header import Limit
from tests.rawdata.rawdata_helpers import (
    fft_centered,
    header,
    ifft_centered,
    make_acquisition,
    write_acquisitions,
)

REVERSE, PHASE_CORRECTION = ismrmrd.ACQ_IS_REVERSE, ismrmrd.ACQ_IS_PHASECORR_DATA


class Epi:
    """An object, coils, and a delay and phase between lines of opposite directions."""

    def __init__(
        self, seed, shape=(48, 40), n_coils=4, noise=0.01, delay=None, phase=None, fill=0.7
    ):
        self.rng = np.random.default_rng(seed)
        self.shape, self.n_coils, self.noise = shape, n_coils, noise
        self.delay = self.rng.uniform(-1.5, 1.5) if delay is None else delay
        self.phase = self.rng.uniform(-1.2, 1.2) if phase is None else phase
        self.off_resonance = 0.0
        x, y = (np.arange(n) / n - (n // 2) / n for n in shape)
        image = np.zeros(shape)
        image[(x[:, None] / 0.42) ** 2 + (2 * y / fill) ** 2 < 1] = 1.0
        for _ in range(12):
            a, b = self.rng.uniform(-0.25, 0.25), self.rng.uniform(-0.25, 0.25) * fill
            r = self.rng.uniform(0.02, 0.08)
            image[(x[:, None] - a) ** 2 + (y - b) ** 2 < r**2] += self.rng.uniform(-0.4, 0.6)
        angles = 2 * np.pi * np.arange(n_coils) / n_coils + 0.3
        away = [(x[:, None] - 0.7 * np.cos(t)) ** 2 + (y - 0.7 * np.sin(t)) ** 2 for t in angles]
        maps = np.exp(-2 * np.array(away)) * np.exp(1j * angles)[:, None, None]
        self.images = maps * image * np.exp(1j * (x[:, None] + 2 * y**2))
        self.kspace = self.noisy(fft_centered(self.images))
        self.place = x

    def noisy(self, samples):
        more = self.rng.standard_normal((2, *samples.shape))
        return samples + self.noise * (more[0] + 1j * more[1])

    def read(self, line, is_reversed, **fields):
        """The line as it is read in a direction: an acquisition."""
        half = 0.5 * (self.phase + 2 * np.pi * self.delay * self.place)
        turn = np.exp(1j * half if is_reversed else -1j * half)
        line = fft_centered(ifft_centered(line, (-1,)) * turn, (-1,))
        flags = [*fields.pop("flags", ()), *([REVERSE] if is_reversed else [])]
        line = line[:, ::-1] if is_reversed else line
        return make_acquisition(line, *flags, center_sample=self.shape[0] // 2, **fields)

    def navigators(self, directions=(0, 1, 0), stored="flagged", flags=(), **fields):
        """Lines without phase encoding; off resonance, the phase grows from one to the next."""
        found = []
        image = ifft_centered(self.images.sum(axis=-1) / np.sqrt(self.shape[1]), ())
        for echo, is_reversed in enumerate(directions):
            grown = image * np.exp(1j * echo * self.off_resonance * (1 + self.place))
            line = self.noisy(fft_centered(grown, (-1,)))
            made = self.read(line, is_reversed, flags=[PHASE_CORRECTION, *flags], **fields)
            if stored != "flagged" and is_reversed:
                made.clearFlag(REVERSE)
                if stored == "turned":
                    made.data[:] = np.array(made.data)[:, ::-1]
            found.append(made)
        return found

    def train(self, rows, start=0, **fields):
        """Lines of the image, every second one reversed."""
        return [
            self.read(
                self.kspace[:, :, row], (start + n) % 2, kspace_encode_step_1=int(row), **fields
            )
            for n, row in enumerate(rows)
        ]

    def all_rows(self, step=1, first=0):
        return range(first, self.shape[1], step)

    def write(self, path, acquisitions, **options):
        n_phase = self.shape[1]
        limit = Limit(0, n_phase - 1, n_phase // 2)
        xml = header((*self.shape, 1), limit=limit, **options)
        write_acquisitions(path, xml, acquisitions)
        return path


def ghost(raw, scans):
    """Largest error of k-space over slices, relative to it: that of the ghost."""
    worst = 0.0
    for index, scan in enumerate(scans):
        mask = raw.slice_mask(index)
        off = (raw.read_slice(index) - scan.kspace) * mask
        worst = max(worst, np.linalg.norm(off) / np.linalg.norm(scan.kspace * mask))
    return worst
