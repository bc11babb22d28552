"""The report in a browser: it moves, it shows the file's numbers, and it says no error."""

import dataclasses
import json
import re
import shutil

import h5py
import numpy as np
import pytest

from mri_alps.evaluation import write_report
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.uncertainty import UncertaintyFactors
from tests.pipeline.simulated_scan import CROP, centred_ifft, simulate
from tests.waiting import LONG

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="Debian's chromium, chromium-driver are missing"
    ),
]
N_SLICES = 3
EVIL = "<img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def recon_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    kspace, _ = simulate(N_SLICES)
    reference = np.linalg.norm(centred_ifft(kspace), axis=1)[:, 8:72]
    write_fastmri(folder / "scan.h5", kspace, recon_matrix=CROP, reconstruction=reference)
    configuration = ReconstructionConfiguration(
        prior="gaussian", n_samples=3, n_evaluations=5, mask="equispaced", acceleration=2,
        center_fraction=0.3, save_samples=True,
    )  # fmt: skip
    path = reconstruct_to_file(folder / "scan.h5", folder / "out", configuration)
    with h5py.File(path, "a") as file:
        file.attrs["acquisition"] = EVIL
    return path


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1300,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(recon_file):
    return write_report(recon_file)


@pytest.fixture
def shown(browser, page):
    """The page, freshly opened; afterwards the console has to be empty."""
    browser.get_log("browser")
    browser.get(page.as_uri())
    wait(browser, lambda: slice_shown(browser) == 1)
    yield browser
    assert browser.get_log("browser") == []


def wait(browser, condition):
    WebDriverWait(browser, LONG).until(lambda _: condition())


def slice_shown(browser):
    text = browser.execute_script("return document.documentElement.dataset.slice")
    return None if text is None else int(text)


def picture(browser, name):
    """Bytes of a panel as drawn; the same bytes mean the same picture."""
    script = f"return document.querySelector('#panel-{name} canvas.image').toDataURL()"
    return browser.execute_script(script)


def pictures(browser):
    return {name: picture(browser, name) for name in ("mean", "std", "zero_filled", "error")}


def canvas(browser, name="mean"):
    found = browser.find_element(By.CSS_SELECTOR, f"#panel-{name} canvas.image")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def move_to_pixel(browser, row, column, name="mean"):
    """Move the mouse to the middle of an image pixel (unzoomed)."""
    target = canvas(browser, name)
    width, height = target.size["width"], target.size["height"]
    across = (column + 0.5) / CROP[1] * width - width / 2
    down = (row + 0.5) / CROP[0] * height - height / 2
    return ActionChains(browser).move_to_element_with_offset(target, round(across), round(down))


def numbers(browser, name):
    text = browser.find_element(By.ID, f"readout-{name}").text
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", text)]


def expected(path, row, column, index=1):
    with h5py.File(path) as file:
        return {name: float(data[index, row, column]) for name, data in file.items()
                if name.startswith(("reconstruction", "zero", "reference"))}  # fmt: skip


def check_readout(browser, path, row, column, index=1):
    values = expected(path, row, column, index)
    with h5py.File(path) as file:
        largest = max(float(np.ptp(file[name][index])) for name in values)
    # Half a step of the stored images, and half a unit of the last digit that is shown.
    close = {"abs": 1.01 * largest / 65535}
    assert numbers(browser, "value") == [pytest.approx(values["reconstruction"], **close)]
    assert numbers(browser, "std") == [pytest.approx(values["reconstruction_std"], **close)]
    interval = [values["reconstruction_lower"], values["reconstruction_upper"]]
    assert numbers(browser, "interval") == [pytest.approx(v, **close) for v in interval]
    assert numbers(browser, "zero_filled") == [pytest.approx(values["zero_filled"], **close)]
    assert numbers(browser, "reference")[0] == pytest.approx(values["reference"], **close)
    error = abs(values["reconstruction"] - values["reference"])
    assert numbers(browser, "error") == [pytest.approx(error, **close)]


def test_the_slider_moves_by_keyboard_and_the_panels_change(shown, recon_file):
    before = pictures(shown)
    slider = shown.find_element(By.ID, "slice")
    slider.send_keys(Keys.ARROW_RIGHT)
    wait(shown, lambda: slice_shown(shown) == 2)
    assert "slice 2 (3 of 3)" in shown.find_element(By.ID, "slice-name").text
    after = pictures(shown)
    assert all(before[name] != after[name] for name in before)
    check_readout(shown, recon_file, CROP[0] // 2, CROP[1] // 2, index=2)
    slider.send_keys(Keys.HOME)
    wait(shown, lambda: slice_shown(shown) == 0)
    shown.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_RIGHT)


def test_keys_work_without_the_slider_having_the_focus(shown):
    ActionChains(shown).send_keys(Keys.END).perform()
    wait(shown, lambda: slice_shown(shown) == 2)
    ActionChains(shown).send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT).perform()
    wait(shown, lambda: slice_shown(shown) == 0)


@pytest.mark.parametrize(("row", "column"), [(20, 40), (50, 12), (0, 0)])
def test_the_read_out_is_what_the_file_holds(shown, recon_file, row, column):
    move_to_pixel(shown, row, column).perform()
    caption = shown.find_element(By.ID, "readout-pixel")
    wait(shown, lambda: caption.text == f"Pixel: row {row}, column {column}")
    check_readout(shown, recon_file, row, column)


def test_a_click_marks_a_pixel_in_all_panels_and_keys_move_the_mark(shown, recon_file):
    before = pictures(shown)
    profile = shown.find_element(By.ID, "profile").get_attribute("innerHTML")
    move_to_pixel(shown, 30, 25, "std").click().perform()
    ActionChains(shown).move_to_element(shown.find_element(By.TAG_NAME, "h1")).perform()
    caption = shown.find_element(By.ID, "readout-pixel")
    wait(shown, lambda: caption.text == "Marked pixel: row 30, column 25")
    check_readout(shown, recon_file, 30, 25)
    after = pictures(shown)
    assert all(before[name] != after[name] for name in before)
    assert shown.find_element(By.ID, "profile").get_attribute("innerHTML") != profile
    ActionChains(shown).key_down(Keys.SHIFT).send_keys(Keys.ARROW_DOWN).key_up(Keys.SHIFT).perform()
    wait(shown, lambda: caption.text == "Marked pixel: row 31, column 25")


def test_every_panel_says_its_value_under_the_pointer(shown, recon_file):
    move_to_pixel(shown, 20, 40).perform()
    with h5py.File(recon_file) as file:
        std = float(file["reconstruction_std"][1, 20, 40])
    corners = shown.find_elements(By.CSS_SELECTOR, ".panel .here")
    wait(shown, lambda: all(corner.text for corner in corners))
    assert len(corners) == 6
    found = float(shown.find_element(By.CSS_SELECTOR, "#panel-std .here").text)
    assert found == pytest.approx(std, rel=1e-3) and numbers(shown, "std") == [found]
    ActionChains(shown).move_to_element(shown.find_element(By.TAG_NAME, "h1")).perform()
    wait(shown, lambda: not any(corner.text for corner in corners))


def test_images_can_be_made_large(shown):
    small = canvas(shown).size["width"]
    shown.find_element(By.ID, "size").click()
    wait(shown, lambda: canvas(shown).size["width"] > 1.5 * small)
    ActionChains(shown).send_keys("l").perform()
    wait(shown, lambda: canvas(shown).size["width"] == small)


def test_a_drag_changes_the_window_of_images_of_that_kind_only(shown):
    before = pictures(shown)
    start = move_to_pixel(shown, 32, 32)
    start.click_and_hold().move_by_offset(60, 0).release().perform()
    after = pictures(shown)
    assert before["mean"] != after["mean"] and before["zero_filled"] != after["zero_filled"]
    assert before["std"] == after["std"] and before["error"] == after["error"]
    shown.find_element(By.ID, "reset").click()
    assert pictures(shown) == before


def test_zoom_is_in_step_over_all_panels(shown, recon_file):
    before = pictures(shown)
    shown.find_element(By.ID, "zoom-in").click()
    after = pictures(shown)
    assert all(before[name] != after[name] for name in before)
    shown.find_element(By.ID, "reset").click()
    target = canvas(shown)
    x, y = target.size["width"] // 4, target.size["height"] // 4
    origin = webdriver.common.actions.wheel_input.ScrollOrigin.from_element(target, -x, -y)
    ActionChains(shown).scroll_from_origin(origin, 0, -400).perform()
    wait(shown, lambda: picture(shown, "error") != before["error"])
    # The point under the pointer stays: a quarter in from the corner.
    ActionChains(shown).move_to_element_with_offset(target, -x, -y).perform()
    row, column = map(int, re.findall(r"\d+", shown.find_element(By.ID, "readout-pixel").text))
    assert abs(row - CROP[0] // 4) <= 1 and abs(column - CROP[1] // 4) <= 1
    check_readout(shown, recon_file, row, column)


def test_samples_play_as_a_loop(shown):
    script = """const panel = document.getElementById("panel-samples");
        return [panel.querySelector("figcaption span:last-child").textContent,
                panel.querySelector("canvas.image").toDataURL()]"""
    seen = set()
    ActionChains(shown).send_keys(Keys.SPACE).perform()
    wait(shown, lambda: seen.add(tuple(shown.execute_script(script))) or len(seen) == 3)
    assert {text for text, _ in seen} == {"1 of 3", "2 of 3", "3 of 3"}
    assert len(seen) == 3
    shown.find_element(By.ID, "play").click()
    still = shown.execute_script(script)
    # Two turns of the loop by the page's own clock: its timer would have come first.
    shown.execute_async_script("setTimeout(arguments[0], 500)")
    assert shown.execute_script(script) == still


def test_plots_and_tables_are_there(shown):
    assert len(shown.find_elements(By.CSS_SELECTOR, "#calibration-plots svg")) == 3
    assert shown.find_element(By.ID, "mask").is_displayed()
    text = shown.find_element(By.TAG_NAME, "body").text
    for word in ("data misfit", "coverage of the 90 % interval", "coils", "2.00-fold", "sigpy"):
        assert word in text, word


def test_text_from_the_file_stays_text(shown):
    assert EVIL in shown.find_element(By.TAG_NAME, "body").text
    assert shown.title.startswith("scan.h5")
    pictures = shown.find_elements(By.TAG_NAME, "img")  # those of the calibration alone
    assert all(p.get_attribute("class") == "calibration" for p in pictures)


def background(browser):
    return browser.execute_script(
        "return getComputedStyle(document.documentElement).backgroundColor"
    )


def test_light_dark_and_the_button_between_them(browser, page):
    colours = {}
    for theme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(page.as_uri())
        wait(browser, lambda: slice_shown(browser) == 1)
        colours[theme] = background(browser)
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}
    browser.find_element(By.ID, "theme").click()
    assert background(browser) == colours["light"]
    browser.find_element(By.ID, "theme").click()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert background(browser) == colours["light"]
    assert not browser.find_element(By.ID, "slice").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.parametrize("width", [400, 800, 1300])
def test_nothing_sticks_out_at_any_width(shown, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wait(shown, lambda: canvas(shown).size["width"] <= width)
        over = shown.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert over <= 0
    finally:
        shown.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_the_network(browser, page):
    browser.get_log("performance")
    browser.get(page.as_uri())
    wait(browser, lambda: slice_shown(browser) == 1)
    sent = [entry["message"] for entry in browser.get_log("performance")]
    addresses = set(re.findall(r'"url":"(https?://[^"]*)"', " ".join(sent)))
    assert addresses == set()


def test_left_out_samples_are_drawn(recon_file, browser, tmp_path):
    path = shutil.copy(recon_file, tmp_path / "scan.h5")
    factors = UncertaintyFactors(
        1.5, 0.1, (0.25, 0.75), (1.4, 1.6), (0.1, 0.2), 0.7, 0.9, 12, 120, (0, 1, 2),
        (0.5, 0.9), (0.375, 0.7), (0.5, 0.9),
    )  # fmt: skip
    with h5py.File(path, "a") as file:
        del file["diagnostics"]
        texts = [json.dumps({"self_calibration": dataclasses.asdict(factors)})] * N_SLICES
        file.create_dataset("diagnostics", data=texts, dtype=h5py.string_dtype())
    browser.get(write_report(path).as_uri())
    wait(browser, lambda: slice_shown(browser) == 1)
    plots = browser.find_elements(By.CSS_SELECTOR, "#left-out-plots svg")
    counts = [len(plot.find_elements(By.CSS_SELECTOR, "circle")) for plot in plots]
    assert counts == [4, 2]  # before and after at two levels; two bands
    assert browser.get_log("browser") == []
