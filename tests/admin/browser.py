"""A real browser, under the strictest Content-Security-Policy: no inline script, no inline style."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    " disable-sync disable-dev-shm-usage window-size=1400,1000"
)
#: Runs before the page's own scripts, on every page.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", event => {
    window.violations.push(event.violatedDirective + " " + event.blockedURI + " " + event.sample);
});
"""


def strict_csp(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return middleware


@override_settings(MIDDLEWARE=["tests.admin.browser.strict_csp", *settings.MIDDLEWARE])
class Browser(StaticLiveServerTestCase):
    @pytest.fixture(autouse=True)
    def _browser(self, tmp_path: Any) -> Iterator[None]:
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER or ""
        for flag in FLAGS.split():
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
        self.browser = webdriver.Chrome(options=options, service=service)
        self.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        try:
            yield
        finally:
            self.browser.quit()

    def setUp(self) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("ana"))
        self.open("admin/login/")
        self.browser.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value, "path": "/"})

    def open(self, path: str) -> None:
        self.browser.get(f"{self.live_server_url}/{path}")

    def assert_clean(self) -> None:
        """Check that nothing on the page was refused, and that it was this app's page with its style."""
        assert self.browser.execute_script("return window.violations") == []
        wrong = [entry["message"] for entry in self.browser.get_log("browser") if "favicon.ico" not in entry["message"]]
        assert wrong == []

    def click(self, selector: str) -> None:
        self.browser.find_element("css selector", selector).click()

    def text_of(self, selector: str) -> str:
        """Return the text of an element, waiting for the page that a click has asked for."""
        found = WebDriverWait(self.browser, 20).until(lambda browser: browser.find_elements("css selector", selector))
        return str(found[0].text)
