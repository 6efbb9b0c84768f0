/** Waiting for what takes its time. */

import { Failure, TimedOut } from "./errors.js";
import { sleep } from "./transport.js";

export interface WaitOptions {
  /** Seconds to wait at most; for ever when absent. */
  timeout?: number;
  signal?: AbortSignal;
  /** Throw if it failed or was cancelled; true when absent. */
  check?: boolean;
}

/** Reads again and again, ever more slowly up to two seconds, until it is done. */
export async function until<T>(
  read: () => Promise<T>,
  done: (value: T) => boolean,
  what: string,
  options: WaitOptions = {},
): Promise<T> {
  const deadline = options.timeout === undefined ? Infinity : Date.now() + options.timeout * 1000;
  for (let delay = 0.1; ; delay = Math.min(2, delay * 1.5)) {
    const value = await stoppable(read(), options.signal);
    if (done(value)) return value;
    if (Date.now() + delay * 1000 > deadline) {
      const message = `${what} is not done after ${options.timeout} seconds.`;
      throw new TimedOut(message, 0, { code: "timed_out" });
    }
    await sleep(delay, options.signal);
  }
}

/** Throws what became of something that failed. */
export function requireNotFailed(
  value: { status: string; error?: string | null; errorCode?: string | null },
  what: string,
): void {
  if (value.status !== "failed") return;
  throw new Failure(value.error ?? `${what} failed.`, 0, { code: value.errorCode ?? "failed" });
}

/** What a promise gives, unless a signal comes first. */
async function stoppable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  let stop = (): void => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
