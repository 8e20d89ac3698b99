"""The pages in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from jobs import db, keys
from jobs.settings import Settings
from tests.api import server

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
"""Without a network of its own; in containers tests may run as root."""


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with sync_playwright() as play, play.chromium.launch(executable_path=chromium, args=QUIET) as browser:
        yield browser.new_page()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """Where a service answers of which every call needs a key."""
    with server.running(tmp_path, FITD_REQUIRE_KEYS="true") as service:
        yield service.url


@pytest.fixture
def key(home: str, tmp_path: Path) -> str:
    with db.connect(Settings(data_dir=tmp_path).database).writing() as session:
        return keys.create(session, "ann", "read", None).token


def test_swagger_ui_sends_the_key_that_it_was_given(home: str, key: str, page: Page) -> None:
    page.goto(f"{home}/docs")
    listing = page.locator("#operations-jobs-list_jobs")
    listing.click()
    status = listing.locator(".live-responses-table tbody .response-col_status")

    listing.get_by_role("button", name="Execute").click()
    expect(status).to_contain_text("401")

    page.locator(".auth-wrapper").get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    dialog.locator("input").fill(key)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()
    listing.get_by_role("button", name="Execute").click()
    expect(status).to_contain_text("200")
