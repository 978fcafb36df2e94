/** Tells when the disk gets full and when it has room again, and sets work going then. */
import type { Clock } from "#ports/clock.ts";
import { type Space, tellShortage } from "#ports/space.ts";

const LOOK_EVERY_MS = 2_000;

interface Watched {
  readonly space: Space;
  readonly clock: Pick<Clock, "sleep">;
  readonly logger: { warn(message: string): void; info(message: string): void };
}

/** Resolves when `signal` aborts. */
export async function watchSpace(
  { space, clock, logger }: Watched,
  { signal, freed }: { readonly signal: AbortSignal; readonly freed?: () => Promise<unknown> },
): Promise<void> {
  let wasShort = false;
  while (!signal.aborted) {
    const shortage = space.shortage();
    if (shortage !== undefined && !wasShort) logger.warn(tellShortage(shortage));
    if (shortage === undefined && wasShort) {
      logger.info("the disk has room again: work is handed out");
      await freed?.().catch((error: unknown) => logger.warn(`work is handed out with the next sweep: ${String(error)}`));
    }
    wasShort = shortage !== undefined;
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}
