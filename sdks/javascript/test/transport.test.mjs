// What the client does when the network or the server misbehaves.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import * as sdk from "../dist/index.js";
import { errorFromBody } from "../dist/errors.js";
import { messages } from "../dist/sse.js";

/** A server that gives these answers in turn, and what it was asked. */
async function scripted(context, ...answers) {
  const asked = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      asked.push({ method: request.method, url: request.url, headers: request.headers, body });
      const answer = answers.shift() ?? { status: 500, body: { message: "Nothing is left." } };
      if (answer === "reset") return request.socket.destroy();
      if (answer === "silent") return undefined;
      if (typeof answer === "function") return answer(response);
      response.writeHead(answer.status ?? 200, {
        "Content-Type": "application/json",
        ...answer.headers,
      });
      return response.end(JSON.stringify(answer.body ?? {}));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const baseUrl = `http://127.0.0.1:${server.address().port}`;
  const retry = { attempts: 3, backoff: 0.001, longest: 1 };
  return { asked, forge: new sdk.AIForge({ baseUrl, apiKey: "secret", retry }) };
}

const JOB = { id: "job-1", status: "running" };
const failing = (status, headers) => ({
  status,
  headers,
  body: { status, message: "No.", detail: { code: "c", requestId: "req-1" } },
});

test("passing trouble is tried again, a post with the same key", async (t) => {
  const created = { status: 201, body: { jobId: "job-1", status: "queued", message: "m" } };
  const { asked, forge } = await scripted(t, "reset", failing(503), created, { body: JOB });

  const job = await forge.jobs.fineTune({ projectName: "p", datasetId: "ds-1", baseModel: "m" });

  assert.equal(job.id, "job-1");
  const keys = asked.map((request) => request.headers["idempotency-key"]);
  assert.ok(keys[0]);
  assert.deepEqual(keys, [keys[0], keys[0], keys[0], undefined]);
  assert.deepEqual(JSON.parse(asked[2].body), {
    projectName: "p",
    datasetId: "ds-1",
    baseModel: "m",
  });
  assert.ok(asked.every((request) => request.headers.authorization === "Bearer secret"));
});

for (const [status, kind] of Object.entries({
  400: "InvalidInput",
  401: "Unauthenticated",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  413: "Rejected",
  422: "SchemaViolation",
  500: "InternalError",
})) {
  test(`status ${status} is thrown as ${kind} and not asked for again`, async (t) => {
    const { asked, forge } = await scripted(t, failing(Number(status)));

    await assert.rejects(forge.jobs.get("job-1"), (error) => {
      assert.equal(error.constructor, sdk[kind]);
      assert.ok(error instanceof sdk.AIForgeError);
      assert.deepEqual([error.code, error.requestId, error.status], ["c", "req-1", Number(status)]);
      return true;
    });
    assert.equal(asked.length, 1);
  });
}

test("a long Retry-After is not waited for", async (t) => {
  const { asked, forge } = await scripted(t, failing(429, { "Retry-After": "60" }));

  await assert.rejects(forge.jobs.list(), (error) => {
    assert.ok(error instanceof sdk.RateLimited);
    return error.detail.retryAfter === 60;
  });
  assert.equal(asked.length, 1);
});

test("a server that is away is told with its address", async () => {
  const forge = new sdk.AIForge({ baseUrl: "http://127.0.0.1:9", retry: { attempts: 1 } });

  await assert.rejects(forge.jobs.list(), (error) => {
    assert.ok(error instanceof sdk.ServerUnreachable);
    assert.equal(error.code, "server_unreachable");
    return error.message.includes("http://127.0.0.1:9");
  });
  assert.throws(() => new sdk.AIForge({ baseUrl: "forge.test" }), sdk.InvalidInput);
});

test("a server that is silent is given up, and a caller can stop", async (t) => {
  const { forge } = await scripted(t, "silent", "silent");
  const quick = new sdk.AIForge({ baseUrl: forge.baseUrl, timeout: 0.05, retry: { attempts: 1 } });

  await assert.rejects(quick.jobs.list(), { code: "server_timeout" });
  const stop = new AbortController();
  const waiting = forge.jobs.wait("job-1", { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

const frame = (id, type, data) => {
  const event = { sequence: 1, at: "2026-01-01T00:00:00Z", type, resourceId: "job-1", data };
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(event)}\n\n`;
};
const streaming = (text, { broken = false } = {}) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(text);
  if (broken) setTimeout(() => response.socket.destroy(), 20);
  else response.end();
};

test("a broken stream is taken up after the last id", async (t) => {
  const { asked, forge } = await scripted(
    t,
    streaming(`: heartbeat\n\n${frame("0_1_1", "job.log", {})}id: 0_2_2\nda`, { broken: true }),
    failing(503),
    streaming(
      frame("0_2_2", "job.log", {}) + frame("1_2_2", "job.updated", { status: "completed" }),
    ),
  );

  const seen = [];
  for await (const event of forge.jobs.follow("job-1")) seen.push([event.type, event.id]);

  assert.deepEqual(seen, [
    ["job.log", "0_1_1"],
    ["job.log", "0_2_2"],
    ["job.updated", "1_2_2"],
  ]);
  const sent = asked.map((request) => request.headers["last-event-id"]);
  assert.deepEqual(sent, [undefined, "0_1_1", "0_1_1"]);
});

test("a stream that is none is an error and not a loop", async (t) => {
  const { asked, forge } = await scripted(t, { body: {} });

  await assert.rejects(forge.jobs.follow("job-1").next(), { code: "no_stream" });
  assert.equal(asked.length, 1);
});

test("an answer that breaks off in a chat is an error", async (t) => {
  const chunk = { id: "c", model: "p", choices: [{ index: 0, delta: { content: "Hi" } }] };
  const piece = `data: ${JSON.stringify(chunk)}\n\n`;
  const error = { error: { status: 503, message: "Away.", detail: { code: "ollama_away" } } };
  const { forge } = await scripted(
    t,
    streaming(`${piece}data: [DONE]\n\n`),
    streaming(piece),
    streaming(`${piece}data: ${JSON.stringify(error)}\n\n`),
  );
  const ask = async () => {
    let text = "";
    const request = { model: "p", messages: [{ role: "user", content: "Hello?" }] };
    for await (const part of forge.chat.stream(request)) text += part.choices[0].delta.content;
    return text;
  };

  assert.equal(await ask(), "Hi");
  await assert.rejects(ask(), { code: "chat_interrupted" });
  await assert.rejects(ask(), { code: "ollama_away" });
});

test("wait ends with the job, or after its time", async (t) => {
  const { forge } = await scripted(
    t,
    { body: JOB },
    { body: { ...JOB, status: "failed", error: "Not finite.", errorCode: "loss_not_finite" } },
    { body: { ...JOB, status: "cancelled" } },
    { body: { ...JOB, status: "cancelled" } },
    { body: JOB },
  );

  await assert.rejects(forge.jobs.wait("job-1"), { name: "Failure", code: "loss_not_finite" });
  await assert.rejects(forge.jobs.wait("job-1"), sdk.Cancelled);
  assert.equal((await forge.jobs.wait("job-1", { check: false })).status, "cancelled");
  await assert.rejects(forge.jobs.wait("job-1", { timeout: 0.01 }), sdk.TimedOut);
});

test("messages do not depend on where the bytes were cut", async () => {
  const text = ': c\r\nid: 1\nevent: a\ndata: {"ü":\ndata: 1}\n\ndata\n\nid: 2\ndata: x\n\nrest';
  const bytes = new TextEncoder().encode(text);
  const read = async (size) => {
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) {
          controller.enqueue(bytes.slice(at, at + size));
        }
        controller.close();
      },
    });
    const found = [];
    for await (const message of messages(body)) found.push(message);
    return found;
  };
  const whole = await read(bytes.length);

  assert.deepEqual(whole, [
    { event: "a", data: '{"ü":\n1}', id: "1" },
    { event: "message", data: "", id: "1" },
    { event: "message", data: "x", id: "2" },
  ]);
  for (let size = 1; size < 20; size++) assert.deepEqual(await read(size), whole);
});

test("bodies of other servers give the status alone", () => {
  for (const body of [undefined, null, "<html>", [], { message: 3 }]) {
    const error = errorFromBody(502, body);
    assert.equal(error.constructor, sdk.Unavailable);
    assert.match(error.message, /502/);
  }
});
