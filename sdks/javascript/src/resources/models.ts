/** Models, missions, and the artifacts that show why. */

import { Failure } from "../errors.js";
import { requireNotFailed, until, type WaitOptions } from "../waiting.js";
import { body, page, type Page, type PageOptions, Resource, type Schemas } from "./resource.js";
import { segment } from "./resource.js";

export type Model = Schemas["Model"];
export type Mission = Schemas["MissionDetail"];
export type Artifact = Schemas["Artifact"];

/** Seconds that one request waits; a connection that lives longer may be cut. */
const SERVER_WAIT = 15;

export interface ActionOptions extends WaitOptions {
  /** Kept in the model's history. */
  reason?: string;
}

/** The model registry. */
export class Models extends Resource {
  list(
    options: PageOptions & { projectName?: string; status?: Model["status"] } = {},
  ): Promise<Page<Model>> {
    return page(this.forge.api.GET("/models", { params: { query: options } }));
  }

  get(modelId: string): Promise<Model> {
    const params = { path: { model_id: modelId } };
    return body(this.forge.api.GET("/models/{model_id}", { params }));
  }

  /** The active model of a project; of all projects the one that was activated last. */
  active(projectName?: string): Promise<Model> {
    return body(this.forge.api.GET("/models/active", { params: { query: { projectName } } }));
  }

  /** The job, the dataset and the commits that a model comes from. */
  lineage(modelId: string): Promise<Schemas["Lineage"]> {
    const params = { path: { model_id: modelId } };
    return body(this.forge.api.GET("/models/{model_id}/lineage", { params }));
  }

  /** What was done to a model, by whom and why, oldest first. */
  history(modelId: string): Promise<Schemas["ModelChange"][]> {
    const params = { path: { model_id: modelId } };
    return body(this.forge.api.GET("/models/{model_id}/history", { params }));
  }

  /** Deploy a model to Ollama, verified there; it is exported first where it was not. */
  async deploy(modelId: string, options: ActionOptions = {}): Promise<Model> {
    await this.post(modelId, "deploy", options);
    const read = () => this.get(modelId);
    const model = await until(read, (m) => m.status !== "deploying", modelId, options);
    requireNotFailed(model, `Deploying ${modelId}`);
    return model;
  }

  /** Make a model the active one of its project, once it was seen to answer. */
  activate(modelId: string, options: ActionOptions = {}): Promise<Model> {
    return this.act(modelId, "activate", options);
  }

  /** Return from the active model to the version that was active before; that one is returned. */
  rollback(modelId: string, options: ActionOptions = {}): Promise<Model> {
    return this.act(modelId, "rollback", options);
  }

  /** Delete a model that is not active; its history stays. */
  async delete(modelId: string, options: { reason?: string } = {}): Promise<void> {
    const params = { path: { model_id: modelId }, query: options };
    await this.forge.api.DELETE("/models/{model_id}", { params });
  }

  private async act(
    modelId: string,
    action: "activate" | "rollback",
    options: ActionOptions,
  ): Promise<Model> {
    const begun = (await this.post(modelId, action, options)) as Schemas["ModelActionResponse"];
    const settled = await until(
      async () => (await this.history(modelId)).find((change) => change.runId === begun.runId),
      (change) => change !== undefined,
      modelId,
      options,
    );
    if (settled && settled.action !== "activated" && settled.action !== "rolled_back") {
      const { error, errorCode } = settled.detail ?? {};
      const message = typeof error === "string" ? error : `To ${action} ${modelId} failed.`;
      throw new Failure(message, 0, { code: errorCode ?? "failed" });
    }
    return this.get(begun.modelId);
  }

  private async post(modelId: string, action: string, options: ActionOptions): Promise<unknown> {
    const url = this.forge.url(`/models/${segment(modelId)}/${action}?wait=${SERVER_WAIT}`);
    const request = new Request(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(options.reason === undefined ? {} : { reason: options.reason }),
    });
    const { signal } = options;
    const answer = await this.forge.transport.send(request, { signal, timeout: SERVER_WAIT + 30 });
    return answer.json();
  }
}

/** Missions: what the platform proposes, and what a person decides. */
export class Missions extends Resource {
  list(
    options: PageOptions & {
      status?: Mission["status"];
      type?: Mission["type"];
      projectName?: string;
    } = {},
  ): Promise<Schemas["MissionList"]> {
    return body(this.forge.api.GET("/missions", { params: { query: options } }));
  }

  get(missionId: string): Promise<Mission> {
    const params = { path: { mission_id: missionId } };
    return body(this.forge.api.GET("/missions/{mission_id}", { params }));
  }

  /** Approve a mission; the platform then carries out its action, once. */
  async approve(missionId: string, request: Schemas["ApproveRequest"] = {}): Promise<void> {
    const params = { path: { mission_id: missionId } };
    await this.forge.api.POST("/missions/{mission_id}/approve", { params, body: request });
  }

  /** Reject a mission; the same is proposed again only once its evidence has grown. */
  async reject(missionId: string, reason: string): Promise<void> {
    const params = { path: { mission_id: missionId } };
    await this.forge.api.POST("/missions/{mission_id}/reject", { params, body: { reason } });
  }
}

/** Artifacts: charts, reports, logs and files that runs and missions leave. */
export class Artifacts extends Resource {
  list(options: PageOptions & { resourceId?: string } = {}): Promise<Page<Artifact>> {
    return page(this.forge.api.GET("/artifacts", { params: { query: options } }));
  }

  get(artifactId: string): Promise<Artifact> {
    const params = { path: { artifact_id: artifactId } };
    return body(this.forge.api.GET("/artifacts/{artifact_id}", { params }));
  }

  /** The content of an artifact: Vega-Lite JSON, Markdown, plain text, or any bytes. */
  content(artifactId: string, options: { signal?: AbortSignal } = {}): Promise<Response> {
    const url = this.forge.url(`/artifacts/${segment(artifactId)}/content`);
    return this.forge.transport.send(new Request(url), options);
  }
}
