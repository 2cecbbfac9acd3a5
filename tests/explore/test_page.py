"""The page, driven in a real browser: from the server, and from a file."""

import base64
import io
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import pvae
from pvae.explore import Explorer, write_page
from pvae.explore.static_page import MOST_BYTES
from pvae.plots.style import BLUE, ORANGE
from tests.explore.conftest import start

TABS = ("plane", "latents", "datum", "numbers")


@pytest.fixture(scope="module")
def problems():
    """Errors on the pages, and requests to elsewhere."""
    return []


@pytest.fixture(autouse=True)
def _no_problems(problems):
    yield
    found = [*problems]
    problems.clear()
    assert not found


@pytest.fixture(scope="module")
def open_page(chromium, problems):
    """Opens an address in a page of its own."""
    contexts = []

    def opened(url, **options):
        size = {"width": 1100, "height": 800}
        context = chromium.new_context(**({"viewport": size} | options))
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        own = url.partition("?")[0]
        page.on(
            "request", lambda r: r.url.startswith((own, "data:", "blob:")) or problems.append(r.url)
        )
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        page.wait_for_function("() => document.querySelector('#nearest-text').textContent")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared(open_page, address):
    return open_page(address)


@pytest.fixture
def page(shared):
    """The page of the explorer, on its first view."""
    shared.click("#tab-plane")
    return shared


def text(page, selector):
    return page.locator(selector).text_content()


def drag(page, selector, *places):
    """Press at the first place of an element, as fractions of its sides, and move to the others."""
    target = page.locator(selector)
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    points = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


WATCH = """() => {
    const own = window.fetch;
    window.watched = { open: 0, most: 0, stop: () => (window.fetch = own) };
    window.fetch = async (...request) => {
        if (request[0] !== "api/at") return own(...request);
        watched.open += 1;
        watched.most = Math.max(watched.most, watched.open);
        try { return await own(...request); } finally { watched.open -= 1; }
    };
}"""


def test_moving_over_the_plane_decodes(page):
    """A pointer that moves faster than it decodes has one request open at a time."""
    before = page.evaluate("document.querySelector('#plane-frame').toDataURL()")
    page.evaluate(WATCH)
    box = page.locator("#plane-canvas").bounding_box()
    for step in range(60):
        page.mouse.move(box["x"] + 60 + 5 * step, box["y"] + 100 + 3 * step)
    page.wait_for_function(
        "shown => document.querySelector('#plane-frame').toDataURL() !== shown", arg=before
    )
    page.wait_for_function("() => watched.open === 0")
    assert page.evaluate("() => (watched.stop(), watched.most)") == 1
    place = text(page, "#plane-readout")
    assert re.fullmatch(r"z1 = −?\d\.\d\d, z2 = −?\d\.\d\d", place)
    assert "Nearest: test image" in text(page, "#nearest-text")


def test_the_nearest_datum_is_within_its_panel(page):
    button, panel = (page.locator(s).bounding_box() for s in ("#nearest-take", ".pointer"))
    assert button["x"] + button["width"] <= panel["x"] + panel["width"]


def test_a_path_is_interpolated(page):
    assert not page.locator("#path-strip").is_visible()
    drag(page, "#plane-canvas", (0.3, 0.7), (0.5, 0.4), (0.8, 0.3))
    page.wait_for_selector("#path-strip", state="visible")
    page.click("#path-clear")
    assert not page.locator("#path-strip").is_visible()


def test_the_keyboard_moves_and_takes_the_nearest_datum(page):
    page.focus("#plane-canvas")
    before = text(page, "#plane-readout")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function(
        "shown => document.querySelector('#plane-readout').textContent !== shown", arg=before
    )
    page.wait_for_function(
        "() => document.querySelector('#live').textContent.includes('nearest datum')"
    )
    page.keyboard.press("Enter")
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    assert text(page, "#hand-title").startswith("Test image")
    assert page.locator("#tab-datum").get_attribute("aria-selected") == "true"
    page.focus("#tab-datum")
    page.keyboard.press("ArrowRight")
    assert page.locator("#curves svg").is_visible()
    assert "StandardNormal" in text(page, "#settings-table")


def test_sliders_move_one_latent(page):
    page.click("#tab-latents")
    sliders = page.locator("#sliders input, #unused-sliders input")
    assert sliders.count() == 2
    before = page.evaluate("document.querySelector('#latents-frame').toDataURL()")
    page.evaluate("() => { document.querySelector('#unused').open = true; }")
    sliders.first.focus()
    page.keyboard.press("End")
    page.wait_for_function(
        "shown => document.querySelector('#latents-frame').toDataURL() !== shown", arg=before
    )
    assert float(page.locator(".slider output").first.text_content()) > 2
    page.wait_for_selector("#samples button:nth-child(24)")
    page.locator("#samples button").first.click()
    page.click("#latents-prior")


def test_a_drawn_digit_gets_its_numbers(page):
    page.click("#tab-datum")
    page.wait_for_selector("#gallery button:nth-child(48)")
    drag(page, "#pad", (0.5, 0.15), (0.5, 0.5), (0.5, 0.9))
    page.wait_for_selector("#hand-title:has-text('Your drawing')")
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    numbers = text(page, "#hand-numbers")
    assert re.search(r"log p\(x\)(≥ )?−\d+\.\d+", numbers)
    assert re.search(r"odder than[\w ]+ % of 180 test images", numbers)
    page.click("#erase")
    drag(page, "#hand-x", (0.8, 0.1), (0.8, 0.9))
    page.wait_for_selector("#imputed-frames figure:nth-child(4)")
    page.click("#restore")
    assert not page.locator("#imputed").is_visible()
    page.click("#erase")
    page.click("#hand-move")
    assert page.locator("#latents").is_visible()


def test_a_drawing_is_placed_as_the_data_are(page, explorer):
    """A small stroke in a corner arrives as high as a digit of the test part, in the middle."""
    page.click("#tab-datum")
    page.click("#pad-clear")
    with page.expect_request("**/api/datum") as sent:
        drag(page, "#pad", (0.2, 0.2), (0.2, 0.5))
    pixels = base64.b64decode(sent.value.post_data_json["pixels"])
    ink = np.frombuffer(pixels, np.uint8).reshape(8, 8) > 127
    rows, columns = ink.any(1).nonzero()[0], ink.any(0).nonzero()[0]
    placed = explorer.frames.centring
    assert rows.max() + 1 - rows.min() == placed.side == 8
    assert (columns.max() + 1 + columns.min()) / 2 == pytest.approx(placed.x, abs=0.51)
    page.wait_for_selector("#hand-note:has-text('to 8 of 8 pixels')")
    with page.expect_request("**/api/datum") as sent:
        page.uncheck("#centre")
    pixels = base64.b64decode(sent.value.post_data_json["pixels"])
    assert np.frombuffer(pixels, np.uint8).reshape(8, 8)[:, 4:].max() == 0
    page.check("#centre")


def test_the_keyboard_erases(page):
    page.click("#tab-datum")
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-title:has-text('Test image')")
    page.focus("#erase")
    page.keyboard.press("Enter")
    with page.expect_request("**/api/impute") as sent:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
    wiped = np.frombuffer(base64.b64decode(sent.value.post_data_json["mask"]), np.uint8)
    assert wiped.reshape(8, 8)[4, 5] == 1
    assert wiped.sum() < 12
    page.wait_for_selector("#imputed-frames figure:nth-child(4)")
    page.wait_for_function(
        "() => document.querySelector('#live').textContent.includes('Row 5, column 6, wiped out')"
    )
    with page.expect_request("**/api/impute") as sent:
        page.select_option("#region", "left")
    wiped = np.frombuffer(base64.b64decode(sent.value.post_data_json["mask"]), np.uint8)
    assert wiped.reshape(8, 8)[:, :4].all()
    page.click("#restore")
    page.click("#erase")


def test_the_oddest_come_first(page, explorer):
    page.click("#tab-datum")
    first = page.locator("#gallery button").first
    first.wait_for()
    worst = min(explorer.scores.log_prob)
    page.wait_for_function(
        "score => document.querySelector('#gallery button').textContent.includes(score)",
        arg=f"{worst:.1f}".replace("-", "−"),
    )
    first.click()
    page.wait_for_selector("#hand-numbers dd:has-text('100 % of 179 other test images')")


def test_picture_files(page, problems):
    page.click("#tab-datum")
    file = io.BytesIO()
    Image.new("L", (30, 30), 128).save(file, "PNG")
    picture = {"name": "grey.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.set_input_files("#file", picture)
    page.wait_for_selector("#hand-title:has-text('Grey.png')")
    page.set_input_files("#file", picture | {"buffer": b"no picture"})
    page.wait_for_selector("#message:has-text('no picture that can be read')")
    page.click("#message button")
    problems.clear()  # the browser logs the status of the refusal


def test_a_decode_that_fails_is_a_message(page, explorer, monkeypatch, problems):
    def fail(z):
        raise ValueError("z = (9) lies outside the support of the prior, numbers.")

    monkeypatch.setattr(explorer.space, "check", fail)
    page.mouse.move(300, 400)
    page.wait_for_selector("#message:has-text('outside the support of the prior')")
    monkeypatch.undo()
    page.mouse.move(320, 420)
    page.wait_for_selector("#message", state="hidden")
    problems.clear()


CONTRAST = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const part = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) =>
        0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
    const ground = (one) => {
        const colour = parse(getComputedStyle(one).backgroundColor);
        return colour[3] === 0 ? ground(one.parentElement) : colour;
    };
    return [...document.querySelectorAll("body *")].flatMap((one) => {
        const words = [...one.childNodes].filter((own) => own.nodeType === 3);
        const said = words.map((own) => own.data.trim()).join("");
        if (!said || !one.offsetParent || one.closest(":disabled, script, style")) return [];
        const [high, low] = [light(parse(getComputedStyle(one).color)), light(ground(one))]
            .sort((a, b) => b - a);
        return (high + 0.05) / (low + 0.05) < 4.5 ? [said] : [];
    });
}"""


def test_a_phone_shows_all_views(open_page, address):
    page = open_page(address, viewport={"width": 390, "height": 844}, has_touch=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for tab in TABS:
            page.tap(f"#tab-{tab}")
            page.wait_for_selector(f"#{tab}", state="visible")
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.evaluate(CONTRAST) == []  # text below 4.5 to 1
            if tab == "plane":  # what is decoded is in view beside the finger that moves
                seen = page.locator("#plane-frame, #plane-canvas")
                boxes = [one.bounding_box() for one in seen.all()]
                assert max(box["y"] + box["height"] for box in boxes) < 844
    # Whatever one can use has a name for a screen reader.
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas")].filter((one) =>
            !one.ariaLabel && !one.labels?.length && !one.textContent.trim()
            && !one.querySelector("[aria-label]") && !one.closest("button")).map((one) => one.id)"""
    )
    assert not nameless


def test_the_file_needs_no_server(open_page, explorer, tmp_path):
    path = write_page(Explorer(explorer.vae, explorer.data, most=12), tmp_path / "page.html")
    assert path.stat().st_size < MOST_BYTES
    page = open_page(path.as_uri())
    drag(page, "#plane-canvas", (0.3, 0.7), (0.8, 0.3))
    page.wait_for_selector("#path-strip", state="visible")
    page.click("#tab-latents")
    assert page.locator("#samples button").count() == 24
    page.click("#tab-datum")
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    assert not page.locator("#own").is_visible()
    assert not page.locator("#eraser").is_visible()


PIXELS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const pixel = (_, i) => Array.from(data.slice(4 * i, 4 * i + 3)).join();
    return Array.from({ length: data.length / 4 }, pixel);
}"""


def test_a_sequence_has_a_line_for_each_value(open_page):
    """The lines of two values over the steps, of data of which half have ended before the last."""
    torch.manual_seed(0)
    x = torch.randn(200, 6, 2).cumsum(1)
    x[:100, 4:] = torch.nan
    data = pvae.data.load(x, event_shape=(6, 2))
    likelihood = partial(pvae.likelihoods.Padded, likelihood=pvae.likelihoods.Gaussian)
    vae = pvae.build((6, 2), 2, likelihood=likelihood, network=pvae.networks.GRU)
    url, stop = start(Explorer(vae, data))
    page = open_page(f"{url}?token=secret")
    page.click("#tab-datum")
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-marks:has-text('dashed is the datum')")
    said = page.get_attribute("#hand-x", "aria-label")
    assert re.search("step 1, value 1: .*, step 1, value 2: .*, step 6, value 2: ", said)
    found = {*page.locator("#hand-x").evaluate(PIXELS)}
    assert {",".join(str(b) for b in bytes.fromhex(c[1:])) for c in (BLUE, ORANGE)} <= found
    page.click("#erase")
    drag(page, "#hand-x", (0.1, 0.5), (0.3, 0.5))
    page.wait_for_selector("#imputed-frames figure:nth-child(4)")
    stop()


def test_a_sequence_of_one_step_is_a_dot_for_each_value(open_page):
    data = pvae.data.load(torch.randn(50, 1, 2), event_shape=(1, 2))
    vae = pvae.build((1, 2), 2, likelihood=pvae.likelihoods.Gaussian, network=pvae.networks.GRU)
    url, stop = start(Explorer(vae, data))
    page = open_page(f"{url}?token=secret")
    page.click("#tab-datum")
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-marks:has-text('dashed is the datum')")
    assert len({*page.locator("#hand-x").evaluate(PIXELS)}) > 2  # the ground, and colours
    stop()


def test_a_table_with_continuous_labels(open_page, problems):
    """Bars with names, latents on a sphere, and in the end a server that is gone."""
    torch.manual_seed(0)
    x, y = torch.rand(200, 3) + 1, torch.linspace(0, 2, 200)[:, None].expand(200, 2)
    data = replace(pvae.data.load(x, labels=y), columns=("age", "height in cm", ""))
    vae = pvae.build(
        (3,), 3, prior=pvae.priors.Hyperspherical, posterior=pvae.posteriors.PowerSpherical,
        likelihood=pvae.likelihoods.Gaussian, conditional=True, label_dim=2,
    )  # fmt: skip
    url, stop = start(Explorer(vae, data))
    page = open_page(f"{url}?token=secret")
    place = page.locator("#plane-canvas").bounding_box()
    page.mouse.move(place["x"] + 50, place["y"] + 15)
    page.wait_for_selector("#plane-readout:has-text('outside the sphere, so moved to its edge')")
    assert re.search(
        r"age: .*, height in cm: .*, column 3: ", page.get_attribute("#plane-frame", "aria-label")
    )
    with page.expect_request("**/api/plane") as sent:
        page.fill("#given-values input >> nth=1", "0.5")
        page.keyboard.press("Tab")
    assert sent.value.post_data_json["y"] == [0, 0.5]
    page.select_option("#plane-kind", "map")
    page.wait_for_selector("#plane-readout:has-text('nearest datum')")
    page.click("#tab-datum")
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    assert not page.locator("#own").is_visible()
    page.check("#values-body tr:nth-child(2) input")
    page.wait_for_selector("#imputed-frames figure:nth-child(4)")
    imputed = page.locator("#values-body tr td:last-child").all_text_contents()
    assert [bool(text) for text in imputed] == [False, True, False]
    stop()
    page.click("#tab-latents")
    page.wait_for_selector("#message:has-text('no longer answers')")
    problems.clear()
