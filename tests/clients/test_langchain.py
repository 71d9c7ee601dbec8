"""Does LangChain, unmodified, work through the proxy, with its OpenAI and its Anthropic chat models?

Both are asked the same questions: what differs between the dialects is theirs to hide.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from conftest import CARD, EMAIL, IBAN, SECRET, Double, Gateway

# How a chat model is made: with a model's name, a group, and the class's own options.
Make = Callable[..., BaseChatModel]


def chat_openai(house: Gateway, model: str, group: str = "developers", **options: Any) -> BaseChatModel:
    options = {"api_key": SecretStr(house.keys[group]), "max_retries": 0} | options
    return ChatOpenAI(model=model, base_url=f"{house.url}/v1", **options)


def chat_anthropic(house: Gateway, model: str, group: str = "developers", **options: Any) -> BaseChatModel:
    options = {"api_key": SecretStr(house.keys[group]), "max_retries": 0} | options
    name = model.replace("mock", "mock-claude", 1)
    return ChatAnthropic(model=name, base_url=house.url, **options)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One loop for all, because LangChain keeps its asynchronous connections for the next model."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=[chat_openai, chat_anthropic])
def make(request: pytest.FixtureRequest, house: Gateway) -> Make:
    def of(model: str = "mock", *args: Any, **options: Any) -> BaseChatModel:
        return request.param(house, model, *args, **options)

    return of


def errors(make: Make) -> Any:
    """The SDK whose exceptions come through."""
    return openai if isinstance(make(), ChatOpenAI) else anthropic


def reason(message: AIMessage) -> str:
    """Why the model stopped, in the words of its dialect."""
    told = message.response_metadata
    return str(told.get("finish_reason") or told.get("stop_reason"))


def joined(chunks: Any) -> AIMessageChunk:
    first, *rest = chunks
    return first.__add__(rest) if rest else first


@tool
def lookup(input: str) -> str:
    """Looks something up."""
    return f"found {CARD} for {input}"


class City(BaseModel):
    """A city."""

    name: str
    mayor: str
    people: int


def test_an_answer_is_redacted(make: Make, double: Double, marker: str) -> None:
    answer = make().invoke(f"{marker} {CARD} and {EMAIL}")
    assert answer.text == f"{marker} [CREDIT_CARD] and [EMAIL_ADDRESS]"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] > 0
    assert "4111" not in double.only(marker)["body"]


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_stream_is_redacted(make: Make, chunk: int) -> None:
    text = f"first {EMAIL}, then {CARD}; last"
    chunks = list(make(f"mock+chunk={chunk}").stream(text))
    assert joined(chunks).text == "first [EMAIL_ADDRESS], then [CREDIT_CARD]; last"
    assert len(chunks) > 2


def test_a_tool_is_called_and_its_result_sent_back(make: Make, double: Double, marker: str) -> None:
    model = make().bind_tools([lookup])
    conversation: list[Any] = [HumanMessage(f"{marker} use the tool on {EMAIL}")]
    call = model.invoke(conversation)
    assert isinstance(call, AIMessage)
    (asked,) = call.tool_calls
    assert (asked["name"], asked["args"]) == ("lookup", {"input": f"{marker} use the tool on [EMAIL_ADDRESS]"})
    result = lookup.invoke(asked)
    assert isinstance(result, ToolMessage)
    answer = model.invoke([*conversation, call, result])
    assert answer.text == f"{marker} use the tool on [EMAIL_ADDRESS]"
    sent = double.requests(marker)[1]["body"]
    assert "found [CREDIT_CARD] for" in sent
    assert "4111" not in sent


def test_a_streamed_tool_call_stays_json_when_redacted(make: Make) -> None:
    model = make("mock+chunk=1").bind_tools([lookup])
    (call,) = joined(model.stream(f'tool "{EMAIL}"\n{CARD}')).tool_calls
    assert call["args"] == {"input": 'tool "[EMAIL_ADDRESS]"\n[CREDIT_CARD]'}


def test_structured_output_keeps_its_shape(make: Make, double: Double, marker: str) -> None:
    said = City(name=marker, mayor=EMAIL, people=94_000)
    structured = make().with_structured_output(City, method="json_schema")
    assert structured.invoke(said.model_dump_json()) == City(
        name=marker, mayor="[EMAIL_ADDRESS]", people=94_000
    )
    asked = json.loads(double.only(marker)["body"])
    schema = asked.get("response_format") or asked["output_config"]["format"]
    assert "mayor" in json.dumps(schema)


def test_structured_output_by_way_of_a_tool(make: Make) -> None:
    schema = {"title": "say", "description": "x", "type": "object", "properties": {"input": {"type": "string"}}}
    structured = make().with_structured_output(schema, method="function_calling")
    assert structured.invoke(f"hello {CARD}") == {"input": "hello [CREDIT_CARD]"}


def test_errors_are_those_of_the_sdk(make: Make, double: Double, marker: str) -> None:
    sdk = errors(make)
    with pytest.raises(sdk.BadRequestError, match="rotate it") as caught:
        make("mock", max_retries=3).invoke(f"{marker} {SECRET}")
    assert SECRET not in str(caught.value.body)
    assert double.requests(marker) == []
    with pytest.raises(sdk.AuthenticationError):
        make("mock", api_key=SecretStr("sk-not-ours")).invoke("x")
    with pytest.raises(sdk.NotFoundError):
        make("mock", "mini").invoke("x")
    with pytest.raises(sdk.InternalServerError):
        make("mock+status=503").invoke("x")


def test_a_provider_in_a_hurry_is_waited_for(make: Make, double: Double, marker: str) -> None:
    model = make(f"mock+status=429+retry_after=1+fail_times=1+name={marker}", max_retries=1)
    assert model.invoke(marker).text == marker
    assert [request["status"] for request in double.requests(marker)] == [429, 200]


def test_a_client_that_gives_up_frees_the_provider(make: Make, double: Double, marker: str) -> None:
    with pytest.raises(errors(make).APITimeoutError):
        make("mock+stall=header", timeout=0.3).invoke(marker)
    double.is_left(marker)


def test_a_cancelled_stream_frees_the_provider(
    make: Make, loop: asyncio.Runner, double: Double, marker: str
) -> None:
    async def first_words() -> None:
        stream = make("mock+chunk=5+delay=20ms").astream(marker + " word" * 500)
        async for chunk in stream:
            if chunk.text:
                break
        await stream.aclose()
        # In the loop, because that is where connections are closed.
        await asyncio.to_thread(double.is_left, marker)

    loop.run(first_words())


def test_a_blocked_answer_ends_the_dialects_own_way(make: Make) -> None:
    blocked = "content_filter" if isinstance(make(), ChatOpenAI) else "refusal"
    whole = make().invoke(f"pay to {IBAN} today")
    assert (whole.text, reason(whole)) == ("", blocked)
    stream = joined(make("mock+chunk=3").stream(f"pay to {IBAN} today"))
    assert (stream.text, reason(stream)) == ("pay to ", blocked)


def test_many_at_once(make: Make, loop: asyncio.Runner) -> None:
    async def ask() -> list[AIMessage]:
        return await make().abatch([f"{number} {CARD}" for number in range(8)])

    answers = loop.run(ask())
    assert [answer.text for answer in answers] == [f"{number} [CREDIT_CARD]" for number in range(8)]


def test_embeddings_need_text_to_scan(house: Gateway) -> None:
    of: Any = {"model": "text-embedding-3-small", "base_url": f"{house.url}/v1", "max_retries": 0}
    of |= {"api_key": SecretStr(house.keys["developers"])}
    # LangChain sends token numbers unless it is told that the server takes text only.
    vectors = OpenAIEmbeddings(**of, check_embedding_ctx_length=False).embed_documents(["one", "two"])
    assert [len(vector) for vector in vectors] == [1536, 1536]
