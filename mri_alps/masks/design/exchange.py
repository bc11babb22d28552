"""The best set of candidates of every size: greedy, then exchanged until nothing improves.

A greedy choice never takes back what became superfluous. Here the least useful candidate is left
out and the best one put in its place, again and again, while the expected error falls (Fedorov's
exchange, Theory of Optimal Experiments, 1972). Sets of different sizes then need not contain each
other.
"""

from __future__ import annotations

import itertools
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
    `variances` the expected squared errors of every scan with it; sets that contain each other
    are left out, for they are the first of `candidates`.
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
    sets: list[tuple[int, ...]] = []
    variances = []
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


def choose_nested(
    population: Sequence[Exchangeable],
    taken: torch.Tensor,
    count: int,
    rivals: Sequence[Sequence[int]] = (),
    n_groups: int = 1,
) -> ExchangedChoice:
    """Choose one set of `count` candidates, of which the most useful come first.

    For many candidates: exchange is at the full size alone, and smaller sets are contained in
    larger ones. The outcome is never expected to be worse than the greedy choice.

    Parameters
    ----------
    population, taken, count
        As `choose_by_exchange`; exchanges are no more than `count` or `MOST_EXCHANGES`.
    rivals : sequence
        Other sets of `count`. The best of them is exchanged as well.
    n_groups : int
        Candidates are as many groups of equal size, one after the other, as the frames of a film.
        Each gets as many as the others, or one less.

    Raises
    ------
    ConfigurationError
        If fewer candidates are left.
    """
    closed = taken.clone().cpu()
    free = (~closed).view(n_groups, -1).sum(1)
    if -(-count // n_groups) > int(free.min()):
        raise ConfigurationError(
            f"{count} more were asked for and {int(free.sum())} are not yet sampled: lower the "
            "budget"
        )
    search = _Search(population, closed, n_groups)
    greedy = [search.add() for _ in range(count)]
    best, level = greedy, search.level()
    search.exchange(max(MOST_EXCHANGES, count))
    if rivals:
        search.try_others(rivals)
    order = search.unwind()[0]
    if search.level_of(order) < level:
        best = order
    gains, variances = search.replay(best)
    return ExchangedChoice(tuple(best), tuple(gains), tuple(variances), ())


class _Search:
    """A set of candidates that the population is conditioned on.

    `level` is the mean logarithm of the expected error. Of groups each has as many chosen as the
    others, or one more: an exchange stays in its group.
    """

    def __init__(self, population: Sequence[Exchangeable], closed: torch.Tensor, n_groups: int = 1):
        self._population, self._closed = population, closed
        self._n_groups, self._group_size = n_groups, len(closed) // n_groups
        self.chosen: list[int] = []

    def level(self) -> float:
        variances = torch.tensor([scan.variance() for scan in self._population]).double()
        return float(variances.clamp_min(1e-300).log().mean())

    def add(self, group: int | None = None) -> int:
        """Put the best candidate of a group; of those that have the fewest, where none is said."""
        gains = torch.stack([scan.gains().double().cpu() for scan in self._population]).mean(0)
        closed = self._closed.clone()
        closed[self.chosen] = True
        counts = self._counts()
        allowed = counts == counts.min() if group is None else torch.arange(len(counts)) == group
        closed |= ~allowed.repeat_interleave(self._group_size)
        best = int(gains.masked_fill(closed, -torch.inf).argmax())
        self._put(best)
        return best

    def _counts(self) -> torch.Tensor:
        groups = torch.tensor(self.chosen, dtype=torch.int64) // self._group_size
        return torch.bincount(groups, minlength=self._n_groups)

    def exchange(self, most: int = MOST_EXCHANGES) -> None:
        """Put better candidates in the place of the least useful, while the error falls."""
        for _ in range(most):
            if len(self.chosen) < 2 or not any(map(self._exchanged, self._useless())):
                return

    def _exchanged(self, useless: int) -> bool:
        before = self.level()
        self._take(useless)
        new = self.add(useless // self._group_size)
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
            losses, counts = self._losses(), self._counts()
            groups = torch.tensor(self.chosen) // self._group_size
            losses = losses.masked_fill(counts[groups] < counts.max(), torch.inf)
            useless, loss = self.chosen[int(losses.argmin())], float(losses.min())
            self._take(useless)
            order.append(useless)
            gains.append(loss)
        return order[::-1], gains[::-1]

    def level_of(self, order: Sequence[int]) -> float:
        """Level of this set; none is chosen before and after."""
        for candidate in order:
            self._put(candidate)
        level = self.level()
        self._become(())
        return level

    def replay(self, order: Sequence[int]) -> tuple[list[float], list[tuple[float, ...]]]:
        """Put one after the other: what each is worth, errors of every scan; all taken back."""
        levels, variances = [self.level()], []
        for candidate in order:
            self._put(candidate)
            levels.append(self.level())
            variances.append(tuple(scan.variance() for scan in self._population))
        self._become(())
        return [before - after for before, after in itertools.pairwise(levels)], variances

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
