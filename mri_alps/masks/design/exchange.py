"""The best set of candidates of every size: greedy, then exchanged until nothing improves.

A greedy choice never takes back what became superfluous. Here the least useful candidate is left
out and the best one put in its place, again and again, while the expected error falls (Fedorov's
exchange, Theory of Optimal Experiments, 1972). Sets of different sizes then need not contain each
other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.masks.design.information import Information

MOST_EXCHANGES = 30
"""Per size of the set; a few are what it takes."""
TRIED = 3
"""Of the least useful candidates, how many are tried before an exchange is given up."""
_IMPROVEMENT = 1e-6  # of log(error): less is rounding


@runtime_checkable
class Exchangeable(Information, Protocol):
    """Information that can be taken back."""

    def losses(self, lines: Sequence[int]) -> torch.Tensor:
        """Return what each of these measured candidates is worth now, real (lines,)."""

    def forget(self, candidate: int) -> None:
        """Take a measured candidate back."""


class ExchangedChoice(NamedTuple):
    """The chosen set of every size.

    `candidates` are those of the largest set, the most useful first, and `gains` what each was
    worth beside those before it, mean over scans. `sets` holds the set of every size and
    `variances` the expected squared errors of every scan with it.
    """

    candidates: tuple[int, ...]
    gains: tuple[float, ...]
    variances: tuple[tuple[float, ...], ...]
    sets: tuple[tuple[int, ...], ...]


def choose_by_exchange(
    population: Sequence[Exchangeable],
    taken: torch.Tensor,
    count: int,
    rivals: Mapping[int, Sequence[Sequence[int]]] | None = None,
) -> ExchangedChoice:
    """Choose the sets of 1 to `count` candidates.

    Parameters
    ----------
    population : sequence of Exchangeable
        One entry per scan; their gains are averaged. They end as they were.
    taken : torch.Tensor
        bool (n_candidates,), True where nothing is left to choose.
    count : int
        Size of the largest set.
    rivals : mapping, optional
        From a size to other sets of that size. The best of them is exchanged as well, so that the
        choice is expected to be no worse than any of them.

    Raises
    ------
    ConfigurationError
        If fewer candidates are left.
    """
    closed = taken.clone().cpu()
    if count > int((~closed).sum()):
        raise ConfigurationError(
            f"{count} more lines were asked for and {int((~closed).sum())} are not yet sampled: "
            "lower the budget"
        )
    search = _Search(population, closed)
    sets, variances = [], []
    for size in range(1, count + 1):
        search.add()
        search.exchange()
        others = (rivals or {}).get(size, ())
        if others:
            search.try_others(others)
        sets.append(tuple(sorted(search.chosen)))
        variances.append(tuple(scan.variance() for scan in population))
    order, gains = search.unwind()
    return ExchangedChoice(tuple(order), tuple(gains), tuple(variances), tuple(sets))


class _Search:
    """A set of candidates that the population is conditioned on.

    `level` is the mean logarithm of the expected error, relative to that of the empty set.
    """

    def __init__(self, population: Sequence[Exchangeable], closed: torch.Tensor):
        self._population, self._closed = population, closed
        self.chosen: list[int] = []

    def level(self) -> float:
        variances = torch.tensor([scan.variance() for scan in self._population]).double()
        return float(variances.clamp_min(1e-300).log().mean())

    def add(self) -> int:
        gains = torch.stack([scan.gains().double().cpu() for scan in self._population]).mean(0)
        closed = self._closed.clone()
        closed[self.chosen] = True
        best = int(gains.masked_fill(closed, -torch.inf).argmax())
        self._put(best)
        return best

    def exchange(self) -> None:
        """Put better candidates in the place of the least useful, while the error falls."""
        for _ in range(MOST_EXCHANGES):
            if len(self.chosen) < 2 or not any(map(self._exchanged, self._useless())):
                return

    def _exchanged(self, useless: int) -> bool:
        before = self.level()
        self._take(useless)
        new = self.add()
        if new != useless and self.level() > before - _IMPROVEMENT:
            self._take(new)
            self._put(useless)
            return False
        return new != useless

    def try_others(self, others: Sequence[Sequence[int]]) -> None:
        """Begin anew from the best of other sets, and keep what is better in the end."""
        own, level = list(self.chosen), self.level()
        levels = []
        for other in others:
            self._become(other)
            levels.append(self.level())
        self._become(others[levels.index(min(levels))])
        self.exchange()
        if self.level() > level - _IMPROVEMENT:
            self._become(own)

    def unwind(self) -> tuple[list[int], list[float]]:
        """Leave out the least useful until nothing is left; return the reverse."""
        order, gains = [], []
        while self.chosen:
            losses = self._losses()
            useless, loss = self.chosen[int(losses.argmin())], float(losses.min())
            self._take(useless)
            order.append(useless)
            gains.append(loss)
        return order[::-1], gains[::-1]

    def _losses(self) -> torch.Tensor:
        return torch.stack([scan.losses(self.chosen).cpu() for scan in self._population]).mean(0)

    def _useless(self) -> list[int]:
        order = self._losses().argsort()[:TRIED]
        return [self.chosen[place] for place in order.tolist()]

    def _become(self, wanted: Sequence[int]) -> None:
        for candidate in [c for c in self.chosen if c not in wanted]:
            self._take(candidate)
        for candidate in [c for c in wanted if c not in self.chosen]:
            self._put(candidate)

    def _put(self, candidate: int) -> None:
        self.chosen.append(candidate)
        for scan in self._population:
            scan.condition(candidate)

    def _take(self, candidate: int) -> None:
        self.chosen.remove(candidate)
        for scan in self._population:
            scan.forget(candidate)
