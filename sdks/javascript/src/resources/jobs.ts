/** Training jobs, and the files that are made of what they trained. */

import { Cancelled, Conflict } from "../errors.js";
import { follow, type FollowedEvent, type FollowOptions } from "../events.js";
import { requireNotFailed, until, type WaitOptions } from "../waiting.js";
import { body, page, type Page, type PageOptions, Resource, type Schemas } from "./resource.js";
import { segment } from "./resource.js";

export type Job = Schemas["Job"];
export type JobStatus = Job["status"];
export type Export = Schemas["ExportDetail"];

const TERMINAL: ReadonlySet<unknown> = new Set(["completed", "failed", "cancelled"]);

/** Seconds that one request waits; a connection that lives longer may be cut. */
const SERVER_WAIT = 15;

/** Training jobs. */
export class Jobs extends Resource {
  /** Queue a fine-tuning job; what is absent is left to the server. */
  async fineTune(request: Schemas["FineTuneRequest"]): Promise<Job> {
    const created = await body(this.forge.api.POST("/v1/fine-tune", { body: request }));
    return this.get((created as Schemas["FineTuneResponse"]).jobId);
  }

  /** What `fineTune` would do with the same request: memory, disk, data and time. */
  async plan(request: Schemas["FineTuneRequest"]): Promise<Schemas["TrainingPlan"]> {
    const params = { query: { dryRun: true } };
    const planned = await body(this.forge.api.POST("/v1/fine-tune", { params, body: request }));
    return planned as Schemas["TrainingPlan"];
  }

  list(
    options: PageOptions & { status?: JobStatus; projectName?: string } = {},
  ): Promise<Page<Job>> {
    return page(this.forge.api.GET("/jobs", { params: { query: options } }));
  }

  get(jobId: string): Promise<Job> {
    return body(this.forge.api.GET("/jobs/{job_id}", { params: { path: { job_id: jobId } } }));
  }

  /** Cancel a job; cancelling twice is no error. */
  async cancel(jobId: string): Promise<Job> {
    await this.forge.api.DELETE("/jobs/{job_id}", { params: { path: { job_id: jobId } } });
    return this.get(jobId);
  }

  /**
   * The job as soon as it has ended.
   *
   * @throws Failure It failed. @throws Cancelled It was cancelled. @throws TimedOut
   */
  async wait(jobId: string, options: WaitOptions = {}): Promise<Job> {
    const job = await until(
      () => this.get(jobId),
      (found) => TERMINAL.has(found.status),
      jobId,
      options,
    );
    if (options.check ?? true) {
      requireNotFailed(job, jobId);
      if (job.status === "cancelled") {
        throw new Cancelled(`${jobId} was cancelled.`, 0, { code: "job_cancelled" });
      }
    }
    return job;
  }

  /**
   * The events of a job until it has ended, `job.updated` (the job), `job.metrics` and `job.log`
   * among them; a lost connection is taken up again where it broke.
   */
  follow(
    jobId: string,
    options: FollowOptions = {},
  ): AsyncGenerator<FollowedEvent, void, undefined> {
    const url = this.forge.url(`/jobs/${segment(jobId)}/events`);
    const isLast = (event: { type: string; data: Record<string, unknown> }) =>
      event.type === "job.updated" && TERMINAL.has(event.data.status);
    return follow(this.forge.transport, url, isLast, options);
  }

  /** The last lines of a job's log. */
  logs(jobId: string, options: { tail?: number } = {}): Promise<Schemas["JobLogs"]> {
    const params = { path: { job_id: jobId }, query: options };
    return body(this.forge.api.GET("/jobs/{job_id}/logs", { params }));
  }

  /** The curves of a job, as parallel lists. */
  metrics(jobId: string): Promise<Schemas["JobMetricsHistory"]> {
    const params = { path: { job_id: jobId } };
    return body(this.forge.api.GET("/jobs/{job_id}/metrics", { params }));
  }

  /** What was measured of the model that a job trained. */
  validation(jobId: string): Promise<Schemas["Validation"]> {
    const params = { path: { job_id: jobId } };
    return body(this.forge.api.GET("/jobs/{job_id}/validation", { params }));
  }

  /** Measure again what a job trained; `examItems` says how much of the repository's exam. */
  validate(
    jobId: string,
    request: Schemas["ValidationRequest"] = {},
  ): Promise<Schemas["ValidationStarted"]> {
    const params = { path: { job_id: jobId } };
    return body(this.forge.api.POST("/jobs/{job_id}/validation", { params, body: request }));
  }
}

/** Exports of what jobs trained. */
export class Exports extends Resource {
  /** Export what a job trained, and wait until it was compared; what exists is not made again. */
  async create(
    jobId: string,
    request: Schemas["ExportRequest"] = {},
    options: WaitOptions = {},
  ): Promise<Export> {
    const url = this.forge.url(`/jobs/${segment(jobId)}/export?wait=${SERVER_WAIT}`);
    const post = new Request(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    });
    const { signal } = options;
    const answer = await this.forge.transport.send(post, { signal, timeout: SERVER_WAIT + 30 });
    const { exportId } = (await answer.json()) as Schemas["Export"];
    const read = () => this.get(jobId, exportId);
    const made = await until(read, (e) => e.status !== "running", exportId, options);
    if (options.check ?? true) {
      if (made.errorCode === "cancelled") {
        throw new Conflict(`${exportId} was cancelled.`, 409, { code: "export_cancelled" });
      }
      requireNotFailed(made, exportId);
    }
    return made;
  }

  list(jobId: string, options: PageOptions = {}): Promise<Page<Schemas["Export"]>> {
    const params = { path: { job_id: jobId }, query: options };
    return page(this.forge.api.GET("/jobs/{job_id}/exports", { params }));
  }

  get(jobId: string, exportId: string): Promise<Export> {
    const params = { path: { job_id: jobId, export_id: exportId } };
    return body(this.forge.api.GET("/jobs/{job_id}/exports/{export_id}", { params }));
  }

  /** Stop an export that waits or is being made; to do so twice is no error. */
  async cancel(jobId: string, exportId: string): Promise<void> {
    const params = { path: { job_id: jobId, export_id: exportId } };
    await this.forge.api.POST("/jobs/{job_id}/exports/{export_id}/cancel", { params });
  }

  /** Delete an export that no model is served from, and its files. */
  async delete(jobId: string, exportId: string): Promise<void> {
    const params = { path: { job_id: jobId, export_id: exportId } };
    await this.forge.api.DELETE("/jobs/{job_id}/exports/{export_id}", { params });
  }

  /** A file of an export, the main one by default, whose body can be streamed to a disk. */
  download(
    jobId: string,
    exportId: string,
    options: { name?: string; signal?: AbortSignal } = {},
  ): Promise<Response> {
    const base = `/jobs/${segment(jobId)}/exports/${segment(exportId)}`;
    const path = options.name ? `${base}/files/${segment(options.name)}` : `${base}/file`;
    return this.forge.transport.send(new Request(this.forge.url(path)), options);
  }
}
