"""Does the official OpenAI SDK for Node, unmodified, work through the proxy?

The tests are JavaScript, in `openai.mjs`, and run once in Node's own test runner; here each is shown by its name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import CARD, EMAIL, IBAN, SECRET, Gateway

HERE = Path(__file__).parent
SUITE = HERE / "openai.mjs"
NAMES = re.findall(r'^test\("([^"]+)"', SUITE.read_text(), re.MULTILINE)
# All of it takes seconds; a minute more is a machine with much else to do.
ENDS_WITHIN_SECONDS = 90.0

Outcomes = dict[str, tuple[bool, str]]


def read_tap(output: str) -> Outcomes:
    """The tests at the top of a TAP document: whether each went well, and what it said."""
    outcomes: Outcomes = {}
    for part in re.split(r"(?m)^(?=(?:not )?ok \d+ - )", output)[1:]:
        head, _, rest = part.partition("\n")
        verdict, _, name = head.partition(" - ")
        outcomes[name.strip()] = (verdict.startswith("ok"), rest)
    return outcomes


@pytest.fixture(scope="module")
def outcomes(session_gateway: Gateway) -> Outcomes:
    if session_gateway.double is None:
        pytest.skip("needs PALISADE_BINARY: the documents of these tests and a view behind the proxy")
    node = shutil.which("node")
    assert node, "Node is missing: `make test` installs it"
    words = {"card": CARD, "email": EMAIL, "iban": IBAN, "secret": SECRET}
    environment = os.environ | {
        "PROXY_URL": session_gateway.url,
        "DOUBLE_URL": session_gateway.double.url,
        "KEYS": json.dumps(session_gateway.keys_of["node"]),
        "WORDS": json.dumps(words),
    }
    ran = subprocess.run(
        [node, "--test-reporter=tap", SUITE],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=HERE,
        timeout=ENDS_WITHIN_SECONDS,
    )
    outcomes = read_tap(ran.stdout)
    assert set(outcomes) == set(NAMES), f"{ran.stdout}\n{ran.stderr}"
    return outcomes


@pytest.mark.parametrize("name", NAMES)
def test_node(outcomes: Outcomes, name: str) -> None:
    went_well, said = outcomes[name]
    assert went_well, said
