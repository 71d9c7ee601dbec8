// Does the official OpenAI SDK for Node, unmodified, work through the proxy?
//
// Run by `test_node.py`, which starts proxy and provider and shows each of these tests as one of its own. The provider
// double repeats the last user message; what it received is read from its ledger.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const { PROXY_URL, DOUBLE_URL, KEYS, WORDS } = process.env;
const keys = JSON.parse(KEYS);
const { card, email, iban, secret } = JSON.parse(WORDS);

const TOOLS = [
  {
    type: "function",
    function: { name: "lookup", parameters: { type: "object", properties: { input: { type: "string" } } } },
  },
];

function client(options = {}) {
  const { group = "developers", ...rest } = options;
  return new OpenAI({ baseURL: `${PROXY_URL}/v1`, apiKey: keys[group], maxRetries: 0, timeout: 30_000, ...rest });
}

const say = (content) => [{ role: "user", content }];
const ask = (content, more = {}) => ({ model: "mock-echo", messages: say(content), ...more });

let words = 0;
// A word that only one test says, of letters only, so that no detector takes it for anything.
function marker() {
  const letters = [...String(words++).padStart(3, "0")].map((digit) => "abcdefghij"[digit]);
  return `nodeword${letters.join("")}`;
}

async function received(word) {
  const answer = await fetch(`${DOUBLE_URL}/__mock/requests`);
  const { requests } = await answer.json();
  return requests.filter((request) => request.body.includes(word));
}

// A caller that leaves frees the provider within a second. Each question is a request, so this is no busy loop.
async function left(word) {
  const deadline = Date.now() + 1000;
  while (Date.now() < deadline) {
    const [request] = await received(word);
    if (request?.client_left) return;
  }
  assert.fail("the provider is not left within a second");
}

async function text(stream) {
  let said = "";
  for await (const chunk of stream) said += chunk.choices[0]?.delta?.content ?? "";
  return said;
}

// The SDK's own way to send, which also counts.
function counting() {
  const attempts = [];
  const counted = (url, init) => {
    attempts.push(Date.now());
    return fetch(url, init);
  };
  return [attempts, counted];
}

test("an answer in one piece is redacted", async () => {
  const word = marker();
  const answer = await client().chat.completions.create(ask(`${word} ${card} 👋`));
  assert.equal(answer.choices[0].message.content, `${word} [CREDIT_CARD] 👋`);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.prompt_tokens > 0);
  const [request] = await received(word);
  assert.ok(!request.body.includes("4111"));
});

test("a stream is redacted however it is cut", async () => {
  for (const chunk of [1, 3, 64]) {
    const options = ask(`to ${email} and ${card}.`, { model: `mock+chunk=${chunk}`, stream: true });
    assert.equal(await text(await client().chat.completions.create(options)), "to [EMAIL_ADDRESS] and [CREDIT_CARD].");
  }
});

test("usage comes at the end of a stream that asked for it", async () => {
  const options = ask("hello", { model: "mock+usage=12/34", stream: true, stream_options: { include_usage: true } });
  let last;
  for await (const chunk of await client().chat.completions.create(options)) last = chunk;
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, 34);
});

test("a tool is called, run, and its result sent back", async () => {
  const word = marker();
  const ran = [];
  const tool = {
    type: "function",
    function: {
      ...TOOLS[0].function,
      parse: JSON.parse,
      function: ({ input }) => {
        ran.push(input);
        return `${word} found ${card}`;
      },
    },
  };
  const runner = client().chat.completions.runTools(ask(`${word} use the tool on ${email}`, { tools: [tool] }));
  assert.equal(await runner.finalContent(), `${word} use the tool on [EMAIL_ADDRESS]`);
  assert.deepEqual(ran, [`${word} use the tool on [EMAIL_ADDRESS]`]);
  const [, second] = await received(word);
  const result = JSON.parse(second.body).messages.find((message) => message.role === "tool");
  assert.equal(result.content, `${word} found [CREDIT_CARD]`);
});

test("streamed tool calls stay JSON when redacted", async () => {
  const stream = client().chat.completions.stream(ask(`tool "${email}"\n${card}`, { model: "mock+chunk=1", tools: TOOLS }));
  const final = await stream.finalChatCompletion();
  const [call] = final.choices[0].message.tool_calls;
  assert.deepEqual(JSON.parse(call.function.arguments), { input: 'tool "[EMAIL_ADDRESS]"\n[CREDIT_CARD]' });
});

test("structured output keeps its shape", async () => {
  const City = z.object({ name: z.string(), mayor: z.string(), people: z.number() });
  const said = { name: "Bath", mayor: email, people: 94_000 };
  const format = zodResponseFormat(City, "city");
  const answer = await client().chat.completions.parse(ask(JSON.stringify(said), { response_format: format }));
  assert.deepEqual(answer.choices[0].message.parsed, { ...said, mayor: "[EMAIL_ADDRESS]" });
});

test("errors are the SDK's own classes", async () => {
  const wrong = [
    [OpenAI.BadRequestError, "content_blocked", {}, ask(`key ${secret}`)],
    [OpenAI.AuthenticationError, "invalid_api_key", { apiKey: "sk-not-ours" }, ask("x")],
    [OpenAI.PermissionDeniedError, "capability_not_allowed", {}, ask("x", { store: true })],
    [OpenAI.NotFoundError, "model_not_found", { group: "mini" }, ask("x")],
    [OpenAI.InternalServerError, "upstream_unavailable", {}, ask("x", { model: "mock+status=503" })],
    [OpenAI.InternalServerError, "upstream_timeout", {}, ask("x", { model: "silent" })],
  ];
  for (const [kind, code, options, body] of wrong) {
    await assert.rejects(client(options).chat.completions.create(body), (error) => {
      assert.ok(error instanceof kind, `${error.constructor.name} is no ${kind.name}`);
      assert.equal(error.code, code);
      assert.match(error.requestID, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
      assert.ok(!error.message.includes(secret));
      return true;
    });
  }
});

test("a blocked prompt is sent once", async () => {
  const word = marker();
  const [attempts, counted] = counting();
  const eager = client({ maxRetries: 3, fetch: counted });
  await assert.rejects(eager.chat.completions.create(ask(`${word} ${secret}`)), OpenAI.BadRequestError);
  assert.equal(attempts.length, 1);
  assert.deepEqual(await received(word), []);
});

test("a spent quota is not retried", async () => {
  const [attempts, counted] = counting();
  const spent = client({ group: "spent", maxRetries: 5, fetch: counted });
  await spent.chat.completions.create(ask("the only one today"));
  await assert.rejects(spent.chat.completions.create(ask("one more")), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, "insufficient_quota");
    assert.equal(error.headers.get("x-should-retry"), "false");
    return true;
  });
  assert.equal(attempts.length, 2);
});

test("a provider in a hurry is waited for", async () => {
  const word = marker();
  const model = `mock+status=429+retry_after=1+fail_times=1+name=${word}`;
  const started = Date.now();
  const answer = await client({ maxRetries: 1 }).chat.completions.create(ask(word, { model }));
  assert.equal(answer.choices[0].message.content, word);
  assert.ok(Date.now() - started >= 1000, "the provider's `retry-after` reached the SDK");
  assert.deepEqual((await received(word)).map((request) => request.status), [429, 200]);
});

test("a client that gives up frees the provider", async () => {
  const word = marker();
  const hasty = client({ timeout: 300 });
  const call = hasty.chat.completions.create(ask(word, { model: "mock+stall=header" }));
  await assert.rejects(call, OpenAI.APIConnectionTimeoutError);
  await left(word);
});

test("an aborted stream frees the provider", async () => {
  const word = marker();
  const options = ask(`${word}${" word".repeat(500)}`, { model: "mock+chunk=5+delay=20ms", stream: true });
  const stream = await client().chat.completions.create(options);
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
  stream.controller.abort();
  await left(word);
});

test("a blocked answer ends the dialect's own way", async () => {
  const whole = await client().chat.completions.create(ask(`pay to ${iban} today`));
  assert.ok(!whole.choices[0].message.content);
  assert.equal(whole.choices[0].finish_reason, "content_filter");
  const stream = client().chat.completions.stream(ask(`pay to ${iban} today`, { model: "mock+chunk=3" }));
  let said = "";
  let reason;
  for await (const chunk of stream) {
    said += chunk.choices[0].delta.content ?? "";
    reason = chunk.choices[0].finish_reason ?? reason;
  }
  assert.deepEqual([said, reason], ["pay to ", "content_filter"]);
});

test("a stream that breaks off is an error", async () => {
  const options = ask("word ".repeat(100), { model: "mock+chunk=5+close=4000", stream: true });
  const stream = await client().chat.completions.create(options);
  await assert.rejects(text(stream), OpenAI.APIError);
});

test("the raw answer has the proxy's headers", async () => {
  const call = client().chat.completions.create(ask(`${card} and ${card}`));
  const { data, response, request_id } = await call.withResponse();
  assert.equal(response.headers.get("x-palisade-decision"), "redact");
  assert.equal(response.headers.get("x-request-id"), request_id);
  assert.equal(data.choices[0].message.content, "[CREDIT_CARD] and [CREDIT_CARD]");
});

test("embeddings and models", async () => {
  const { data } = await client().embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
  assert.equal(data[1].embedding.length, 1536);
  const listed = [];
  for await (const model of client({ group: "mini" }).models.list()) listed.push(model.id);
  assert.deepEqual(listed, ["gpt-4o-mini"]);
});
