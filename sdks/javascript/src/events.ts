/** Streams of events that survive lost connections. */

import { AIForgeError, errorFromResponse, InternalError, ServerUnreachable, Unavailable } from "./errors.js";
import { messages } from "./sse.js";
import { sleep, type Transport } from "./transport.js";

/** Something that happened; `data` depends on its `type`. */
export interface ForgeEvent {
  sequence: number;
  at: string;
  type: string;
  resourceId: string;
  data: Record<string, unknown>;
}

export interface FollowOptions {
  signal?: AbortSignal;
  /** Take the stream up after this id, which an earlier event's `id` was. */
  lastEventId?: string;
}

/** An event, and the id after which the stream can be taken up again. */
export type FollowedEvent = ForgeEvent & { id: string | undefined };

/** Three heartbeats of the server; a longer silence means that the connection is dead. */
const SILENCE = 45;
const ATTEMPTS = 6;

/** The events of a stream until the last one, taken up after the newest id when it breaks. */
export async function* follow(
  transport: Transport,
  url: string,
  isLast: (event: ForgeEvent) => boolean,
  options: FollowOptions = {},
): AsyncGenerator<FollowedEvent, void, undefined> {
  let cursor = options.lastEventId;
  for (let failures = 0; ; ) {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (cursor) headers["Last-Event-ID"] = cursor;
    try {
      const request = new Request(url, { headers, signal: options.signal });
      const response = await transport.send(request, { once: true, signal: options.signal });
      for await (const message of messages(await streamOf(response), SILENCE)) {
        const event = parse(message.data);
        cursor = message.id || cursor;
        failures = 0;
        yield { ...event, id: cursor };
        if (isLast(event)) return;
      }
      failures++;
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason;
      // A body that breaks off is an error of the runtime and none of ours.
      const passing = error instanceof Unavailable || isRuntimeError(error);
      failures++;
      if (!passing || failures >= ATTEMPTS) throw lasting(error, url);
    }
    if (failures >= ATTEMPTS) throw lasting(undefined, url);
    await sleep(Math.min(5, 0.1 * 2 ** failures), options.signal);
  }
}

async function streamOf(response: Response): Promise<ReadableStream<Uint8Array>> {
  if (!response.ok) throw await errorFromResponse(response);
  const kind = response.headers.get("content-type") ?? "";
  if (!kind.startsWith("text/event-stream") || !response.body) {
    await response.body?.cancel();
    throw new InternalError("The server answers with something else than a stream.", 0, {
      code: "no_stream",
    });
  }
  return response.body;
}

function parse(data: string): ForgeEvent {
  const event: unknown = JSON.parse(data);
  if (typeof event !== "object" || event === null || !("type" in event)) {
    throw new InternalError("The server streams something that is no event.", 0, {
      code: "unexpected_answer",
    });
  }
  return event as ForgeEvent;
}

function isRuntimeError(error: unknown): boolean {
  return error instanceof Error && !(error instanceof AIForgeError);
}

function lasting(error: unknown, url: string): unknown {
  if (error !== undefined && !isRuntimeError(error)) return error;
  const origin = new URL(url).origin;
  return new ServerUnreachable(`The stream of ${origin} breaks again and again.`, 0, {
    code: "server_unreachable",
  });
}
