"""Periodic tasks in a real browser: the preview while somebody types, and pages that obey the strictest policy."""

from __future__ import annotations

from typing import Any

from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.states import State
from tests.admin import browser, tasks
from tests.admin.schedules import declared, make_periodic, make_run

pytestmark = browser.MARKS

LIST = "admin/django_jobs/periodictask/"


class PeriodicBrowserTests(browser.Browser):
    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def type(self, name: str, text: str) -> None:
        field = self.find(f"[name={name}]")
        field.clear()
        field.send_keys(text)

    def wait_for_preview(self, text: str, selector: str = ".dj-preview") -> str:
        """Wait until the preview says something, and return all that it says."""
        said = "return document.querySelector(arguments[0])?.innerText ?? ''"
        browser.WebDriverWait(self.browser, 20).until(lambda page: text in page.execute_script(said, selector), text)
        return str(self.find(".dj-preview").text)

    def test_every_page_obeys_the_policy(self) -> None:
        row = declared(make_periodic("nightly"))
        PeriodicTask.objects.update(queue="mail")
        for age in range(10, 40):
            run = make_run(row, age=age, state=State.SUCCESS if age % 3 else State.FAILURE)
        make_periodic("gone", task="old.jobs.gone", schedule="61 * * * *")
        paths = ["", "add/", f"{row.pk}/change/", f"{row.pk}/delete/", f"{row.pk}/history/", "?enabled=0&q=none"]
        runs = "admin/django_jobs/periodicrun/"
        for path in (
            *(LIST + path for path in paths),
            runs,
            f"{runs}{run.pk}/change/",
            f"{runs}?periodic_task={row.pk}",
        ):
            with self.subTest(path=path):
                self.open(path)
                self.assert_clean()
        self.open(LIST)
        color = "return getComputedStyle(document.querySelector('.dj-mark-failure')).backgroundColor"
        assert self.browser.execute_script(color) == "rgb(179, 38, 30)"

    def test_the_lists_fit_their_page(self) -> None:
        row = declared(make_periodic("shop.jobs.refresh_prices_of_all_suppliers", timezone="America/New_York"))
        make_run(row, state=State.FAILURE, missed=17)
        make_run(row, age=90, outcome="refused", detail="These arguments do not fit the task: " + "and so on " * 20)
        wide = "const list = document.querySelector('#result_list').parentElement; return list.scrollWidth"
        room = wide.replace("scrollWidth", "clientWidth")
        for width in (1400, 800):
            self.browser.set_window_size(width, 1000)
            for path in (LIST, "admin/django_jobs/periodicrun/"):
                with self.subTest(width=width, path=path):
                    self.open(path)
                    assert self.browser.execute_script(wide) <= self.browser.execute_script(room)

    def test_a_task_is_made_with_its_meaning_in_view(self) -> None:
        self.open(f"{LIST}add/")
        self.wait_for_preview("At 03:00, every day (UTC)")
        # Who types into the fields of a kind means that kind, and needs no click for it.
        self.type("schedule_count", "20")
        text = self.wait_for_preview("Every 20 minutes")
        assert self.find("input[value=every]").is_selected()
        assert len(text.splitlines()) == 6
        assert "in 20 min" in text
        self.click("input[value=clock]")
        for day in ("mon", "tue", "wed", "thu", "fri"):
            self.click(f"input[name=schedule_days][value={day}]")
        self.type("timezone", "Mars/Olympus")
        self.wait_for_preview("Mars/Olympus", ".dj-preview-error")
        self.type("timezone", "Asia/Kolkata")
        text = self.wait_for_preview("on Monday to Friday (Asia/Kolkata)")
        assert "03:00" in text
        assert "+05:30" in text
        self.assert_clean()
        self.type("name", "every working day")
        self.click(f"select[name=task] option[value='{tasks.keep_on.name}']")
        self.click("input[name=_save]")
        assert "was added successfully" in self.text_of(".messagelist")
        row = PeriodicTask.objects.get()
        assert (row.schedule, row.timezone, row.task) == ("0 3 * * mon-fri", "Asia/Kolkata", tasks.keep_on.name)
        assert "every working day" in self.text_of("#result_list")
        self.assert_clean()

    def test_a_text_that_is_none_says_so_and_runs_nothing(self) -> None:
        row = make_periodic()
        self.open(f"{LIST}{row.pk}/change/")
        self.type("schedule_text", "<img src=x onerror=alert(1)>")
        self.wait_for_preview("<img", ".dj-preview-error")
        assert self.browser.find_elements("css selector", ".dj-preview img") == []
        self.assert_clean()

    def test_an_error_is_said_once_and_only_of_what_was_chosen(self) -> None:
        row = make_periodic()
        self.open(f"{LIST}{row.pk}/change/")
        self.type("schedule_text", "61 * * * *")
        self.wait_for_preview("61", ".dj-preview-error")
        self.click("input[name=_save]")
        said = self.text_of(".field-schedule .errorlist li")
        assert "61" in said
        self.wait_for_preview("–", ".dj-preview-error")
        color = "return getComputedStyle(document.querySelector(`[name=schedule_${arguments[0]}]`)).borderTopColor"
        wrong, others = (self.browser.execute_script(color, name) for name in ("text", "count"))
        assert wrong != others
        self.type("schedule_text", "62 * * * *")
        self.wait_for_preview("62", ".dj-preview-error")

    def test_a_preview_that_does_not_answer_says_so(self) -> None:
        row = make_periodic()
        self.open(f"{LIST}{row.pk}/change/")
        self.wait_for_preview("At 02:30")
        self.browser.delete_all_cookies()  # as when the session has ended: the answer is a login page
        self.type("schedule_text", "@daily")
        self.wait_for_preview("The preview does not answer")

    def test_run_now_asks_once(self) -> None:
        row = make_periodic()
        self.open(f"{LIST}{row.pk}/change/")
        self.click(".dj-confirm summary")
        assert not PeriodicRun.objects.exists()
        self.click(".dj-confirm button")
        assert "1 job was sent." in self.text_of(".messagelist")
        assert PeriodicRun.objects.get().by_hand
        assert "sent" in self.text_of(".dj-runs")
        self.assert_clean()
