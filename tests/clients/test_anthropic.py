"""Does the official Anthropic SDK, unmodified, work through the proxy?

Only its `base_url` and `api_key` differ from an application that talks to Anthropic. The provider double repeats the
last user message, so what a test reads is what left the proxy; `double.only(marker)` is what reached the provider.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from pydantic import BaseModel

from conftest import CARD, EMAIL, IBAN, PROVIDER_KEY, SECRET, SSN, Double, Gateway

# How a client is made: with a group, and the SDK's own options.
Connect = Callable[..., anthropic.Anthropic]

ECHO = "mock-claude"
TOOLS: list[Any] = [
    {
        "name": "lookup",
        "description": "looks something up",
        "input_schema": {"type": "object", "properties": {"input": {"type": "string"}}},
    }
]


@pytest.fixture
def connect(house: Gateway) -> Iterator[Connect]:
    """Makes clients. They do not retry unless told to."""
    made: list[anthropic.Anthropic] = []

    def of(group: str = "developers", **options: Any) -> anthropic.Anthropic:
        options = {"api_key": house.keys[group], "max_retries": 0, "timeout": 30.0} | options
        made.append(anthropic.Anthropic(base_url=house.url, **options))
        return made[-1]

    yield of
    for client in made:
        client.close()


@pytest.fixture
def client(connect: Connect) -> anthropic.Anthropic:
    """A developer's client that does not retry."""
    return connect()


def ask(text: str, model: str = ECHO, **more: Any) -> Any:
    return {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]} | more


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def counting(attempts: list[httpx2.Request]) -> httpx2.Client:
    """The SDK's own HTTP client, which also notes every request that it really sends."""
    return anthropic.DefaultHttpxClient(event_hooks={"request": [attempts.append]})


# Messages in one piece.


def test_a_message_is_redacted(client: anthropic.Anthropic, double: Double, marker: str) -> None:
    answer = client.messages.create(**ask(f"{marker} Grüße 👋 {CARD} and {EMAIL}"))
    assert text_of(answer) == f"{marker} Grüße 👋 [CREDIT_CARD] and [EMAIL_ADDRESS]"
    assert (answer.role, answer.stop_reason, answer.model) == ("assistant", "end_turn", ECHO)
    assert answer.usage.input_tokens > 0
    sent = double.only(marker)
    assert "4111" not in sent["body"]
    assert EMAIL in sent["body"]
    assert sent["path"] == "/v1/messages"


def test_a_number_comes_back_that_the_provider_never_saw(
    client: anthropic.Anthropic, double: Double, marker: str
) -> None:
    text = f"{marker} {SSN}, and ![](https://x.example/?q= {SSN} )"
    with client.messages.stream(**ask(text, f"{ECHO}+chunk=1")) as stream:
        begin, end = text_of(stream.get_final_message()).split(", and ")
    assert begin == f"{marker} {SSN}"
    assert end.startswith("![](https://x.example/?q= [US_SSN_")
    assert SSN not in double.only(marker)["body"]


def test_the_provider_sees_its_own_key_and_nothing_of_the_callers_head(
    house: Gateway, connect: Connect, double: Double, marker: str
) -> None:
    connect(default_headers={"x-secret-header": "ours"}).messages.create(**ask(marker))
    headers = dict(double.only(marker)["headers"])
    # The double refuses every key but the provider's.
    assert house.keys["developers"] not in str(headers)
    assert not {"x-secret-header", "x-stainless-lang"} & headers.keys(), headers
    # The version is the caller's: it decides what the provider takes, and how it answers.
    assert headers["anthropic-version"] == anthropic._constants.ANTHROPIC_API_VERSION
    assert headers["user-agent"].startswith("palisade/")


def test_either_credential_header_will_do(house: Gateway, connect: Connect) -> None:
    key = house.keys["developers"]
    for options in ({"api_key": key}, {"api_key": None, "auth_token": key}):
        assert text_of(connect(**options).messages.create(**ask("hello"))) == "hello"
    own = connect(api_key=None, auth_token=None, default_headers={"x-api-key": key, "authorization": anthropic.omit})
    assert text_of(own.messages.create(**ask("hello"))) == "hello"


def test_everything_that_is_said_is_scanned(client: anthropic.Anthropic, double: Double, marker: str) -> None:
    parts = [{"type": "text", "text": f"{marker} {CARD}", "cache_control": {"type": "ephemeral"}}]
    client.messages.create(**ask("", system=parts, messages=[{"role": "user", "content": parts}]))
    body = json.loads(double.only(marker)["body"])
    assert body["system"][0]["text"] == body["messages"][0]["content"][0]["text"] == f"{marker} [CREDIT_CARD]"
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}


def test_unknown_members_pass(client: anthropic.Anthropic, double: Double, marker: str) -> None:
    extra = {"some_future_member": {"deep": [1, 2.50, None]}}
    client.messages.create(**ask(marker, extra_body=extra))
    body = json.loads(double.only(marker)["body"])
    assert body["some_future_member"] == extra["some_future_member"]


def test_usage_has_its_cache(client: anthropic.Anthropic) -> None:
    usage = client.messages.create(**ask("hello", f"{ECHO}+usage=12/34+cached=5/6")).usage
    assert (usage.input_tokens, usage.output_tokens) == (12, 34)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (5, 6)


def test_structured_output_keeps_its_shape(
    client: anthropic.Anthropic, double: Double, marker: str
) -> None:
    class City(BaseModel):
        name: str
        mayor: str
        people: int

    said = City(name=marker, mayor=EMAIL, people=94_000)
    answer = client.messages.parse(**ask(said.model_dump_json()), output_format=City)
    assert answer.parsed_output == City(name=marker, mayor="[EMAIL_ADDRESS]", people=94_000)
    assert json.loads(double.only(marker)["body"])["output_config"]["format"]["type"] == "json_schema"


def test_tokens_are_counted_on_what_would_be_sent(
    client: anthropic.Anthropic, double: Double, marker: str
) -> None:
    counted = client.messages.count_tokens(model=ECHO, messages=ask(f"{marker} {CARD}")["messages"])
    sent = double.only(marker)
    assert sent["path"] == "/v1/messages/count_tokens"
    assert "[CREDIT_CARD]" in sent["body"]
    assert counted.input_tokens == -(-len(sent["body"]) // 4)


def test_models_are_those_that_the_caller_may_use(client: anthropic.Anthropic) -> None:
    assert ECHO in {model.id for model in client.models.list()}
    assert client.models.retrieve(ECHO).type == "model"


# Streams.


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_a_stream_is_redacted_however_it_is_cut(client: anthropic.Anthropic, chunk: int) -> None:
    text = f"first {EMAIL}, then {CARD}; last"
    with client.messages.stream(**ask(text, f"{ECHO}+chunk={chunk}+usage=12/34")) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == text_of(final) == "first [EMAIL_ADDRESS], then [CREDIT_CARD]; last"
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 12, 34)


def test_a_stream_keeps_its_order(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(**ask("a b c", f"{ECHO}+chunk=1"), stream=True))
    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1
    assert "content_block_delta" in kinds


def test_thinking_that_is_redacted_is_no_longer_signed(client: anthropic.Anthropic) -> None:
    model = f"{ECHO}+lane=reasoning+chunk=3"
    whole = client.messages.create(**ask(f"to {EMAIL} now", model))
    with client.messages.stream(**ask(f"to {EMAIL} now", model)) as stream:
        streamed = stream.get_final_message()
    for thinking, said in (whole.content, streamed.content):
        assert thinking.type == "thinking"
        assert said.type == "text"
        assert thinking.thinking == said.text == "to [EMAIL_ADDRESS] now"
        assert thinking.signature == ""


@pytest.mark.parametrize("streamed", [False, True])
def test_clean_thinking_can_be_sent_back(client: anthropic.Anthropic, marker: str, streamed: bool) -> None:
    thought: Any = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    if streamed:
        with client.messages.stream(**ask(marker, f"{ECHO}+chunk=3", **thought)) as stream:
            first = stream.get_final_message()
    else:
        first = client.messages.create(**ask(marker, **thought))
    again = [
        {"role": "user", "content": marker},
        {"role": "assistant", "content": [block.to_dict() for block in first.content]},
        {"role": "user", "content": "go on"},
    ]
    # The double refuses thinking that is not as it was signed.
    assert text_of(client.messages.create(**ask("", messages=again, **thought))) == "go on"


def test_a_blocked_stream_ends_the_dialects_own_way(
    client: anthropic.Anthropic, double: Double, marker: str
) -> None:
    with client.messages.stream(**ask(f"{marker} pay to {IBAN} today", f"{ECHO}+chunk=3")) as stream:
        final = stream.get_final_message()
    assert (text_of(final), final.stop_reason) == (f"{marker} pay to ", "refusal")
    assert IBAN in double.only(marker)["body"]


def test_a_blocked_message_is_empty(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**ask(f"pay to {IBAN} today"))
    assert (text_of(answer), answer.stop_reason) == ("", "refusal")


@pytest.mark.parametrize("fault", ["close=2000", "error_event=9", "malformed"])
def test_a_stream_that_breaks_off_is_an_error(client: anthropic.Anthropic, fault: str) -> None:
    text = "word " * 100
    got = ""
    with pytest.raises(anthropic.APIError):
        for event in client.messages.create(**ask(text, f"{ECHO}+chunk=5+{fault}"), stream=True):
            if event.type == "content_block_delta":
                got += getattr(event.delta, "text", "")
    assert text.startswith(got)


# Tools.


def test_a_tool_is_used_and_its_result_sent_back(
    client: anthropic.Anthropic, double: Double, marker: str
) -> None:
    question = ask(f'{marker} use the tool on "{EMAIL}"\n', tools=TOOLS)
    answer = client.messages.create(**question)
    assert answer.stop_reason == "tool_use"
    (call,) = answer.content
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("lookup", {"input": f'{marker} use the tool on "[EMAIL_ADDRESS]"\n'})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps({"card": CARD})}
    question["messages"] += [
        {"role": "assistant", "content": [call.to_dict()]},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(**question).stop_reason == "end_turn"
    sent = json.loads(double.requests(marker)[1]["body"])["messages"]
    assert json.loads(sent[2]["content"][0]["content"]) == {"card": "[CREDIT_CARD]"}
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"]


@pytest.mark.parametrize("chunk", [1, 4, 50])
def test_streamed_tool_use_stays_json_when_redacted(client: anthropic.Anthropic, chunk: int) -> None:
    text = f'use the tool on "{EMAIL}"\nand {CARD}'
    with client.messages.stream(**ask(text, f"{ECHO}+chunk={chunk}", tools=TOOLS)) as stream:
        (call,) = stream.get_final_message().content
    assert call.type == "tool_use"
    assert call.input == {"input": 'use the tool on "[EMAIL_ADDRESS]"\nand [CREDIT_CARD]'}


# Refusals and failures, as the SDK's exceptions.


def test_blocked_content_is_a_bad_request_and_sent_once(
    connect: Connect, double: Double, marker: str
) -> None:
    attempts: list[httpx2.Request] = []
    client = connect(max_retries=3, http_client=counting(attempts))
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**ask(f"{marker} {SECRET}"))
    error: Any = caught.value
    assert error.type == "invalid_request_error"
    assert (error.body["error"]["code"], error.body["error"]["param"]) == ("content_blocked", "messages[0].content")
    assert "rotate it" in str(error)
    assert SECRET not in str(error)
    assert (len(attempts), double.requests(marker)) == (1, [])


@pytest.mark.parametrize(
    ("options", "body", "kind", "word"),
    [
        ({"api_key": "sk-ant-not-ours"}, ask("x"), anthropic.AuthenticationError, "authentication_error"),
        ({"group": "mini"}, ask("x"), anthropic.NotFoundError, "not_found_error"),
        ({}, ask("x", "claude-none"), anthropic.NotFoundError, "not_found_error"),
        ({}, ask("x", max_tokens="many"), anthropic.BadRequestError, "invalid_request_error"),
        ({}, ask("x", f"{ECHO}+status=400"), anthropic.BadRequestError, "invalid_request_error"),
        ({}, ask("x", f"{ECHO}+status=529"), anthropic.InternalServerError, "api_error"),
        ({}, ask("x", f"{ECHO}+status=401"), anthropic.InternalServerError, "api_error"),
        ({}, ask("x", f"{ECHO}+reset=connect"), anthropic.InternalServerError, "api_error"),
        ({}, ask("x", f"{ECHO}+malformed"), anthropic.InternalServerError, "api_error"),
        ({}, ask("x", f"{ECHO}+content_type=text/html"), anthropic.InternalServerError, "api_error"),
        ({}, ask("x", "silent-claude"), anthropic.InternalServerError, "timeout_error"),
    ],
)
def test_errors_are_the_sdks_own(
    connect: Connect, options: dict[str, str], body: Any, kind: type[anthropic.APIStatusError], word: str
) -> None:
    with pytest.raises(kind) as caught:
        connect(**options).messages.create(**body)
    error = caught.value
    assert error.type == word
    assert error.request_id is not None
    assert uuid.UUID(error.request_id).version == 7
    assert PROVIDER_KEY not in str(error.body)


def test_a_capability_that_is_not_allowed(client: anthropic.Anthropic, double: Double, marker: str) -> None:
    web: Any = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(anthropic.PermissionDeniedError) as caught:
        client.messages.create(**ask(marker, tools=[web]))
    assert caught.value.type == "permission_error"
    assert double.requests(marker) == []


def test_an_endpoint_that_is_not_served(client: anthropic.Anthropic) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.messages.batches.list(),
        lambda: client.beta.files.list(),
    ]
    for call in calls:
        with pytest.raises(anthropic.NotFoundError):
            call()


def test_a_rate_limit_says_when_to_come_again_and_the_sdk_obeys(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    attempts: list[httpx2.Request] = []
    client = connect("hurried", max_retries=1, http_client=counting(attempts))
    client.messages.create(**ask("x"))
    # A minute is too long to wait for: what counts is how long the SDK would have slept.
    monkeypatch.setattr("anthropic._base_client.time.sleep", slept.append)
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**ask("x"))
    headers = caught.value.response.headers
    assert caught.value.type == "rate_limit_error"
    (once,) = slept
    assert once == pytest.approx(int(headers["retry-after-ms"]) / 1000, abs=5.0)
    assert len(attempts) == 3, "one that was served, one that was refused, and its retry"


def test_a_spent_quota_is_not_retried(connect: Connect, double: Double, marker: str) -> None:
    attempts: list[httpx2.Request] = []
    client = connect("spent", max_retries=5, http_client=counting(attempts))
    client.messages.create(**ask(marker))
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**ask(marker))
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert (len(attempts), len(double.requests(marker))) == (2, 1)


def test_a_provider_in_a_hurry_is_waited_for(connect: Connect, double: Double, marker: str) -> None:
    model = f"{ECHO}+status=429+retry_after=1+fail_times=1+name={marker}"
    started = time.monotonic()
    assert text_of(connect(max_retries=1).messages.create(**ask(marker, model))) == marker
    assert time.monotonic() - started >= 1.0, "the provider's `retry-after` reached the SDK"
    assert [request["status"] for request in double.requests(marker)] == [429, 200]


def test_a_client_that_gives_up_frees_the_provider(connect: Connect, double: Double, marker: str) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        connect(timeout=0.3).messages.create(**ask(marker, f"{ECHO}+stall=header"))
    double.is_left(marker)


def test_a_closed_stream_frees_the_provider(client: anthropic.Anthropic, double: Double, marker: str) -> None:
    text = marker + " word" * 500
    with client.messages.stream(**ask(text, f"{ECHO}+chunk=5+delay=20ms")) as stream:
        assert text.startswith(next(iter(stream.text_stream)))
    double.is_left(marker)


# Around the answer.


def test_the_raw_answer_has_the_proxys_headers(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(**ask(f"{CARD} and {CARD}"))
    assert raw.headers["x-palisade-decision"] == "redact"
    message = raw.parse()
    assert message._request_id == raw.headers["request-id"]
    assert message._request_id is not None
    assert uuid.UUID(message._request_id).version == 7
    assert text_of(message) == "[CREDIT_CARD] and [CREDIT_CARD]"


def test_the_async_client(house: Gateway) -> None:
    async def run() -> tuple[list[str], str]:
        key = house.keys["developers"]
        async with anthropic.AsyncAnthropic(base_url=house.url, api_key=key, max_retries=0) as client:
            asked = (client.messages.create(**ask(f"{number} {CARD}")) for number in range(16))
            answers = await asyncio.gather(*asked)
            async with client.messages.stream(**ask(f"a {CARD} b", f"{ECHO}+chunk=2")) as stream:
                streamed = await stream.get_final_text()
        return [text_of(answer) for answer in answers], streamed

    answers, streamed = asyncio.run(run())
    assert answers == [f"{number} [CREDIT_CARD]" for number in range(16)]
    assert streamed == "a [CREDIT_CARD] b"
