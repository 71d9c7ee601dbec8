"""A control plane to talk to: `palisade serve` on a store of its own, with an operator and an organisation's admin."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import PROVIDER_KEY, Process

PASSWORD = "correct horse battery staples"


@dataclass
class ControlPlane:
    """Where it is, and what opens it."""

    binary: str
    proxy: str
    api: str
    operator: str

    def call(self, method: str, path: str, token: str | None = None, body: Any = None, **headers: str) -> Any:
        """What the API answers to a request that it accepts."""
        request = urllib.request.Request(f"{self.api}/api/v1{path}", method=method, headers=headers)
        if token:
            request.add_header("authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def admin(self, organisation: str) -> str:
        """A token of an organisation's first admin."""
        invited = self.call("POST", f"/orgs/{organisation}/first-admin", self.operator, {"name": "ann"})
        return arrived(self.api, organisation, "ann", invited["text"])

    def palisade(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command that talks to it."""
        known = {"PALISADE_URL": self.api, "PALISADE_TOKEN": token or self.operator}
        return subprocess.run(
            [self.binary, *arguments], env=os.environ | known, capture_output=True, text=True, check=False
        )


def arrived(api: str, organisation: str | None, name: str, invitation: str) -> str:
    """Accepts an invitation, signs in, and makes a token."""

    def send(path: str, body: Any, **headers: str) -> Any:
        request = urllib.request.Request(f"{api}/api/v1{path}", data=json.dumps(body).encode(), method="POST")
        for header, value in ({"content-type": "application/json"} | headers).items():
            request.add_header(header, value)
        return urllib.request.urlopen(request)

    send("/invitations/accept", {"invitation": invitation, "password": PASSWORD}).close()
    with send("/session", {"organisation": organisation, "name": name, "password": PASSWORD}) as answer:
        cookie, csrf = answer.headers["set-cookie"].split(";")[0], json.load(answer)["csrf"]
    owner = f"/orgs/{organisation}" if organisation else "/platform"
    session = {"cookie": cookie, "x-csrf-token": csrf}
    with send(f"{owner}/api-tokens", {"name": "tests", "lifetime": "1d"}, **session) as answer:
        return str(json.load(answer)["secret"])


def started(room: Path) -> Iterator[ControlPlane]:
    """A process on an empty store."""
    named = os.environ.get("PALISADE_BINARY")
    if not named:
        pytest.skip("needs PALISADE_BINARY: a control plane is started")
    binary = str(Path(named).resolve())
    ready, config = room / "ready.json", room / "palisade.toml"
    config.write_text('drain_grace = "0s"\n[store]\nkind = "sqlite"\n')
    listen = [(f"--{name}-listen", "127.0.0.1:0") for name in ("proxy", "admin", "metrics", "api")]
    with ExitStack() as running:
        process = Process(
            room / "plane.log",
            *(binary, "serve", "--config", str(config), "--data-dir", str(room / "data")),
            *("--ready-file", str(ready), "--workers", "1", *itertools.chain.from_iterable(listen)),
            env=os.environ | {"TEST_PROVIDER_KEY": PROVIDER_KEY},
        )
        running.callback(process.end)
        urls = json.loads(process.wait_for(ready))
        assert process.child.stdout is not None
        lines = iter(process.child.stdout.readline, "")
        invitation = next(
            word for line in lines for word in line.split() if re.fullmatch(r"pal_invite_platform_\S+", word)
        )
        operator = arrived(urls["api"], None, "operator", invitation)
        yield ControlPlane(binary, urls["proxy"], urls["api"], operator)
        assert process.end() == 0, process.log.read_text()
