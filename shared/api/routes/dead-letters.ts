/** Dead letters: messages that were given out too often. */
import type { Route } from "#api/route.ts";
import * as z from "zod";

const REDRIVEN_MAX = 1_000;
const queue = z.string().regex(/^[a-z0-9-]{1,60}$/);

const deadLetterList = z.object({
  items: z.array(
    z.object({
      queue: z.string(),
      messages: z.int().min(0).describe("Approximate"),
      some: z.array(z.object({ id: z.string(), body: z.string() })).describe("At most ten of them, cut"),
    }),
  ),
});

export const deadLetterRoutes = {
  listDeadLetters: {
    method: "GET",
    path: "/v1/dead-letters",
    summary: "Queues with messages that were given out too often, and some of these",
    permission: { on: "deployment", can: "administer" },
    success: { status: 200, json: deadLetterList },
    errors: [],
    idempotent: false,
  },
  redriveDeadLetters: {
    method: "POST",
    path: "/v1/dead-letters/redrive",
    summary: "Send dead letters of a queue again",
    permission: { on: "deployment", can: "administer" },
    body: z.strictObject({ queue, limit: z.int().min(1).max(REDRIVEN_MAX).default(REDRIVEN_MAX) }),
    success: { status: 200, json: z.object({ moved: z.int().min(0), left: z.int().min(0).describe("Approximate") }) },
    errors: ["not-found"],
    idempotent: true,
  },
} as const satisfies Record<string, Route>;
