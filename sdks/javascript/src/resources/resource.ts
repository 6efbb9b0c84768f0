/** What the resources share. */

import type { AIForge } from "../client.js";
import type { components } from "../openapi.js";

export type Schemas = components["schemas"];

export interface PageOptions {
  /** At most 500; 50 when absent. */
  limit?: number;
  offset?: number;
}

/** One page of a list, newest first; `total` counts all items that the filters match. */
export type Page<T> = T[] & { total: number };

interface Answer<T> {
  data?: T;
  response: Response;
}

/** A group of operations of one client. */
export class Resource {
  constructor(protected readonly forge: AIForge) {}
}

/** The body of an answer. */
export async function body<T>(answer: Promise<Answer<T>>): Promise<T> {
  return (await answer).data as T;
}

/** The body of an answer that is one page of a list. */
export async function page<T>(answer: Promise<Answer<T[]>>): Promise<Page<T>> {
  const { data, response } = await answer;
  const items = data as T[];
  const total = Number(response.headers.get("x-total-count") ?? items.length);
  return Object.assign(items, { total });
}

/** An identifier as one segment of a path, whatever it holds. */
export function segment(identifier: string): string {
  return encodeURIComponent(identifier) || "%00";
}
