/** Who may do what, who did what, and who is told. */

import { body, page, type Page, type PageOptions, Resource, type Schemas } from "./resource.js";

/** API keys. */
export class Keys extends Resource {
  /** Make a key; its `key` is shown this once. */
  create(request: Schemas["KeyRequest"]): Promise<Schemas["CreatedKey"]> {
    return body(this.forge.api.POST("/keys", { body: request }));
  }

  list(options: PageOptions = {}): Promise<Page<Schemas["ApiKey"]>> {
    return page(this.forge.api.GET("/keys", { params: { query: options } }));
  }

  /** Have a key never be accepted again. */
  revoke(keyId: string): Promise<Schemas["ApiKey"]> {
    return body(this.forge.api.DELETE("/keys/{key_id}", { params: { path: { key_id: keyId } } }));
  }
}

/** The audit trail. */
export class Audit extends Resource {
  list(
    options: PageOptions & {
      principal?: string;
      resourceId?: string;
      requestId?: string;
      outcome?: Schemas["AuditOutcome"];
      since?: string;
      until?: string;
    } = {},
  ): Promise<Page<Schemas["AuditEntry"]>> {
    return page(this.forge.api.GET("/audit", { params: { query: options } }));
  }
}

/** Who is told of which events. */
export class Webhooks extends Resource {
  /** Register an address; the `secret` that signs what is sent is shown this once. */
  create(request: Schemas["WebhookRequest"]): Promise<Schemas["CreatedWebhook"]> {
    return body(this.forge.api.POST("/webhooks", { body: request }));
  }

  list(options: PageOptions = {}): Promise<Page<Schemas["Webhook"]>> {
    return page(this.forge.api.GET("/webhooks", { params: { query: options } }));
  }

  get(webhookId: string): Promise<Schemas["Webhook"]> {
    const params = { path: { webhook_id: webhookId } };
    return body(this.forge.api.GET("/webhooks/{webhook_id}", { params }));
  }

  async delete(webhookId: string): Promise<void> {
    const params = { path: { webhook_id: webhookId } };
    await this.forge.api.DELETE("/webhooks/{webhook_id}", { params });
  }

  /** Send a ping; `deliveries` tells what came of it. */
  test(webhookId: string): Promise<Schemas["Delivery"]> {
    const params = { path: { webhook_id: webhookId } };
    return body(this.forge.api.POST("/webhooks/{webhook_id}/test", { params }));
  }

  /** The deliveries of a webhook with their attempts, newest first. */
  deliveries(webhookId: string, options: PageOptions = {}): Promise<Page<Schemas["Delivery"]>> {
    const params = { path: { webhook_id: webhookId }, query: options };
    return page(this.forge.api.GET("/webhooks/{webhook_id}/deliveries", { params }));
  }
}
