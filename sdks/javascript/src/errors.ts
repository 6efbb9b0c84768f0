/** What went wrong, in the classes of the platform; `code` is stable, the message names a remedy. */

/** Base of all errors of the platform. */
export class AIForgeError extends Error {
  /** Stable machine word, for example `job_not_found`. */
  readonly code: string;
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** What the server adds, `field` and `errors` for example. */
  readonly detail: Readonly<Record<string, unknown>>;
  /** Names the request in the server's log. */
  readonly requestId: string | undefined;

  constructor(message: string, status = 0, detail: Record<string, unknown> = {}) {
    super(message);
    this.name = new.target.name;
    this.status = status;
    this.detail = detail;
    this.code = typeof detail.code === "string" ? detail.code : "error";
    this.requestId = typeof detail.requestId === "string" ? detail.requestId : undefined;
  }
}

/** Well formed, but a value is out of its range or not acceptable. */
export class InvalidInput extends AIForgeError {}
/** The request does not have the declared shape. */
export class SchemaViolation extends InvalidInput {}
/** There is no such resource or route. */
export class NotFound extends AIForgeError {}
/** The state of the resource does not allow it. */
export class Conflict extends AIForgeError {}
/** No credential, or a bad one. */
export class Unauthenticated extends AIForgeError {}
/** The credential lacks a scope. */
export class Forbidden extends AIForgeError {}
/** Too many requests; `detail.retryAfter` is in seconds. */
export class RateLimited extends AIForgeError {}
/** A dependency is away; try again later. */
export class Unavailable extends AIForgeError {}
/** No server answers at the address. */
export class ServerUnreachable extends Unavailable {}
/** The method, size, range or media type is not accepted. */
export class Rejected extends AIForgeError {}
/** Work was attempted and failed. */
export class Failure extends AIForgeError {}
/** Work was stopped on request. */
export class Cancelled extends Failure {}
/** A fault of the platform itself. */
export class InternalError extends Failure {}
/** Something was not done in the time that the caller gave it. */
export class TimedOut extends AIForgeError {}

const CLASSES: Record<number, typeof AIForgeError> = {
  400: InvalidInput,
  401: Unauthenticated,
  403: Forbidden,
  404: NotFound,
  405: Rejected,
  409: Conflict,
  413: Rejected,
  415: Rejected,
  416: Rejected,
  422: SchemaViolation,
  429: RateLimited,
  502: Unavailable,
  503: Unavailable,
  504: Unavailable,
};

/** The error that a body of the API means; any other body gives the status alone. */
export function errorFromBody(status: number, body: unknown): AIForgeError {
  const Kind = CLASSES[status] ?? (status >= 500 ? InternalError : AIForgeError);
  if (!isRecord(body) || typeof body.message !== "string") {
    return new Kind(`The server answered ${status}.`, status);
  }
  const detail = isRecord(body.detail) ? body.detail : {};
  let message = body.message;
  if (message === "Validation failed" && Array.isArray(detail.errors)) {
    const faults = detail.errors.slice(0, 3).filter(isRecord);
    message += `: ${faults.map((fault) => `${fault.field}: ${fault.error}`).join("; ")}`;
  }
  return new Kind(message, status, detail);
}

/** The error that a response means. */
export async function errorFromResponse(response: Response): Promise<AIForgeError> {
  const text = await response.text().catch(() => "");
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const error = errorFromBody(response.status, body);
  const seconds = retryAfter(response);
  return seconds > 0 && !("retryAfter" in error.detail)
    ? new (error.constructor as typeof AIForgeError)(error.message, error.status, {
        ...error.detail,
        retryAfter: seconds,
      })
    : error;
}

/** Seconds of a `Retry-After`, 0 without one. */
export function retryAfter(response: Response): number {
  const seconds = Number(response.headers.get("retry-after") ?? 0);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
