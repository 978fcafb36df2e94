/** Dead letters, for administrators. */
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";

export function createDeadLetterHandlers({ deadLetters }: HttpDeps): Handlers<"listDeadLetters" | "redriveDeadLetters"> {
  return {
    listDeadLetters: async () => ({
      items: (await deadLetters.list()).map(({ queue, messages, some }) => ({ queue, messages, some: some.map((one) => ({ ...one })) })),
    }),
    redriveDeadLetters: ({ body }) => deadLetters.redrive(body.queue, body.limit),
  };
}
