"""The pages of jobs in a real browser."""

from __future__ import annotations

from django_jobs.models import JobResult
from django_jobs.states import State
from tests.admin import browser
from tests.admin.results import make_failure, make_history, make_result

pytestmark = browser.MARKS


class BrowserTests(browser.Browser):
    def test_every_page_obeys_the_policy(self) -> None:
        job = make_failure(history=make_history("first"), retries=1)
        running = make_result(State.STARTED, meta='{"done": 1, "total": 4, "message": "x"}')
        for _ in range(60):
            make_failure()
        base = "admin/django_jobs"
        paths = [f"{base}/jobresult/", f"{base}/failedjob/", f"{base}/jobresult/?state=REVOKED"]
        paths += [f"{base}/{page}/{row.pk}/change/" for page, row in (("jobresult", job), ("failedjob", job))]
        paths += [f"{base}/jobresult/{running.pk}/change/", f"{base}/jobresult/{job.pk}/delete/", f"{base}/"]
        for path in paths:
            with self.subTest(path=path):
                self.open(path)
                self.assert_clean()
        color = "return getComputedStyle(document.querySelector('.dj-status-failure')).color"
        self.open(f"{base}/jobresult/{job.pk}/change/")
        assert self.browser.execute_script(color) == "rgb(179, 38, 30)"

    def test_the_lists_fit_their_page(self) -> None:
        make_failure()
        make_result(worker="a-machine-with-a-long-name.example.org:4121:1")
        for width in (1400, 1280, 1100, 400):
            metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
            self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for page in ("jobresult", "failedjob"):
                with self.subTest(width=width, page=page):
                    self.open(f"admin/django_jobs/{page}/")
                    list_ = "const list = document.querySelector('#result_list').parentElement; return list."
                    assert self.browser.execute_script(f"{list_}scrollWidth <= list.clientWidth")

    def test_the_policy_is_real(self) -> None:
        self.open("admin/")
        self.browser.execute_script("document.body.setAttribute('style', 'color: red')")
        assert self.browser.execute_script("return window.violations") != []

    def test_discard_one_by_hand(self) -> None:
        job = make_failure()
        self.open(f"admin/django_jobs/failedjob/{job.pk}/change/")
        self.click(".dj-confirm summary")
        self.click(".dj-confirm button")
        assert "1 job was discarded." in self.text_of(".messagelist")
        assert "revoked" in self.text_of(".dj-state")
        assert JobResult.objects.get().state == State.REVOKED
        self.assert_clean()

    def test_delete_all_that_match(self) -> None:
        for _ in range(60):
            make_failure()
        self.open("admin/django_jobs/failedjob/")
        self.click("#action-toggle")
        assert self.text_of(".question a") == "Select all 60 failed jobs"
        self.click(".question a")
        self.click("select[name=action] option[value=delete_selected]")
        self.click("button[name=index]")
        assert "Delete all 60 failed jobs that match." in self.text_of(".dj-question")
        self.assert_clean()
        self.click(".dj-danger")
        assert "60 jobs were deleted." in self.text_of(".messagelist")
        assert not JobResult.objects.exists()
