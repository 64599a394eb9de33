"""doctor: what is wrong, and how it is mended."""

from __future__ import annotations

from typing import Any

from django_jobs.doctor import Finding, Level, examine
from django_jobs.management.jobs.looking import explain
from django_jobs.management.jobs.screen import Screen


def doctor(screen: Screen, options: dict[str, Any]) -> int:
    """Say what is wrong and how it is mended, or why jobs do not go on. 1: something is wrong that was not mended."""
    if options["ids"]:
        return explain(screen, options)
    findings = examine()
    mended: dict[str, str] = {}
    if not screen.as_json:
        _show(screen, findings)
    mendable = sum(finding.repair is not None for finding in findings)
    if options["fix"] and mendable and screen.confirm(f"Mend {mendable} of these?", yes=options["yes"]):
        mended = _mend(findings)
        for text in dict.fromkeys(mended.values()):
            screen.say(text)
    if screen.as_json:
        screen.document([_plain(finding, mended.get(_key(finding))) for finding in findings])
    return int(any(finding.level is Level.ERROR and _key(finding) not in mended for finding in findings))


def _key(finding: Finding) -> str:
    return f"{finding.code}: {finding.text}"


def _mend(findings: list[Finding]) -> dict[str, str]:
    mended: dict[str, str] = {}
    done: dict[Any, str] = {}
    for finding in findings:
        if finding.repair is None:
            continue
        if finding.repair not in done:  # one repair may be of several findings
            done[finding.repair] = f"{finding.code}: {finding.repair()}."
        mended[_key(finding)] = done[finding.repair]
    return mended


def _show(screen: Screen, findings: list[Finding]) -> None:
    if not findings:
        screen.say("Nothing is wrong.")
    for finding in findings:
        screen.say(f"{finding.level.value.upper():7}  {finding.code}: {finding.text}")
        screen.say(f"         {finding.hint}")
        if finding.repair:
            screen.say("         manage.py jobs doctor --fix does it.")
        for job_id in finding.ids[:5]:
            screen.say(f"         {job_id}")
        if len(finding.ids) > 5:
            screen.say("         ...")


def _plain(finding: Finding, mended: str | None) -> dict[str, Any]:
    return {
        "code": finding.code,
        "level": finding.level.value,
        "text": finding.text,
        "hint": finding.hint,
        "ids": finding.ids,
        "mendable": finding.repair is not None,
        "mended": mended,
    }
