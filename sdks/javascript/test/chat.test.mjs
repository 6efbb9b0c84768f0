// Chat with a model that is deployed on a real server, which `python -m pytest tests/sdks` starts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AIForge, NotFound } from "../dist/index.js";

const { AIFORGE_TEST_CHAT_URL, AIFORGE_TEST_MODEL } = process.env;
const there = AIFORGE_TEST_CHAT_URL ? {} : { skip: "AIFORGE_TEST_CHAT_URL names no server" };
const forge = new AIForge({ baseUrl: AIFORGE_TEST_CHAT_URL });

test("a model is deployed, activated and asked, whole and in pieces", there, async () => {
  const deployed = await forge.models.deploy(AIFORGE_TEST_MODEL, { reason: "try it", timeout: 60 });
  assert.ok(deployed.ollamaName);
  const active = await forge.models.activate(AIFORGE_TEST_MODEL, { timeout: 60 });
  assert.equal(active.status, "active");
  assert.equal((await forge.models.active(active.projectName)).id, active.id);

  const request = {
    model: active.projectName,
    messages: [{ role: "user", content: "Hello?" }],
    max_tokens: 8,
    temperature: 0,
  };
  const whole = (await forge.chat.complete(request)).choices[0].message.content;
  let pieces = "";
  for await (const chunk of forge.chat.stream(request)) {
    pieces += chunk.choices[0]?.delta.content ?? "";
  }

  assert.ok(whole);
  assert.equal(pieces, whole);
  const actions = (await forge.models.history(active.id)).map((change) => change.action);
  assert.deepEqual(actions, ["registered", "deployed", "activated"]);
  assert.ok((await forge.chat.models()).data.length >= 1);
  await assert.rejects(forge.chat.complete({ ...request, model: "none" }), NotFound);
});
