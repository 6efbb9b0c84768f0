/** The client: resources with their operations, and `api` for every route, typed. */

import createClient, { type Client } from "openapi-fetch";
import { errorFromResponse, InvalidInput } from "./errors.js";
import { follow, type FollowedEvent, type FollowOptions } from "./events.js";
import type { components, paths } from "./openapi.js";
import { Audit, Keys, Webhooks } from "./resources/access.js";
import { Chat } from "./resources/chat.js";
import { Datasets, Sources } from "./resources/data.js";
import { Exports, Jobs } from "./resources/jobs.js";
import { Artifacts, Missions, Models } from "./resources/models.js";
import { type RetryPolicy, Transport } from "./transport.js";

export const DEFAULT_URL = "http://127.0.0.1:8000";

export interface ForgeOptions {
  /** Address of the server; the one of a local platform when absent. */
  baseUrl?: string;
  /** An API key or a JSON Web Token, sent as a bearer token. */
  apiKey?: string;
  /** Seconds to wait for the beginning of an answer. */
  timeout?: number;
  /** What is tried again, and how often. */
  retry?: Partial<RetryPolicy>;
  /** Sent with every request. */
  headers?: Record<string, string>;
  /** Carries the requests instead of the runtime's own `fetch`. */
  fetch?: typeof globalThis.fetch;
}

/** A client of one AI Forge server. */
export class AIForge {
  /** Every route by its path, typed from the OpenAPI document; errors are thrown as classes. */
  readonly api: Client<paths>;
  readonly sources: Sources;
  readonly datasets: Datasets;
  readonly jobs: Jobs;
  readonly exports: Exports;
  readonly models: Models;
  readonly missions: Missions;
  readonly artifacts: Artifacts;
  readonly chat: Chat;
  readonly keys: Keys;
  readonly webhooks: Webhooks;
  readonly audit: Audit;
  /** Address of the server. */
  readonly baseUrl: string;
  /** @internal */
  readonly transport: Transport;

  constructor(options: ForgeOptions = {}) {
    this.baseUrl = address(options.baseUrl ?? DEFAULT_URL);
    this.transport = new Transport({
      apiKey: options.apiKey,
      headers: options.headers,
      timeout: options.timeout ?? 30,
      retry: { attempts: 4, backoff: 0.2, longest: 10, ...options.retry },
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    });
    this.api = createClient<paths>({
      baseUrl: this.baseUrl,
      fetch: (request) => this.transport.send(request, { signal: request.signal }),
    });
    this.sources = new Sources(this);
    this.datasets = new Datasets(this);
    this.jobs = new Jobs(this);
    this.exports = new Exports(this);
    this.models = new Models(this);
    this.missions = new Missions(this);
    this.artifacts = new Artifacts(this);
    this.chat = new Chat(this);
    this.keys = new Keys(this);
    this.webhooks = new Webhooks(this);
    this.audit = new Audit(this);
  }

  /** Whether the platform is well; `unhealthy` is an answer too. */
  async health(): Promise<components["schemas"]["Health"]> {
    const response = await this.transport.send(new Request(this.url("/health")), { once: true });
    const body = response.clone();
    const found: unknown = await response.json().catch(() => undefined);
    if (typeof found === "object" && found !== null && "checks" in found) {
      return found as components["schemas"]["Health"];
    }
    throw await errorFromResponse(body);
  }

  /** Version, resources and running jobs. */
  async status(): Promise<components["schemas"]["SystemStatus"]> {
    return (await this.api.GET("/status")).data!;
  }

  /** Everything that happens on the platform from now on, or after `lastEventId`. */
  events(options: FollowOptions = {}): AsyncGenerator<FollowedEvent, void, undefined> {
    return follow(this.transport, this.url("/events"), () => false, options);
  }

  /** @internal */
  url(path: string): string {
    return this.baseUrl + path;
  }
}

function address(text: string): string {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    url = undefined;
  }
  if (!url || !/^https?:$/.test(url.protocol) || !url.hostname) {
    const message = `${JSON.stringify(text)} is no address of a server; write it as ${DEFAULT_URL}.`;
    throw new InvalidInput(message, 0, { code: "bad_url" });
  }
  return text.replace(/\/+$/, "");
}
