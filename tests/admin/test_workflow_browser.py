"""The pages of workflows in a real browser."""

from __future__ import annotations

from django_jobs import chain
from django_jobs.models import Workflow
from tests.admin import browser, tasks
from tests.admin import workflows as w

pytestmark = browser.MARKS
LIST = w.WORKFLOWS.lstrip("/")

#: Texts of the graph that are wider than their boxes, or outside of them.
OUTSIDE = """
return [...document.querySelectorAll(".dj-node")].flatMap(node => {
    const box = node.querySelector(".dj-box").getBoundingClientRect();
    return [...node.querySelectorAll("text")].filter(text => {
        const own = text.getBoundingClientRect();
        return own.left < box.left || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1;
    }).map(text => text.textContent);
});
"""


class WorkflowBrowserTests(browser.Browser):
    def test_every_page_obeys_the_policy_and_fits_its_boxes(self) -> None:
        long = chain([tasks.fetch.si(n) for n in range(20)] + [tasks.resize.si(fails=True), tasks.publish.si()])
        made = [
            w.send(w.a_chain()),
            w.send(w.a_chord(failing=1)),
            w.send(w.a_nested_canvas()),
            w.send(long),
            w.send(w.a_chord(width=20), run=False),
            w.make_large_chord(10_000),
        ]
        pages = [f"{LIST}{workflow.pk}/change/" for workflow in made]
        for theme in ("light", "dark"):
            scheme = {"name": "prefers-color-scheme", "value": theme}
            self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            for path in (LIST, f"{LIST}?state=running", *pages):
                with self.subTest(theme=theme, path=path):
                    self.open(path)
                    self.assert_clean()
                    assert self.browser.execute_script(OUTSIDE) == []
        color = "return getComputedStyle(document.querySelector('.dj-node-step.dj-status-failure')).color"
        self.open(pages[1])
        assert self.browser.execute_script(color) == "rgb(255, 138, 128)"

    def test_the_list_fits_its_page(self) -> None:
        w.make_workflow(name="chord of " + ", ".join(f"shop.jobs.a_task_with_a_long_name_{n}" for n in range(5)))
        for width in (1400, 1280, 1000, 600, 400):
            self.browser.set_window_size(width, 1000)
            self.open(LIST)
            list_ = "const list = document.querySelector('#result_list').parentElement; return list."
            assert self.browser.execute_script(f"{list_}scrollWidth <= list.clientWidth")

    def test_names_of_steps_can_be_read_on_a_small_screen(self) -> None:
        workflow = w.send(w.a_chain())
        metrics = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.open(f"{LIST}{workflow.pk}/change/")
        width = "return document.querySelector('#dj-steps tbody th').clientWidth"
        assert self.browser.execute_script(width) > 100

    def test_a_node_leads_to_its_job_and_back(self) -> None:
        workflow = w.send(w.a_chord(failing=1))
        self.open(f"{LIST}{workflow.pk}/change/")
        self.click(".dj-node-step.dj-status-failure")
        assert "ValueError" in self.text_of(".dj-failure")
        self.click(f"a[href='{w.WORKFLOWS}{workflow.pk}/change/']")
        assert "6 of 6 ended, 1 failed" in self.text_of(".dj-share")

    def test_revoke_by_hand(self) -> None:
        workflow = w.send(w.a_chain(), run=False)
        self.open(f"{LIST}{workflow.pk}/change/")
        self.click(".dj-confirm summary")
        self.click("input[name=terminate]")
        self.click(".dj-confirm .dj-danger")
        assert "3 steps were stopped" in self.text_of(".messagelist")
        assert "revoked" in self.text_of(".dj-state")
        assert Workflow.objects.get().finished_at is not None
        self.assert_clean()

    def test_retry_from_the_list(self) -> None:
        w.send(w.a_chord(failing=1))
        self.open(LIST)
        self.click("#result_list input.action-select")
        self.click("select[name=action] option[value=retry_selected]")
        self.click("button[name=index]")
        assert "Retry failed steps of 1 selected workflow." in self.text_of(".dj-question")
        self.click(".dj-danger")
        assert "Failed steps of 1 workflow were sent again." in self.text_of(".messagelist")
        assert "running" in self.text_of("#result_list")
        self.assert_clean()
