// The form of a periodic task: says what a schedule means while it is typed. Without it the page says so after saving.
"use strict";
{
    const PAUSE = 250;

    const element = (name, className, text) => {
        const made = document.createElement(name);
        if (className) made.className = className;
        if (text) made.textContent = text;
        return made;
    };

    const show = (panel, found) => {
        const parts = [];
        // What the field above says already is not said twice.
        const above = [...panel.closest("form").querySelectorAll(".field-schedule .errorlist li")];
        const isSaid = above.some(item => item.textContent.trim() === found.error);
        if (found.error) parts.push(element("p", "dj-preview-error", isSaid ? "–" : found.error));
        if (found.description) parts.push(element("p", "dj-preview-words", found.description));
        if (found.runs.length) {
            const list = element("ol", "dj-preview-runs");
            for (const run of found.runs) {
                const item = element("li");
                const time = element("time", "dj-time");
                time.dateTime = run.at;
                time.append(element("b", "", run.time), ` ${run.day} `, element("span", "dj-quiet", run.offset));
                item.append(time, " ", element("span", "dj-quiet", run.away));
                list.append(item);
            }
            parts.push(list);
        }
        for (const warning of found.warnings) parts.push(element("p", "dj-preview-remark", warning));
        panel.replaceChildren(...parts);
    };

    const start = panel => {
        const form = panel.closest("form");
        const url = panel.dataset.url;
        if (!form || !url) return;
        const concerns = name => /^(schedule|starts|ends)_|^(timezone|one_off)$/.test(name);
        let timer = 0;
        let running = null;
        let shown = "";

        const ask = async () => {
            const query = new URLSearchParams();
            for (const [name, value] of new FormData(form)) if (concerns(name)) query.append(name, value);
            if (panel.dataset.id) query.append("id", panel.dataset.id);
            if (query.toString() === shown) return;
            shown = query.toString();
            if (running) running.abort();
            const mine = running = new AbortController();
            try {
                const response = await fetch(`${url}?${query}`, {
                    credentials: "same-origin",
                    headers: {"Accept": "application/json"},
                    signal: mine.signal,
                });
                if (!response.ok || response.redirected) throw new Error(`${response.status}`);
                show(panel, await response.json());
            } catch (error) {
                if (mine.signal.aborted) return;
                shown = "";
                panel.replaceChildren(element("p", "dj-quiet", panel.dataset.away));
            }
        };
        const later = () => {
            clearTimeout(timer);
            timer = setTimeout(ask, PAUSE);
        };

        form.addEventListener("input", event => {
            const fields = event.target.closest(".dj-kind-fields");
            // Who types into the fields of a kind means that kind.
            if (fields) fields.parentElement.querySelector("input[type=radio]").checked = true;
            if (concerns(event.target.name || "")) later();
        });
        // The admin's own shortcuts for dates change fields without an event of theirs.
        form.addEventListener("click", later);
        form.addEventListener("focusout", later);
        later();
    };

    const begin = () => document.querySelectorAll("[data-dj-preview]").forEach(start);
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
}
