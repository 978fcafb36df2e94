/** Whether what requests need answers now; asked at most once in {@link ASKED_EVERY_MS}, however many ask us. */
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import type { DeadLetters } from "#core/dead-letters/index.ts";
import type { Authorization } from "#ports/authorization.ts";
import type { MessageQueue } from "#ports/message-queue.ts";
import { type Space, tellShortage } from "#ports/space.ts";
import { SCHEDULE_QUEUE } from "./scheduling.ts";
import type { State } from "./state.ts";

const ASKED_EVERY_MS = 2_000;
const LIMIT_MS = 2_000;

interface Asked extends Pick<State, "accounts" | "clock"> {
  readonly authorization: Authorization;
  readonly queue: MessageQueue;
  readonly space?: Space;
}

async function enough(space: Space): Promise<void> {
  const shortage = space.shortage();
  if (shortage !== undefined) throw new Error(tellShortage(shortage));
}

export function createHealth(e: Asked): () => Promise<Record<string, boolean>> {
  const nobody = makeId("user", 0, new Uint8Array(ID_RANDOM_BYTES));
  const checks = {
    state: () => e.accounts.readUser(nobody),
    authorization: () => e.authorization.check({ type: "user", id: nobody }, "administer", { type: "deployment", id: "nobody" }),
    queue: () => e.queue.depth(SCHEDULE_QUEUE),
    ...(e.space === undefined ? {} : { disk: () => enough(e.space as Space) }),
  };
  const answers = async (check: () => Promise<unknown>): Promise<boolean> => {
    const late = new AbortController();
    const ended = check().then(
      () => true,
      () => false,
    );
    const answer = await Promise.race([ended, e.clock.sleep(LIMIT_MS, late.signal).then(() => false)]);
    late.abort();
    return answer;
  };
  const ask = async () =>
    Object.fromEntries(await Promise.all(Object.entries(checks).map(async ([part, check]) => [part, await answers(check)] as const)));
  return atMostOften(e.clock, ask);
}

/** How many dead letters there are; `undefined` when the queue does not answer. */
export function createDeadLetterCount(e: Pick<Asked, "clock">, letters: DeadLetters): () => Promise<number | undefined> {
  return atMostOften(e.clock, () => letters.count().catch(() => undefined));
}

function atMostOften<T>(clock: Asked["clock"], ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined;
  let askedMs = 0;
  return () => {
    if (asked === undefined || clock.now() - askedMs > ASKED_EVERY_MS) {
      askedMs = clock.now();
      asked = ask();
    }
    return asked;
  };
}
