/** Chat with a project's active model. */

import { errorFromBody, InternalError, Unavailable } from "../errors.js";
import { messages } from "../sse.js";
import { Resource, type Schemas } from "./resource.js";

export type ChatRequest = Omit<Schemas["ChatRequest"], "stream">;
export type ChatCompletion = Schemas["ChatCompletion"];

/** A piece of an answer. */
export interface ChatChunk {
  id: string;
  model: string;
  choices: { index: number; delta: { content?: string | null }; finish_reason?: string | null }[];
}

export interface ChatOptions {
  signal?: AbortSignal;
}

/** The first answer of a large model waits until it is loaded. */
const ANSWER_SECONDS = 600;

export class Chat extends Resource {
  /** A model's answer. `model` is a project, or one version by its name or id. */
  async complete(request: ChatRequest, options: ChatOptions = {}): Promise<ChatCompletion> {
    const response = await this.send({ ...request, stream: false }, options);
    return (await response.json()) as ChatCompletion;
  }

  /** A model's answer as it is made. */
  async *stream(
    request: ChatRequest,
    options: ChatOptions = {},
  ): AsyncGenerator<ChatChunk, void, undefined> {
    const response = await this.send({ ...request, stream: true }, options);
    if (!response.body) throw new InternalError("The answer has no body.");
    for await (const message of messages(response.body)) {
      if (message.data === "[DONE]") return;
      const chunk = JSON.parse(message.data) as ChatChunk | { error: { status: number } };
      if ("error" in chunk) throw errorFromBody(Number(chunk.error.status), chunk.error);
      yield chunk;
    }
    throw new Unavailable("The answer ended in the middle; ask again.", 0, {
      code: "chat_interrupted",
    });
  }

  /** The projects that can be chatted with. */
  async models(): Promise<Schemas["ChatModels"]> {
    return (await this.forge.api.GET("/v1/models")).data!;
  }

  private send(request: object, options: ChatOptions): Promise<Response> {
    const post = new Request(this.forge.url("/v1/chat/completions"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    });
    return this.forge.transport.send(post, { ...options, timeout: ANSWER_SECONDS });
  }
}
