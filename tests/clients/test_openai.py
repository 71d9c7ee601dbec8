"""Does the official OpenAI SDK, unmodified, work through the proxy?

Only its `base_url` and `api_key` differ from an application that talks to OpenAI. The provider double repeats
the last user message, so what a test reads is what left the proxy; `double.only(marker)` is what reached the
provider.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

from conftest import CARD, EMAIL, IBAN, PROVIDER_KEY, SECRET, SSN, Double, Gateway

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "lookup",
            "description": "looks something up",
            "parameters": {"type": "object", "properties": {"input": {"type": "string"}}},
        },
    }
]


def say(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def streamed_text(stream: Any, choice: int = 0) -> str:
    choices = (one for chunk in stream for one in chunk.choices if one.index == choice)
    return "".join(one.delta.content or "" for one in choices)


def counting(attempts: list[httpx2.Request]) -> httpx2.Client:
    """The SDK's own HTTP client, which also notes every request that it really sends."""
    return openai.DefaultHttpxClient(event_hooks={"request": [attempts.append]})


# Answers in one piece.


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="mock-echo", messages=say("Grüße, 世界 👋"))
    assert answer.choices[0].message.content == "Grüße, 世界 👋"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0


def test_a_card_never_reaches_the_provider(client: openai.OpenAI, double: Double, marker: str) -> None:
    answer = client.chat.completions.create(model="mock-echo", messages=say(f"{marker} {CARD} thanks"))
    assert answer.choices[0].message.content == f"{marker} [CREDIT_CARD] thanks"
    assert "4111" not in double.only(marker)["body"]


def test_an_address_reaches_the_provider_and_does_not_come_back(
    client: openai.OpenAI, double: Double, marker: str
) -> None:
    answer = client.chat.completions.create(model="mock-echo", messages=say(f"{marker} {EMAIL} thanks"))
    assert answer.choices[0].message.content == f"{marker} [EMAIL_ADDRESS] thanks"
    assert EMAIL in double.only(marker)["body"]


def test_a_number_comes_back_that_the_provider_never_saw(
    client: openai.OpenAI, double: Double, marker: str
) -> None:
    ask: Any = {"model": "mock+chunk=1", "messages": say(f"{marker} {SSN}, and ![](https://x.example/?q= {SSN} )")}
    said = client.chat.completions.create(**ask, stream=True)
    begin, end = streamed_text(said).split(", and ")
    assert begin == f"{marker} {SSN}"
    assert end.startswith("![](https://x.example/?q= [US_SSN_")
    assert SSN not in double.only(marker)["body"]


def test_the_provider_sees_its_own_key_and_nothing_of_the_callers_head(
    house: Gateway, double: Double, marker: str
) -> None:
    client = house.client(default_headers={"x-secret-header": "ours"}, organization="org-ours")
    client.chat.completions.create(model="mock-echo", messages=say(marker))
    headers = dict(double.only(marker)["headers"])
    # The double refuses every key but the provider's.
    assert house.keys["developers"] not in str(headers)
    assert not {"x-secret-header", "openai-organization", "x-stainless-lang"} & headers.keys(), headers
    assert headers["user-agent"].startswith("palisade/")


def test_unknown_members_pass(client: openai.OpenAI, double: Double, marker: str) -> None:
    extra = {"some_future_member": {"deep": [1, 2.50, None]}}
    client.chat.completions.create(model="mock-echo", messages=say(marker), seed=7, extra_body=extra)
    body = json.loads(double.only(marker)["body"])
    assert body["some_future_member"] == extra["some_future_member"]
    assert body["seed"] == 7


def test_structured_output_keeps_its_shape(client: openai.OpenAI, double: Double, marker: str) -> None:
    class City(BaseModel):
        name: str
        mayor: str
        people: int

    said = City(name=marker, mayor=EMAIL, people=709_000)
    answer = client.chat.completions.parse(
        model="mock-echo", messages=say(said.model_dump_json()), response_format=City
    )
    assert answer.choices[0].message.parsed == City(name=marker, mayor="[EMAIL_ADDRESS]", people=709_000)
    asked = json.loads(double.only(marker)["body"])["response_format"]
    assert asked["json_schema"]["schema"]["required"] == ["name", "mayor", "people"]


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="mock-echo", prompt=f"once {CARD} upon")
    assert answer.choices[0].text == "once [CREDIT_CARD] upon"
    stream = client.completions.create(model="mock-echo", prompt=f"once {CARD} upon", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "once [CREDIT_CARD] upon"


def test_embeddings_are_base64_by_default_and_the_same_as_floats(client: openai.OpenAI) -> None:
    ask = {"model": "text-embedding-3-small", "input": ["one", "two"]}
    packed = client.embeddings.create(**ask)
    plain = client.embeddings.create(**ask, encoding_format="float")
    assert [item.index for item in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding


def test_what_is_embedded_is_redacted(client: openai.OpenAI, double: Double, marker: str) -> None:
    client.embeddings.create(model="text-embedding-3-small", input=[f"{marker} {CARD}", "x"])
    assert json.loads(double.only(marker)["body"])["input"] == [f"{marker} [CREDIT_CARD]", "x"]


def test_models_are_those_that_the_caller_may_use(client: openai.OpenAI, house: Gateway) -> None:
    listed = {model.id for model in client.models.list()}
    assert {"mock-echo", "resilient", "silent", "text-embedding-3-small"} <= listed
    assert client.models.retrieve("mock-echo").owned_by == "double"
    mini = house.client("mini")
    assert [model.id for model in mini.models.list()] == ["gpt-4o-mini"]
    with pytest.raises(openai.NotFoundError):
        mini.models.retrieve("mock-echo")


@pytest.mark.usefixtures("house")
def test_a_route_falls_back_to_its_second_target(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="resilient", messages=say("hello"))
    assert answer.choices[0].message.content == "hello"


# Streams.


def test_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="mock+chunk=1", messages=say("a b c"), stream=True)
    chunks = list(stream)
    assert streamed_text(chunks) == "a b c"
    assert chunks[-1].choices[0].finish_reason == "stop"
    # The proxy asks the provider for usage; a caller who did not gets none.
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.usefixtures("house")
def test_a_stream_is_redacted_however_it_is_cut(client: openai.OpenAI, chunk: int) -> None:
    text = f"first {EMAIL}, then {EMAIL}; last"
    stream = client.chat.completions.create(model=f"mock+chunk={chunk}", messages=say(text), stream=True)
    assert streamed_text(stream) == text.replace(EMAIL, "[EMAIL_ADDRESS]")


def test_usage_at_the_end_of_a_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="mock+usage=12/34", messages=say("hello"), stream=True, stream_options={"include_usage": True}
    )
    *before, last = list(stream)
    assert all(chunk.usage is None for chunk in before)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (12, 34)


def test_the_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="mock-echo", messages=say(f"a {CARD} b")) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == "a [CREDIT_CARD] b"


@pytest.mark.usefixtures("house")
def test_all_choices_of_a_stream_are_lanes_of_their_own(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="mock+chunk=2", messages=say(f"to {EMAIL} !"), stream=True, n=3)
    )
    assert [streamed_text(chunks, choice) for choice in range(3)] == ["to [EMAIL_ADDRESS] !"] * 3


def test_a_blocked_stream_ends_the_dialects_own_way(
    client: openai.OpenAI, double: Double, marker: str
) -> None:
    stream = client.chat.completions.create(
        model="mock+chunk=3", messages=say(f"{marker} pay to {IBAN} today"), stream=True
    )
    chunks = list(stream)
    assert streamed_text(chunks) == f"{marker} pay to "
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert IBAN in double.only(marker)["body"]


@pytest.mark.usefixtures("house")
def test_a_blocked_answer_is_empty(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="mock-echo", messages=say(f"pay to {IBAN} today"))
    assert not answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize("fault", ["close=4000", "reset=body:4000", "error_event=20", "malformed", "no_done+close=4000"])
def test_a_stream_that_breaks_off_is_an_error(client: openai.OpenAI, fault: str) -> None:
    text = "word " * 100
    stream = client.chat.completions.create(model=f"mock+chunk=5+{fault}", messages=say(text), stream=True)
    got = []
    with pytest.raises(openai.APIError):
        for chunk in stream:
            got.append(chunk)
    assert text.startswith(streamed_text(got))


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("stream", [False, True])
def test_what_no_reference_knows_is_scanned_too(client: openai.OpenAI, stream: bool) -> None:
    answer: Any = client.chat.completions.create(
        model="mock+chunk=64+extra", messages=say(f"to {EMAIL}"), stream=stream
    )
    whole = "".join(chunk.to_json() for chunk in answer) if stream else answer.to_json()
    assert EMAIL not in whole
    assert '"mock_extra": "to [EMAIL_ADDRESS]"' in whole


# Tools.


def arguments_of(call: Any) -> Any:
    assert call.function.name == "lookup"
    return json.loads(call.function.arguments)


@pytest.mark.usefixtures("house")
def test_tool_calls_stay_json_when_redacted(client: openai.OpenAI) -> None:
    text = f'use the tool on "{EMAIL}"\nand {CARD}'
    answer = client.chat.completions.create(model="mock-echo", messages=say(text), tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert arguments_of(call) == {"input": 'use the tool on "[EMAIL_ADDRESS]"\nand [CREDIT_CARD]'}


@pytest.mark.parametrize("chunk", [1, 4, 50])
@pytest.mark.usefixtures("house")
def test_streamed_tool_calls_stay_json_when_redacted(client: openai.OpenAI, chunk: int) -> None:
    text = f'use the tool on "{EMAIL}"\nand {CARD}'
    ask: Any = {"model": f"mock+chunk={chunk}", "messages": say(text), "tools": TOOLS}
    with client.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert arguments_of(call) == {"input": 'use the tool on "[EMAIL_ADDRESS]"\nand [CREDIT_CARD]'}


def test_a_tools_result_is_scanned_inside_its_json(
    client: openai.OpenAI, double: Double, marker: str
) -> None:
    call = {"id": "call_a", "type": "function"}
    call["function"] = {"name": "lookup", "arguments": json.dumps({"card": CARD, "note": marker})}
    messages: list[Any] = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_a", "content": json.dumps({"card": CARD})},
    ]
    client.chat.completions.create(model="mock-echo", messages=messages, tools=TOOLS)
    sent = json.loads(double.only(marker)["body"])["messages"]
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"])["card"] == "[CREDIT_CARD]"
    assert json.loads(sent[2]["content"])["card"] == "[CREDIT_CARD]"


# Refusals and failures, as the SDK's exceptions.


def test_blocked_content_is_a_bad_request(
    client: openai.OpenAI, house: Gateway, double: Double, marker: str
) -> None:
    attempts: list[httpx2.Request] = []
    retrying = house.client(max_retries=3, http_client=counting(attempts))
    with pytest.raises(openai.BadRequestError) as caught:
        retrying.chat.completions.create(model="mock-echo", messages=say(f"{marker} {SECRET}"))
    error = caught.value
    assert (error.code, error.type) == ("content_blocked", "invalid_request_error")
    assert error.param == "messages[0].content"
    assert "rotate it" in error.message
    assert SECRET not in error.message
    assert len(attempts) == 1, "a leak must not be sent three times"
    assert double.requests(marker) == []


def test_an_invalid_body_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="mock-echo", messages=say("x"), stream="yes")  # type: ignore
    assert caught.value.param == "stream"


def test_what_the_provider_refuses_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="mock+status=400", messages=say(f"mail {EMAIL}"))
    assert EMAIL not in str(caught.value.body)


def test_a_wrong_key(house: Gateway) -> None:
    good = house.keys["developers"]
    for key in ("sk-not-ours", good[:-1] + ("a" if good[-1] != "a" else "b")):
        with pytest.raises(openai.AuthenticationError) as caught:
            house.client(api_key=key).chat.completions.create(model="mock-echo", messages=say("x"))
        assert caught.value.code == "invalid_api_key"
        assert key not in str(caught.value.body)


@pytest.mark.parametrize("model", ["gpt-none", "silent"])
def test_an_unknown_model_and_a_denied_one_look_the_same(house: Gateway, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        house.client("mini").chat.completions.create(model=model, messages=say("x"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert f"`{model}` does not exist or you do not have access to it" in caught.value.message


def test_an_endpoint_that_is_not_served(client: openai.OpenAI) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.responses.create(model="mock-echo", input="x"),
        lambda: client.moderations.create(input="x"),
        lambda: client.files.list(),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.code == "unsupported_endpoint"


def test_a_capability_that_is_not_allowed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="mock-echo", messages=say("x"), store=True)
    assert (caught.value.code, caught.value.param) == ("capability_not_allowed", "store")


def test_a_rate_limit_says_when_to_come_again_and_the_sdk_obeys(
    house: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    attempts: list[httpx2.Request] = []
    client = house.client("hurried", max_retries=1, http_client=counting(attempts))
    client.models.list()
    # A minute is too long to wait for: what counts is how long the SDK would have slept.
    monkeypatch.setattr("openai._base_client.time.sleep", slept.append)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="mock-echo", messages=say("x"))
    headers = caught.value.response.headers
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert 0 < int(headers["retry-after"]) <= 120
    (once,) = slept
    assert once == pytest.approx(int(headers["retry-after-ms"]) / 1000, abs=5.0)
    assert len(attempts) == 3, "one that was served, one that was refused, and its retry"


def test_a_spent_quota_is_not_retried(house: Gateway, double: Double, marker: str) -> None:
    attempts: list[httpx2.Request] = []
    client = house.client("spent", max_retries=5, http_client=counting(attempts))
    client.chat.completions.create(model="mock-echo", messages=say(marker))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="mock-echo", messages=say(marker))
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert (len(attempts), len(double.requests(marker))) == (2, 1)


@pytest.mark.parametrize(
    "fault",
    [
        "status=503",
        "status=529",
        "status=401",
        "reset=connect",
        "malformed",
        "empty",
        "error_event=0",
        "content_type=text/html",
        "encoding=gzip",
        "encoding=br",
    ],
)
def test_a_provider_that_fails(client: openai.OpenAI, fault: str) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=f"mock+{fault}", messages=say("x"))
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unavailable")
    assert PROVIDER_KEY not in str(caught.value.body)


@pytest.mark.usefixtures("house")
def test_a_provider_that_is_silent(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="silent", messages=say("x"))
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")


def test_a_provider_in_a_hurry_is_waited_for(house: Gateway, double: Double, marker: str) -> None:
    model = f"mock+status=429+retry_after=1+fail_times=1+name={marker}"
    started = time.monotonic()
    answer = house.client(max_retries=1).chat.completions.create(model=model, messages=say(marker))
    assert answer.choices[0].message.content == marker
    assert time.monotonic() - started >= 1.0, "the provider's `retry-after` reached the SDK"
    assert [request["status"] for request in double.requests(marker)] == [429, 200]


def test_a_client_that_gives_up_frees_the_provider(house: Gateway, double: Double, marker: str) -> None:
    client = house.client(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="mock+stall=header", messages=say(marker))
    double.is_left(marker)


def test_a_closed_stream_frees_the_provider(client: openai.OpenAI, double: Double, marker: str) -> None:
    text = marker + " word" * 500
    stream = client.chat.completions.create(model="mock+chunk=5+delay=20ms", messages=say(text), stream=True)
    got = [next(stream) for _ in range(5)]
    stream.close()
    assert text.startswith(streamed_text(got))
    double.is_left(marker)


# Around the answer.


def test_every_answer_has_a_request_id(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="mock-echo", messages=say("x"))
    assert answer._request_id is not None
    assert uuid.UUID(answer._request_id).version == 7
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="none-at-all", messages=say("x"))
    assert caught.value.request_id is not None
    assert uuid.UUID(caught.value.request_id).version == 7
    assert caught.value.request_id != answer._request_id


@pytest.mark.usefixtures("house")
def test_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="mock-echo", messages=say(f"{CARD} and {CARD}"), extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-palisade-decision"] == "redact"
    assert raw.headers["x-palisade-findings"] == "payment.card_number;2"
    assert raw.headers["x-client-request-id"] == "mine-1" != raw.headers["x-request-id"]
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) < int(raw.headers["x-ratelimit-limit-tokens"])
    assert raw.parse().choices[0].message.content == "[CREDIT_CARD] and [CREDIT_CARD]"


def test_http_2_with_prior_knowledge(gateway: Gateway) -> None:
    client = gateway.client(http_client=openai.DefaultHttpxClient(http1=False, http2=True))
    raw = client.chat.completions.with_raw_response.create(model="mock-echo", messages=say(f"a {CARD} b"))
    assert raw.http_response.http_version == "HTTP/2"
    assert raw.parse().choices[0].message.content == "a [CREDIT_CARD] b"
    stream = client.chat.completions.create(model="mock+chunk=3", messages=say(f"a {CARD} b"), stream=True)
    assert streamed_text(stream) == "a [CREDIT_CARD] b"


def test_large_bodies(client: openai.OpenAI) -> None:
    text = "All work and no play makes nobody a dull reader. " * 20_000
    answer = client.chat.completions.create(model="mock-echo", messages=say(text + CARD))
    assert answer.choices[0].message.content == text + "[CREDIT_CARD]"


def test_the_async_client(gateway: Gateway) -> None:
    async def ask() -> tuple[list[str | None], str]:
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key=gateway.keys["developers"], max_retries=0
        ) as client:
            asked = (
                client.chat.completions.create(model="mock-echo", messages=say(f"{n} {CARD}"))
                for n in range(16)
            )
            answers = await asyncio.gather(*asked)
            stream = await client.chat.completions.create(
                model="mock+chunk=2", messages=say(f"a {CARD} b"), stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return [answer.choices[0].message.content for answer in answers], "".join(pieces)

    answers, streamed = asyncio.run(ask())
    assert answers == [f"{n} [CREDIT_CARD]" for n in range(16)]
    assert streamed == "a [CREDIT_CARD] b"
