"""Take the pictures that the documentation shows, with a Chromium: `python -m tests.pictures`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from tests.browser import Browser
from tests.cli.test_serve import URL, serving

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"
WIDTH: Final = 1280
HEIGHT: Final = 1092


def take_docs_page(browser: Browser, url: str) -> None:
    """`/docs`, its list of operations, without a scroll bar."""
    browser.open(f"{url}/docs")
    browser.wait_for("document.querySelectorAll('.opblock').length > 8")
    browser.run("document.documentElement.style.overflow = 'hidden'")
    browser.wait_for(f"innerWidth === {WIDTH}")
    browser.screenshot(FOLDER / "docs-page.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DENIZEN_")}
        with serving(environment) as server, Browser(width=WIDTH, height=HEIGHT) as browser:
            take_docs_page(browser, server.wait_for(URL))
            server.stop()


if __name__ == "__main__":
    main()
