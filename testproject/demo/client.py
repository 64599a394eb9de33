"""A browser, as far as the demo needs one: cookies, forms with their CSRF token, file uploads."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from http.cookiejar import CookieJar
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import HTTPCookieProcessor, Request, build_opener

TIMEOUT = 30.0


class HTTPStatusError(Exception):
    """The site answered a request with an error."""


class Client:
    """Talks to the site at ``url``; a login stays for all later requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> bytes:
        """Return the body of a page or a file."""
        return self.open(Request(urljoin(self.url, path)))

    def status(self) -> dict[str, Any]:
        """Return everything in the gallery and how its jobs stand."""
        content: dict[str, Any] = json.loads(self.get("/status.json"))
        return content

    def login(self, username: str, password: str) -> None:
        """Log in through the form; raises HTTPStatusError when the site does not take it."""
        self.submit("/login/", {"username": username, "password": password})
        if not any(cookie.name == "sessionid" for cookie in self.cookies):
            raise HTTPStatusError(f"The site does not let {username} log in.")

    def upload(self, photograph: Path, title: str = "") -> None:
        """Upload a photograph through the form; raises HTTPStatusError with the form's own words when it is refused."""
        before = len(self.status()["photos"])
        page = self.submit("/upload/", {"title": title}, files={"image": photograph}).decode()
        if len(self.status()["photos"]) == before:
            errors = page.partition('<ul class="errorlist"')[2].partition("</ul>")[0]
            raise HTTPStatusError(f"{photograph.name} was refused: {errors or page[:300]}")

    def submit(self, path: str, fields: Mapping[str, str], *, files: Mapping[str, Path] | None = None) -> bytes:
        """Fill in and send the form of a page, and return the page that it leads to."""
        return self.post(path, fields, files=files, form=path)

    def post(
        self, path: str, fields: Mapping[str, str], *, form: str, files: Mapping[str, Path] | None = None
    ) -> bytes:
        """Send fields to a path, with the CSRF token of the page ``form``."""
        self.get(form)
        token = next((cookie.value for cookie in self.cookies if cookie.name == "csrftoken"), None)
        body, content_type = multipart({**fields, "csrfmiddlewaretoken": token or ""}, files or {})
        return self.open(Request(urljoin(self.url, path), data=body, headers={"Content-Type": content_type}))

    def open(self, request: Request) -> bytes:
        """Send a request and return the body of the answer."""
        try:
            with self.opener.open(request, timeout=TIMEOUT) as answer:
                body: bytes = answer.read()
                return body
        except HTTPError as error:
            text = error.read().decode(errors="replace")
            title = text.partition("<title>")[2].partition("</title>")[0].strip()
            raise HTTPStatusError(
                f"{request.full_url} answered {error.code}: {' '.join(title.split()) or text[:300]}"
            ) from error


def multipart(fields: Mapping[str, str], files: Mapping[str, Path]) -> tuple[bytes, str]:
    """Return a multipart/form-data body and its content type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, path in files.items():
        kind = guess_type(path.name)[0] or "application/octet-stream"
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="{path.name}"'
        head = f"--{boundary}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n"
        parts += [head.encode(), path.read_bytes(), b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
