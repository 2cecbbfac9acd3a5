"""The page, driven in a real browser: from the server, and from a file."""

import io
import re

import pytest
import torch
from PIL import Image

import pvae
from pvae.explore import Explorer, write_page
from pvae.explore.static_page import MOST_BYTES
from tests.explore.conftest import start

TABS = ("plane", "latents", "datum", "numbers")


@pytest.fixture
def open_page(chromium):
    """Opens an address; at the end there must have been no errors, and no foreign requests."""
    contexts, problems = [], []

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
        page.problems = problems
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        page.wait_for_function("() => document.querySelector('#nearest-text').textContent")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def page(open_page, address):
    return open_page(address)


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


def test_moving_over_the_plane_decodes(page):
    open_requests, most = [0], [0]

    def begin(request):
        if request.url.endswith("/api/at"):
            open_requests[0] += 1
            most[0] = max(most[0], open_requests[0])

    def end(request):
        if request.url.endswith("/api/at"):
            open_requests[0] -= 1

    page.on("request", begin)
    page.on("requestfinished", end)
    before = page.evaluate("document.querySelector('#plane-frame').toDataURL()")
    box = page.locator("#plane-canvas").bounding_box()
    for step in range(60):  # faster than it decodes
        page.mouse.move(box["x"] + 60 + 5 * step, box["y"] + 100 + 3 * step)
    page.wait_for_function(
        "shown => document.querySelector('#plane-frame').toDataURL() !== shown", arg=before
    )
    page.wait_for_load_state("networkidle")
    assert most[0] == 1
    place = text(page, "#plane-readout")
    assert re.fullmatch(r"z1 = −?\d\.\d\d, z2 = −?\d\.\d\d", place)
    assert "Nearest: test image" in text(page, "#nearest-text")


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
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    assert text(page, "#hand-title") == "Your drawing"
    numbers = text(page, "#hand-numbers")
    assert re.search(r"log p\(x\)(≥ )?−\d+\.\d+", numbers)
    assert re.search(r"odder than[\w ]+ % of 180 test images", numbers)
    page.click("#erase")
    drag(page, "#hand-x", (0.8, 0.1), (0.8, 0.9))
    page.wait_for_selector("#imputed-frames figure:nth-child(4)")
    page.click("#restore")
    assert not page.locator("#imputed").is_visible()
    page.click("#hand-move")
    assert page.locator("#latents").is_visible()


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


def test_picture_files(page):
    page.click("#tab-datum")
    file = io.BytesIO()
    Image.new("L", (30, 30), 128).save(file, "PNG")
    picture = {"name": "grey.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.set_input_files("#file", picture)
    page.wait_for_selector("#hand-title:has-text('Grey.png')")
    page.set_input_files("#file", picture | {"buffer": b"no picture"})
    page.wait_for_selector("#message:has-text('no picture that can be read')")
    page.click("#message button")
    page.problems.clear()  # the browser logs the status of the refusal


def test_a_decode_that_fails_is_a_message(page, explorer, monkeypatch):
    def fail(z):
        raise ValueError("z = (9) lies outside the support of the prior, numbers.")

    monkeypatch.setattr(explorer.space, "check", fail)
    page.mouse.move(300, 400)
    page.wait_for_selector("#message:has-text('outside the support of the prior')")
    monkeypatch.undo()
    page.mouse.move(320, 420)
    page.wait_for_selector("#message", state="hidden")
    page.problems.clear()


def test_a_server_that_ended_is_a_message(open_page, explorer):
    url, stop = start(explorer)
    page = open_page(f"{url}?token=secret")
    stop()
    page.mouse.move(300, 400)
    page.wait_for_selector("#message:has-text('no longer answers')")
    page.problems.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_views(open_page, address, scheme):
    page = open_page(
        address, viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme
    )
    for tab in TABS:
        page.tap(f"#tab-{tab}")
        page.wait_for_selector(f"#{tab}", state="visible")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
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


def test_a_table_is_shown_as_bars(open_page):
    data = pvae.data.load(torch.poisson(torch.full((80, 30), 4.0)).long())
    known = Explorer(pvae.build((30,), 3, likelihood=pvae.likelihoods.Poisson), data)
    url, stop = start(known)
    page = open_page(f"{url}?token=secret")
    page.select_option("#plane-kind", "map")
    page.wait_for_function(
        "() => document.querySelector('#plane-readout').textContent.match(/datum|neigh/)"
    )
    page.click("#tab-datum")
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    assert not page.locator("#own").is_visible()
    stop()
