/** Sends requests: credentials, time limits, and repetitions that cannot do anything twice. */

import { errorFromResponse, retryAfter, ServerUnreachable } from "./errors.js";

/** How often a request is tried, and how long is waited in between (seconds, doubling). */
export interface RetryPolicy {
  attempts: number;
  backoff: number;
  /** The longest wait; a `Retry-After` beyond it is not waited for. */
  longest: number;
}

export interface TransportOptions {
  apiKey?: string;
  headers?: Record<string, string>;
  retry: RetryPolicy;
  /** Seconds until the head of an answer has to be there. */
  timeout: number;
  fetch: typeof globalThis.fetch;
}

export interface SendOptions {
  signal?: AbortSignal | null;
  /** Seconds, instead of the client's. */
  timeout?: number;
  /** Give answers of any status back, and try once. */
  once?: boolean;
}

const RETRIED = new Set([429, 502, 503, 504]);

/** Carries requests to one server. */
export class Transport {
  constructor(private readonly options: TransportOptions) {}

  /**
   * Send a request and return a successful answer.
   *
   * Every request may be repeated: reads and deletions by nature, the others by the
   * `Idempotency-Key` that is added here.
   *
   * @throws ServerUnreachable Nothing answers.
   * @throws AIForgeError The error that the server answered, as its class.
   */
  async send(request: Request, options: SendOptions = {}): Promise<Response> {
    const { retry } = this.options;
    const prepared = this.prepare(request);
    const attempts = options.once ? 1 : retry.attempts;
    for (let attempt = 1; ; attempt++) {
      let delay = Math.min(retry.longest, retry.backoff * 2 ** (attempt - 1));
      delay *= 0.5 + Math.random() / 2;
      let failed: unknown;
      try {
        const response = await this.transmit(prepared.clone(), options);
        if (response.ok || options.once) return response;
        delay = Math.max(delay, retryAfter(response));
        const error = await errorFromResponse(response);
        const last = !RETRIED.has(response.status) || attempt >= attempts;
        if (last || delay > retry.longest) throw error;
      } catch (error) {
        // What the server said, or the caller stopped, stands.
        if (!(error instanceof Lost)) throw error;
        failed = error;
      }
      if (failed && attempt >= attempts) throw unreachable(request.url, failed as Lost);
      await sleep(delay, options.signal);
    }
  }

  private prepare(request: Request): Request {
    const headers = new Headers(request.headers);
    if (this.options.apiKey) headers.set("Authorization", `Bearer ${this.options.apiKey}`);
    for (const [name, value] of Object.entries(this.options.headers ?? {})) {
      headers.set(name, value);
    }
    if (request.method === "POST" && !headers.has("Idempotency-Key")) {
      headers.set("Idempotency-Key", uniqueKey());
    }
    return new Request(request, { headers });
  }

  private async transmit(request: Request, options: SendOptions): Promise<Response> {
    const stop = new AbortController();
    const signal = options.signal ?? request.signal;
    const aborted = () => stop.abort(signal.reason);
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
    const seconds = options.timeout ?? this.options.timeout;
    const timer = setTimeout(() => stop.abort(new Lost("timeout")), seconds * 1000);
    try {
      const response = await this.options.fetch(new Request(request, { signal: stop.signal }));
      // From now on the caller alone stops it; the body may take its time.
      return response;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof Lost ? error : new Lost(String(cause(error)));
    } finally {
      clearTimeout(timer);
    }
  }
}

/** No answer came. */
class Lost extends Error {}

function cause(error: unknown): unknown {
  return error instanceof Error && error.cause ? error.cause : error;
}

function unreachable(url: string, error: Lost): ServerUnreachable {
  const timeout = error.message === "timeout";
  const code = timeout ? "server_timeout" : "server_unreachable";
  const origin = new URL(url).origin;
  const message = timeout
    ? `The server at ${origin} did not answer in time.`
    : `No AI Forge server answers at ${origin}; check the address.`;
  return new ServerUnreachable(message, 0, { code, reason: error.message });
}

/** Waits a number of seconds, or until a signal. */
export function sleep(seconds: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stopped = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stopped);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stopped, { once: true });
  });
}

function uniqueKey(): string {
  // Only in a secure context browsers have ``randomUUID``; a key has to be unique, not secret.
  const known = globalThis.crypto?.randomUUID?.();
  if (known) return known;
  const part = () => Math.random().toString(36).slice(2);
  return `${Date.now().toString(36)}-${part()}${part()}`;
}
