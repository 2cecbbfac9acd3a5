"""The pictures of the explorer in its guide: `python -m tutorials.screenshots`.

Needs Chromium. It trains the model that is shown, on handwritten digits in two latents.
"""

import shutil
import tempfile
import threading
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import pvae
from pvae.explore import Explorer
from pvae.explore.numbers import numbers_of
from pvae.explore.server import application, listen
from pvae.training import Run

FOLDER = Path(__file__).parent / "_static"
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
GAP = 40  # pixels between the two


def main() -> None:
    """Train, serve, and write a picture of each view in each colour scheme."""
    with tempfile.TemporaryDirectory() as folder:
        explorer = _explorer(Path(folder) / "digits")
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(application(explorer, "secret"), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run, args=[[listening]])
    serving.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/?token=secret"
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            shots = {name: _shots(browser, address, name, scheme) for name in SIZES}
            for view in shots["desktop"]:
                both = _beside(shots["desktop"][view], shots["phone"][view])
                _few_colours(both).save(FOLDER / f"explorer-{view}-{scheme}.png", optimize=True)
    server.should_exit = True
    serving.join()
    explorer.close()


def _explorer(folder: Path) -> Explorer:
    data = pvae.data.load("digits")
    vae = pvae.build(data.event_shape, 2, network=partial(pvae.networks.MLP, hidden=[400]))
    pvae.fit(vae, data, epochs=150, run=folder)
    run = Run(folder)
    known = Explorer(run.vae(), run.data(), "digits", numbers_of(run, vae))
    known.scores.wait()
    return known


def _shots(browser: Browser, address: str, name: str, scheme: Any) -> dict[str, Image.Image]:
    """A picture of each view, in use."""
    width, height = SIZES[name]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#nearest", state="visible")
    uses = {"plane": _draw_path, "latents": _nothing, "datum": _take_oddest, "numbers": _nothing}
    found = {}
    for view, use in uses.items():
        page.click(f"#tab-{view}")
        use(page)
        page.wait_for_timeout(1000)
        found[view] = Image.open(BytesIO(page.screenshot())).convert("RGB")
    page.close()
    return found


def _nothing(page: Page) -> None:
    pass


def _draw_path(page: Page) -> None:
    box = page.locator("#plane-canvas").bounding_box()
    assert box is not None
    for step in range(16):
        u, v = 0.3 + 0.03 * step, 0.75 - 0.0016 * step * step
        page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
        if step == 0:
            page.mouse.down()
    page.mouse.up()


def _take_oddest(page: Page) -> None:
    page.locator("#gallery button").first.click()
    page.wait_for_selector("#hand-numbers dd:has-text('nats')")
    page.click("#erase")
    box = page.locator("#hand-x").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.05 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.95 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_selector("#imputed-frames figure:nth-child(4)")


def _few_colours(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours: 128 greys, for decoded images, and the most frequent others."""
    counts = picture.getcolors(picture.width * picture.height) or []
    found = [colour for _, colour in sorted(counts, reverse=True) if isinstance(colour, tuple)]
    others = [colour for colour in found if max(colour) - min(colour) > 8][:128]
    greys = [(value, value, value) for value in range(0, 256, 2)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in (*greys, *others) for value in colour])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _beside(desktop: Image.Image, phone: Image.Image) -> Image.Image:
    both = Image.new("RGB", (desktop.width + GAP + phone.width, desktop.height), "#8a8a8a")
    both.paste(desktop, (0, 0))
    both.paste(phone, (desktop.width + GAP, (desktop.height - phone.height) // 2))
    return both


if __name__ == "__main__":
    main()
