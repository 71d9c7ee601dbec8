"""Is a prompt asked of the real Presidio, and is what it finds redacted where it stands?"""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from conftest import CARD, Double, Gateway


@pytest.fixture
def client(house: Gateway) -> openai.OpenAI:
    return house.client()


def ask(client: openai.OpenAI, *texts: str) -> str:
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]
    answer = client.chat.completions.create(model="mock-echo", messages=messages)
    return answer.choices[0].message.content or ""


def test_a_name_is_redacted_behind_wide_characters(client: openai.OpenAI, double: Double, marker: str) -> None:
    ask(client, f"{marker} 😀 Grüße: Ada Lovelace met Grace Hopper")
    body = double.only(marker)["body"]
    assert f"{marker} 😀 Grüße: [PERSON] met [PERSON]" in json.dumps(json.loads(body), ensure_ascii=False)
    assert "Lovelace" not in body
    assert "Hopper" not in body


def test_each_text_of_a_message_is_asked_about(client: openai.OpenAI, double: Double, marker: str) -> None:
    ask(client, f"{marker} by Gödel", 'and "Ada Lovelace", too', f"paid with {CARD}")
    body = double.only(marker)["body"]
    assert f"{marker} by [PERSON]" in body
    assert '\\"[PERSON]\\", too' in body
    assert "[CREDIT_CARD]" in body
    assert "G\u00f6del" not in json.dumps(json.loads(body), ensure_ascii=False)


def test_who_is_nobody_passes(client: openai.OpenAI, double: Double, marker: str) -> None:
    ask(client, f"{marker} is no name of anybody")
    assert f"{marker} is no name of anybody" in double.only(marker)["body"]


def test_findings_are_named_by_their_detector(house: Gateway, marker: str) -> None:
    raw = house.client().chat.completions.with_raw_response.create(
        model="mock-echo", messages=[{"role": "user", "content": f"{marker} Ada Lovelace"}]
    )
    assert raw.headers["x-palisade-findings"] == "detector.presidio.PERSON;1"
