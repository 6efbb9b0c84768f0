// Generates src/openapi.ts from the API's OpenAPI document; with --check it only compares.
import { readFileSync, writeFileSync } from "node:fs";
import openapi, { astToString } from "openapi-typescript";

const DOCUMENT = new URL("../../../tests/api/openapi.json", import.meta.url);
const TYPES = new URL("../src/openapi.ts", import.meta.url);
const ENVELOPE = "application/vnd.aiforge.envelope+json";
const ERROR = "#/components/schemas/ErrorBody";

/** The document without what says nothing about types: examples, envelopes, errors one by one. */
function pruned(document) {
  for (const path of Object.values(document.paths)) {
    for (const operation of Object.values(path)) {
      for (const [status, response] of Object.entries(operation.responses)) {
        delete response.content?.[ENVELOPE];
        delete response.headers;
        if (response.content?.["application/json"]?.schema?.$ref === ERROR) {
          delete operation.responses[status];
        }
      }
      operation.responses.default = {
        description: "Every error has this body.",
        content: { "application/json": { schema: { $ref: ERROR } } },
      };
    }
  }
  return withoutExamples(document);
}

function withoutExamples(value, key = "") {
  if (Array.isArray(value)) return value.map((item) => withoutExamples(item));
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(
    ([name]) => key === "properties" || (name !== "example" && name !== "examples"),
  );
  return Object.fromEntries(kept.map(([name, inner]) => [name, withoutExamples(inner, name)]));
}

const document = pruned(JSON.parse(readFileSync(DOCUMENT, "utf8")));
const header = "// Generated from the OpenAPI document by `npm run types`; do not edit.\n\n";
const text = header + astToString(await openapi(document, { defaultNonNullable: false }));

if (process.argv.includes("--check")) {
  if (readFileSync(TYPES, "utf8") !== text) {
    console.error("src/openapi.ts is not what tests/api/openapi.json says; run: npm run types");
    process.exit(1);
  }
} else {
  writeFileSync(TYPES, text);
}
