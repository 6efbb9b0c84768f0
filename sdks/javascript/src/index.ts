/** Client of AI Forge: `import { AIForge } from "@aiforge/client"`. */

export { AIForge, DEFAULT_URL, type ForgeOptions } from "./client.js";
export {
  AIForgeError,
  Cancelled,
  Conflict,
  Failure,
  Forbidden,
  InternalError,
  InvalidInput,
  NotFound,
  RateLimited,
  Rejected,
  SchemaViolation,
  ServerUnreachable,
  TimedOut,
  Unauthenticated,
  Unavailable,
} from "./errors.js";
export type { FollowedEvent, FollowOptions, ForgeEvent } from "./events.js";
export type { components, operations, paths } from "./openapi.js";
export type { ChatChunk, ChatCompletion, ChatOptions, ChatRequest } from "./resources/chat.js";
export type { Dataset, Source, Upload, UploadOptions } from "./resources/data.js";
export type { Export, Job, JobStatus } from "./resources/jobs.js";
export type { ActionOptions, Artifact, Mission, Model } from "./resources/models.js";
export type { Page, PageOptions, Schemas } from "./resources/resource.js";
export type { RetryPolicy } from "./transport.js";
export type { WaitOptions } from "./waiting.js";
