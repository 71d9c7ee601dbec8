"""Does the `llm` command line, unmodified, work through the proxy?

It runs as a program, in a user folder of its own, with the proxy as an OpenAI-compatible endpoint.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import CARD, EMAIL, IBAN, SECRET, Double, Gateway, eventually

LLM = Path(sys.executable).with_name("llm")
PAGE = Path(__file__).parents[2] / "docs/clients.md"
# Python, a few packages, one answer.
ENDS_WITHIN_SECONDS = 60.0

# The model's name here: its name there.
MODELS = {
    "echo": "mock-echo",
    "pieces": "mock+chunk=3",
    "silent": "silent",
    "slow": "mock+chunk=5+delay=20ms",
    "unknown": "gpt-none",
}
TOOL = '''
def lookup(input: str) -> str:
    """Looks something up."""
    return "found 4111 1111 1111 1111 for " + input
'''


def documented() -> dict[str, Any]:
    """The model as the page tells users to write it."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (model,) = yaml.safe_load(example)
    return model


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, session_gateway: Gateway) -> Path:
    """The user's folder of `llm`, with our models in it."""
    folder = tmp_path_factory.mktemp("llm")
    base = {"api_base": f"{session_gateway.url}/v1"}
    models = [documented() | base | {"model_id": here, "model_name": there} for here, there in MODELS.items()]
    (folder / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
    (folder / "keys.json").write_text(json.dumps({"palisade": session_gateway.keys_of["llm"]["developers"]}))
    return folder


def start(user: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"LLM_USER_PATH": str(user), "OPENAI_MAX_RETRIES": "0"}
    return subprocess.Popen(
        [LLM, "--no-log", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def run(user: Path, *arguments: str) -> tuple[int, str, str]:
    with start(user, *arguments) as child:
        out, err = child.communicate(timeout=ENDS_WITHIN_SECONDS)
    return child.returncode, out, err


def ask(user: Path, *arguments: str) -> str:
    code, out, err = run(user, *arguments)
    assert code == 0, err
    return out.removesuffix("\n")


@pytest.mark.parametrize("how", [("-m", "echo", "--no-stream"), ("-m", "pieces")])
def test_an_answer_is_redacted(user: Path, double: Double, marker: str, how: tuple[str, ...]) -> None:
    assert ask(user, *how, f"{marker} {CARD} to {EMAIL}") == f"{marker} [CREDIT_CARD] to [EMAIL_ADDRESS]"
    assert "4111" not in double.only(marker)["body"]


def test_a_tool_is_called_and_its_result_sent_back(user: Path, double: Double, marker: str) -> None:
    said = ask(user, "-m", "pieces", "--functions", TOOL, f"{marker} use the tool on {EMAIL}")
    assert said.endswith(f"{marker} use the tool on [EMAIL_ADDRESS]")
    sent = double.requests(marker)[1]["body"]
    assert "found [CREDIT_CARD] for" in sent
    assert "4111" not in sent


def test_structured_output_keeps_its_shape(user: Path, double: Double, marker: str) -> None:
    said = json.dumps({"name": marker, "mayor": EMAIL})
    answer = json.loads(ask(user, "-m", "echo", "--schema", "name, mayor", said))
    assert answer == {"name": marker, "mayor": "[EMAIL_ADDRESS]"}
    assert json.loads(double.only(marker)["body"])["response_format"]["type"] == "json_schema"


def test_a_blocked_prompt_says_why(user: Path, double: Double, marker: str) -> None:
    code, out, err = run(user, "-m", "echo", f"{marker} {SECRET}")
    assert (code, out) == (1, "")
    assert "400 - remove the secret, and rotate it" in err
    assert SECRET not in err
    assert double.requests(marker) == []


def test_a_blocked_answer_ends(user: Path) -> None:
    assert ask(user, "-m", "pieces", f"pay to {IBAN} today") == "pay to "


@pytest.mark.usefixtures("house")
def test_errors_are_told(user: Path) -> None:
    expected = {
        "unknown": "404 - the model `gpt-none` does not exist",
        "silent": "504 - no provider of this model answered in time",
    }
    # At once, for each takes as long as Python takes to start.
    children = {model: start(user, "-m", model, "x") for model in expected}
    for model, said in expected.items():
        with children[model] as child:
            _, err = child.communicate(timeout=ENDS_WITHIN_SECONDS)
        assert child.returncode == 1
        assert said in err


def test_an_interrupt_frees_the_provider(user: Path, double: Double, marker: str) -> None:
    with start(user, "-m", "slow", marker + " word" * 500) as child:
        eventually(lambda: double.requests(marker), "the provider is asked")
        child.send_signal(signal.SIGINT)
        double.is_left(marker)
        child.communicate(timeout=ENDS_WITHIN_SECONDS)
