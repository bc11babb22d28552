"""The page of tuned constants names what exists, with the values that it has."""

import math

import pytest

from tests.docs import constants_page

ROWS = constants_page.rows(constants_page.PAGE.read_text("utf-8"))


def test_the_page_has_its_tables():
    lines = constants_page.PAGE.read_text("utf-8").splitlines()
    assert len(ROWS) == sum(line.startswith("| `") for line in lines) > 90
    names = [row.name for row in ROWS if constants_page.resolve(row.name)[1]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}={row.value}")
def test_a_constant_has_the_value_that_the_page_states(row):
    assert constants_page.agrees(row)


@pytest.mark.parametrize(
    "name, value",
    [
        ("sampling.alps.HANDOVER", "2.1"),
        ("sampling.path.AlpsConfiguration.rho", "6.0"),
        ("calibration.noise_estimate", "0.03 * n_positions"),
    ],
)
def test_another_value_would_be_noticed(name, value):
    assert not constants_page.agrees(constants_page.Row(name, value))


@pytest.mark.parametrize(
    "name",
    [
        "uncertainty.comparison",
        "uncertainty.factors",
        "uncertainty.left_out",
        "uncertainty.scaling",
        "pipeline.self_calibration",
    ],
)
def test_every_constant_of_self_calibration_is_on_the_page(name):
    module, _ = constants_page.resolve(name)
    stated = {row.name for row in ROWS}
    names = constants_page.constants_of(module)
    assert names and {f"{name}.{constant}" for constant in names} <= stated


def test_a_constant_that_is_gone_would_be_noticed():
    with pytest.raises(AttributeError):
        constants_page.value_of("sampling.alps.NO_SUCH_CONSTANT")


@pytest.mark.parametrize(
    "name",
    [
        "calibration.line_weights.MAPS_ERROR",
        "sampling.path.AlpsConfiguration.rho",
        "calibration.sensitivity.estimate_sensitivity_maps.crop",
    ],
)
def test_the_benchmark_gives_a_constant_another_value_for_a_while(name):
    before = constants_page.value_of(name)
    with constants_page.replaced(name, math.pi):
        assert constants_page.value_of(name) == math.pi
    assert constants_page.value_of(name) == before


def test_another_value_reaches_those_who_imported_it_and_defaults():
    from mri_alps.calibration import maps_error
    from mri_alps.calibration.line_weights import sampling_weights

    with constants_page.replaced("calibration.line_weights.MAPS_ERROR", math.pi):
        assert math.pi == maps_error.MAPS_ERROR
        assert sampling_weights.__defaults__[0] == math.pi
    assert maps_error.MAPS_ERROR == 0.05
    assert sampling_weights.__defaults__[0] == 0.05
