// The whole road against a real server, which `python -m pytest tests/sdks` starts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AIForge, Conflict, InvalidInput, NotFound, SchemaViolation } from "../dist/index.js";

const { AIFORGE_TEST_URL, AIFORGE_TEST_REPOSITORY, AIFORGE_TEST_BASE_MODEL } = process.env;
const there = AIFORGE_TEST_URL ? {} : { skip: "AIFORGE_TEST_URL names no server" };
const forge = new AIForge({ baseUrl: AIFORGE_TEST_URL });
const baseModel = AIFORGE_TEST_BASE_MODEL;
const quick = { timeout: 30 };

test("from a repository to an export", there, async () => {
  const url = AIFORGE_TEST_REPOSITORY;
  const source = await forge.sources.create({ type: "git", url, includePatterns: ["*.py"] });
  assert.equal((await forge.sources.wait(source.id, quick)).status, "synced");
  const sourceIds = [source.id];
  const dataset = await forge.datasets.generate({ name: "d", sourceIds, baseModel });
  assert.equal((await forge.datasets.wait(dataset.id, quick)).status, "ready");

  const wanted = { projectName: "p", datasetId: dataset.id, baseModel, epochs: 2 };
  const plan = await forge.jobs.plan(wanted);
  assert.equal((await forge.jobs.list()).total, 0);
  assert.equal(plan.baseModel, baseModel);
  const job = await forge.jobs.fineTune(wanted);
  const seen = [];
  for await (const event of forge.jobs.follow(job.id)) seen.push(event);
  const done = await forge.jobs.wait(job.id, quick);

  assert.equal(done.status, "completed");
  assert.equal(done.config.epochs, 2);
  assert.equal(seen.at(-1).data.status, "completed");
  const steps = seen.filter((event) => event.type === "job.metrics").map((e) => e.data.step);
  assert.deepEqual(steps, [1, 2, 3]);
  assert.deepEqual((await forge.jobs.metrics(job.id)).losses, [3, 1.5, 1]);
  assert.ok((await forge.jobs.logs(job.id, { tail: 5 })).logs.length > 0);

  const middle = seen[2].id;
  const again = [];
  for await (const event of forge.jobs.follow(job.id, { lastEventId: middle })) again.push(event);
  assert.ok(again.length < seen.length);
  assert.equal(again.at(-1).data.status, "completed");

  const made = await forge.exports.create(job.id, { quantization: "q8_0" }, quick);
  assert.equal(made.status, "completed");
  assert.deepEqual([...(await forge.exports.list(job.id))].map((e) => e.exportId), [made.exportId]);
  await assert.rejects(forge.exports.cancel(job.id, made.exportId), { code: "run_is_completed" });
  await forge.exports.delete(job.id, made.exportId);
  assert.equal((await forge.exports.list(job.id)).length, 0);
  const [model] = await forge.models.list({ projectName: "p" });
  assert.equal(model.jobId, job.id);
  assert.equal((await forge.models.lineage(model.id)).dataset.id, dataset.id);
});

test("uploads keep their directories", there, async () => {
  const files = [
    { name: "pkg/a.py", content: "a = 1\n" },
    { name: "b.md", content: new TextEncoder().encode("# B\n") },
  ];

  const source = await forge.sources.upload(files, { name: "mine", exclude: ["x/", "z/"] });

  assert.deepEqual([source.name, source.type], ["mine", "upload"]);
  assert.deepEqual(source.excludePatterns, ["x/", "z/"]);
  await assert.rejects(forge.sources.upload(files, { include: ["a,b"] }), InvalidInput);
  await forge.sources.wait(source.id, quick);
  await forge.sources.delete(source.id);
  await assert.rejects(forge.sources.get(source.id), NotFound);
});

test("errors of the server are thrown as their class", there, async () => {
  await assert.rejects(forge.jobs.get("job-none"), (error) => {
    assert.ok(error instanceof NotFound);
    assert.match(error.requestId, /^req-/);
    return error.code === "job_not_found";
  });
  await assert.rejects(forge.jobs.get("../datasets"), NotFound);
  const wanted = { projectName: "p", datasetId: "ds-none", baseModel };
  await assert.rejects(forge.jobs.fineTune({ ...wanted, epochs: 99 }), (error) => {
    assert.ok(error instanceof InvalidInput);
    assert.match(error.message, /epochs: Must be between 1 and 10/);
    return error.detail.field === "epochs";
  });
  await assert.rejects(forge.jobs.fineTune({ ...wanted, epochz: 1 }), SchemaViolation);
});

test("the same key twice is one job, another body with it a conflict", there, async () => {
  const [dataset] = await forge.datasets.list();
  const headers = { "Idempotency-Key": `key-${process.pid}` };
  const body = { projectName: "twice", datasetId: dataset.id, baseModel };
  const post = (changes) =>
    forge.api.POST("/v1/fine-tune", { body: { ...body, ...changes }, headers });

  const first = (await post({})).data;
  assert.deepEqual((await post({})).data, first);
  await assert.rejects(post({ epochs: 2 }), Conflict);
});

test("health, status, events and the raw routes", there, async () => {
  assert.equal((await forge.health()).checks.database, true);
  assert.ok((await forge.status()).version);
  const { data, response } = await forge.api.GET("/jobs", { params: { query: { limit: 1 } } });
  assert.equal(data.length, 1);
  assert.ok(Number(response.headers.get("x-total-count")) >= 1);
  const numbers = [];
  for await (const event of forge.events({ lastEventId: "0" })) {
    numbers.push(event.sequence);
    if (numbers.length === 3) break;
  }
  assert.deepEqual(numbers, [1, 2, 3]);
  assert.deepEqual((await forge.missions.list()).missions, []);
  assert.ok(Array.isArray(await forge.audit.list({ limit: 1 })));
});
