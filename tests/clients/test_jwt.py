"""Do real SDKs work with a JWT in place of a key, signed by a JWT library that is not ours?

The organisation `jwt` believes one issuer, whose keys stand in a file of the data folder. An application passes the
JWT where it would pass its key; nothing else differs.
"""

from __future__ import annotations

import time
from typing import Any

import anthropic
import jwt
import openai
import pytest
from conftest import CARD, ISSUER, SIGNERS, Double, Gateway


def token(algorithm: str = "RS256", **claims: Any) -> str:
    """A JWT of a developer."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "palisade", "sub": "ada", "iat": now, "exp": now + 300, "groups": ["dev"]} | claims
    signer = SIGNERS[algorithm]
    return jwt.encode(claims, signer, algorithm=algorithm, headers={"kid": algorithm})


def say(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_openai_with_a_jwt_as_its_key(house: Gateway, double: Double, marker: str, algorithm: str) -> None:
    own = token(algorithm)
    client = house.client(api_key=own)
    answer = client.chat.completions.create(model="mock-echo", messages=say(f"{marker} {CARD}"))
    assert answer.choices[0].message.content == f"{marker} [CREDIT_CARD]"
    assert own not in str(double.only(marker)["headers"])
    stream = client.chat.completions.create(model="mock-echo", messages=say("streamed"), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "streamed"
    assert "mock-echo" in [model.id for model in client.models.list()]


def test_anthropic_with_a_jwt_as_its_key_or_as_its_token(house: Gateway) -> None:
    for credential in ({"api_key": token()}, {"auth_token": token(), "api_key": None}):
        with anthropic.Anthropic(base_url=house.url, max_retries=0, **credential) as client:
            answer = client.messages.create(model="mock-claude", max_tokens=64, messages=say("hello"))
            assert "hello" in answer.content[0].text


def test_groups_of_a_jwt_are_groups(house: Gateway) -> None:
    client = house.client(api_key=token(groups=["nobody knows it"]))
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="mock-echo", messages=say("hello"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": 1},
        {"aud": "another"},
        {"iss": "https://login.nobody.example"},
        {"nbf": 4_000_000_000},
        {"sub": ""},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_jwt_that_is_not_believed_is_a_wrong_key(house: Gateway, wrong: dict[str, Any]) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        house.client(api_key=token(**wrong)).chat.completions.create(model="mock-echo", messages=say("hello"))
    assert raised.value.code == "invalid_api_key"


def test_what_is_public_signs_nothing(house: Gateway) -> None:
    unsigned = jwt.encode({"iss": ISSUER, "aud": "palisade", "sub": "ada", "exp": int(time.time()) + 300}, None, "none")
    for forged in (unsigned, token()[:-4] + "AAAA"):
        with pytest.raises(openai.AuthenticationError):
            house.client(api_key=forged).chat.completions.create(model="mock-echo", messages=say("hello"))
