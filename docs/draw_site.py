"""Draw docs/pictures/site.png, pages of the documentation site, light, dark and narrow: `python docs/draw_site.py`.

It needs Chromium. The site is built first; `python docs/draw_site.py FOLDER` takes a site that was built before.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "site.png"
PAGES = ("index.html", "verdict.html", "fields.html")
VIEWS = (("light", 1280), ("dark", 1280), ("light", 400))
"""Colour scheme and width in pixels."""
HEIGHT = 900
SCALE = 0.4


def shots(site: Path) -> list[list[Image.Image]]:
    """Return one row of pictures per page."""
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in PAGES:
            row = []
            for scheme, width in VIEWS:
                page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": HEIGHT})
                page.set_default_timeout(300_000)
                page.goto((site / name).as_uri())
                row.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
                page.close()
            rows.append(row)
    return rows


def draw(site: Path) -> None:
    """Write the picture."""
    rows = [
        [shot.resize((int(shot.width * SCALE), int(shot.height * SCALE)), Image.Resampling.LANCZOS) for shot in row]
        for row in shots(site)
    ]
    gap = 8
    sheet = Image.new(
        "RGB",
        (sum(shot.width + gap for shot in rows[0]) + gap, sum(row[0].height + gap for row in rows) + gap),
        "#98a2b3",
    )
    top = gap
    for row in rows:
        left = gap
        for shot in row:
            sheet.paste(shot, (left, top))
            left += shot.width + gap
        top += row[0].height + gap
    sheet.quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder], cwd=ROOT, check=True
            )
            draw(Path(folder))
