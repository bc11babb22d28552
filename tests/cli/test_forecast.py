"""What long commands say before and while they work."""

import pytest

from mri_alps.cli.forecast import Forecast, duration


@pytest.fixture
def said(monkeypatch):
    """The sentences that were printed."""
    sentences = []
    monkeypatch.setattr("mri_alps.cli.forecast.print_message", sentences.append)
    return sentences


def run(times):
    """Parts that are done at these times."""
    seconds = iter([0.0, *times])
    forecast = Forecast("posteriors", len(times), "2 samples each", lambda: next(seconds))
    for _ in times:
        forecast()


def test_what_is_to_be_done_and_for_how_long(said):
    run([30.0 * k for k in range(1, 12)])
    assert said[0] == "11 posteriors are sampled, 2 samples each"
    assert said[1] == "1 of 11 posteriors done, about 5 min to go"
    assert len(said) == 2  # the next would come after five minutes, at the end


def test_parts_that_were_kept_do_not_count_as_quick_ones(said):
    run([0.01, 0.02, 40.02, 80.02])
    assert said[1] == "3 of 4 posteriors done, about 40 s to go"


def test_nothing_is_said_of_seconds(said):
    run([1.0, 2.0, 3.0])
    assert len(said) == 1


def test_long_runs_are_told_of_again(said):
    run([400.0 * k for k in range(1, 5)])
    assert [text.split(" of")[0] for text in said[1:]] == ["1", "2", "3"]


@pytest.mark.parametrize(("seconds", "words"), [(42, "42 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words
