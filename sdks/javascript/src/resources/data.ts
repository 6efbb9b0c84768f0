/** What models learn from: sources and datasets. */

import { InternalError, InvalidInput } from "../errors.js";
import { requireNotFailed, until, type WaitOptions } from "../waiting.js";
import { body, page, type Page, type PageOptions, Resource, type Schemas } from "./resource.js";
import { segment } from "./resource.js";

export type Source = Schemas["Source"];
export type Dataset = Schemas["DatasetDetail"];

/** A file to upload; `name` may hold directories, as `src/a.py`. */
export interface Upload {
  name: string;
  content: Blob | Uint8Array | string;
}

export interface UploadOptions {
  name?: string;
  /** Patterns in gitignore syntax of the files to read; all when empty. */
  include?: string[];
  exclude?: string[];
  signal?: AbortSignal;
}

/** Data sources: git repositories, directories and uploads. */
export class Sources extends Resource {
  /** Register a repository or a directory; the platform begins to read it at once. */
  async create(request: Schemas["GitSourceRequest"]): Promise<Source> {
    const created = await body(this.forge.api.POST("/data-sources", { body: request }));
    return this.get(created.sourceId);
  }

  /** Upload files, or `.zip` and `.tar.gz` archives, as one source. */
  async upload(files: Upload[], options: UploadOptions = {}): Promise<Source> {
    const form = new FormData();
    for (const { name, content } of files) {
      const blob = content instanceof Blob ? content : new Blob([content as BlobPart]);
      form.append("files", blob, name);
    }
    if (options.name) form.append("name", options.name);
    if (options.include?.length) form.append("includePatterns", lines(options.include));
    if (options.exclude?.length) form.append("excludePatterns", lines(options.exclude));
    const { signal } = options;
    const request = new Request(this.forge.url("/data-sources"), { method: "POST", body: form });
    const response = await this.forge.transport.send(request, { signal, timeout: 600 });
    const created = (await response.json()) as Schemas["SourceCreated"];
    return this.get(created.sourceId);
  }

  list(options: PageOptions = {}): Promise<Page<Source>> {
    return page(this.forge.api.GET("/data-sources", { params: { query: options } }));
  }

  get(sourceId: string): Promise<Source> {
    const params = { path: { source_id: sourceId } };
    return body(this.forge.api.GET("/data-sources/{source_id}", { params }));
  }

  /** What was read of a source, and what was skipped and why. */
  files(sourceId: string, options: PageOptions = {}): Promise<Page<Schemas["SourceFile"]>> {
    const params = { path: { source_id: sourceId }, query: options };
    return page(this.forge.api.GET("/data-sources/{source_id}/files", { params }));
  }

  /** Read a source again. */
  async sync(sourceId: string): Promise<Source> {
    const params = { path: { source_id: sourceId } };
    await this.forge.api.POST("/data-sources/{source_id}/sync", { params });
    return this.get(sourceId);
  }

  /** Change how often a source is read again by itself. */
  update(sourceId: string, request: Schemas["SourceUpdate"]): Promise<Source> {
    const params = { path: { source_id: sourceId } };
    return body(this.forge.api.PATCH("/data-sources/{source_id}", { params, body: request }));
  }

  /** The source as soon as it has been read. */
  async wait(sourceId: string, options: WaitOptions = {}): Promise<Source> {
    const read = () => this.get(sourceId);
    const source = await until(read, (s) => s.status !== "syncing", sourceId, options);
    if (options.check ?? true) requireNotFailed(source, `Reading ${sourceId}`);
    return source;
  }

  async delete(sourceId: string): Promise<void> {
    const params = { path: { source_id: sourceId } };
    await this.forge.api.DELETE("/data-sources/{source_id}", { params });
  }
}

/** Patterns as a form sends them, which separates them by commas and line breaks. */
function lines(patterns: string[]): string {
  const torn = patterns.find((pattern) => /[,\n]/.test(pattern));
  if (torn !== undefined) {
    const message = `The pattern ${JSON.stringify(torn)} holds a comma or line break; write a ? there.`;
    throw new InvalidInput(message, 0, { code: "bad_pattern" });
  }
  return patterns.join("\n");
}

/** RAFT datasets. */
export class Datasets extends Resource {
  /** Build a dataset from sources. */
  async generate(request: Schemas["GenerateRequest"]): Promise<Dataset> {
    const created = await body(this.forge.api.POST("/datasets/generate", { body: request }));
    return this.get(created.datasetId);
  }

  list(options: PageOptions = {}): Promise<Page<Schemas["Dataset"]>> {
    return page(this.forge.api.GET("/datasets", { params: { query: options } }));
  }

  get(datasetId: string): Promise<Dataset> {
    const params = { path: { dataset_id: datasetId } };
    return body(this.forge.api.GET("/datasets/{dataset_id}", { params }));
  }

  /** The dataset as soon as it is built. */
  async wait(datasetId: string, options: WaitOptions = {}): Promise<Dataset> {
    const read = () => this.get(datasetId);
    const dataset = await until(read, (d) => d.status !== "generating", datasetId, options);
    if (options.check ?? true) requireNotFailed(dataset, `Building ${datasetId}`);
    return dataset;
  }

  /** The examples of a dataset, one by one as they arrive. */
  async *examples(
    datasetId: string,
    options: { split?: "train" | "validation" | "all"; signal?: AbortSignal } = {},
  ): AsyncGenerator<Record<string, unknown>, void, undefined> {
    const path = `/datasets/${segment(datasetId)}/export?split=${options.split ?? "train"}`;
    const response = await this.forge.transport.send(new Request(this.forge.url(path)), options);
    if (!response.body) throw new InternalError("The answer has no body.");
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) yield JSON.parse(line) as Record<string, unknown>;
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }

  /** Stop building a dataset. */
  async cancel(datasetId: string): Promise<void> {
    const params = { path: { dataset_id: datasetId } };
    await this.forge.api.POST("/datasets/{dataset_id}/cancel", { params });
  }

  async delete(datasetId: string): Promise<void> {
    const params = { path: { dataset_id: datasetId } };
    await this.forge.api.DELETE("/datasets/{dataset_id}", { params });
  }
}
