/** Causes in words: what happened, and what to do about it. */
import type { Capacity } from "#domain/capacity.ts";
import type { Cause, CauseKind, NearestWorker, ParentProgress, Shares, Why } from "#domain/cause.ts";

interface Told {
  readonly message: string;
  readonly help: string;
}

type Teller<K extends CauseKind> = (why: Extract<Why, { readonly kind: K }>, of: { readonly tasks: number; readonly some: string }) => Told;

const mib = (bytes: number): number => Math.floor(bytes / 1024 ** 2);

const TELLERS: { readonly [K in CauseKind]: Teller<K> } = {
  "not-submitted": () => ({ message: "The experiment was created but not submitted.", help: "Start it: airavata experiment submit <id>" }),
  paused: () => ({ message: "The experiment is paused.", help: "Let it go on: airavata experiment resume <id>" }),
  retrying: () => ({
    message: "A retry is under way; nothing is handed out until it is prepared.",
    help: "Nothing to do: it takes moments.",
  }),
  "resource-unknown": (why) => ({
    message: `No compute resource is registered as ${list(why.resources, "or")}.`,
    help: "Register it (airavata resource register), or submit again with `on:` naming one of: airavata resource list",
  }),
  "resource-forbidden": (why) => ({
    message: `The owner of the experiment may not use ${list(why.resources, "or")}.`,
    help: "Ask the owner of the resource or an administrator for the permission to use it.",
  }),
  "no-workers": (why) => ({
    message: `There is no worker${why.resources.length === 0 ? "" : ` on ${list(why.resources, "or")}`}.`,
    help: "Start one there; airavata worker list shows those that are connected.",
  }),
  draining: (why, { some }) => ({
    message: `${plural(why.workers, "worker")} could run ${some}, but ${why.workers === 1 ? "it is" : "they are"} draining: no new work goes there.`,
    help: "Start another worker of this size. A worker drains before it ends, or when task after task failed there at once (its log says which).",
  }),
  "no-worker-fits": (why) => ({
    message: `No worker is large enough: a task needs ${showCapacity(why.need)}. Nearest is ${showWorker(why.nearest)}, short of ${showCapacity(why.short)}.`,
    help: "Start a worker of at least that size, or ask for less under `compute:`.",
  }),
  "environment-missing": (why) => ({
    message: `No worker that is large enough can make ${list(why.missing, "and")} environments. Nearest is ${showWorker(why.nearest)}.`,
    help: `Install ${list(why.missing.map(toolOf), "and")} there and restart the worker, or leave the list out: --without ${why.missing.join(",")}`,
  }),
  "ends-too-soon": (why) => ({
    message: `Every worker that fits ends too soon: a task may need ${showMs(why.neededMs)}, ${showWorker(why.nearest)} has ${showMs(why.leftMs)} left.`,
    help: "Start a worker with a longer walltime, or set a shorter `time:` under `compute:`.",
  }),
  "room-taken": (why) => ({
    message: `All room is taken: ${showShares(why)}.${showWait(why)}`,
    help: "Wait for running tasks to end, or start more workers.",
  }),
  "behind-others": (why) => ({
    message: `All room is taken, and ${plural(why.ahead, "experiment")}${why.aheadOwn > 0 ? ` (${why.aheadOwn} of your own)` : ""} come${why.ahead === 1 ? "s" : ""} first in fair share: ${showShares(why)}.${showWait(why)}`,
    help:
      why.aheadOwn > 0
        ? "Raise its priority among your own: airavata experiment edit <id> --priority N"
        : "Wait for your share, or start more workers.",
  }),
  "at-limit": (why) => ({
    message: `Workers hold ${plural(why.tasksAtOnce, "task")} of the experiment, as many as it may have out at once.`,
    help: "Wait for some to end, or raise the limit: airavata experiment edit <id>",
  }),
  "disk-full": (why) => ({
    message: `The disk of the installation has ${mib(why.freeBytes)} MiB free and ${mib(why.reserveBytes)} MiB are kept for what runs: no new work is handed out.`,
    help: "Its operator frees space; work goes on by itself then.",
  }),
  budget: (why) => ({
    message: why.usedUp ? "The budget of the experiment is used up." : "What is out now may use up the budget of the experiment.",
    help: why.usedUp
      ? "Raise it: airavata experiment edit <id> --help names the options."
      : "Wait for running tasks to end, or raise the budget.",
  }),
  "retry-wait": (why, { some, tasks }) => ({
    message: `${some} failed before and ${tasks === 1 ? "is" : "are"} tried again from ${new Date(why.untilMs).toISOString()} on.`,
    help: "Nothing to do; `retry: backoff:` of the file sets the wait.",
  }),
  dependency: (why, { some, tasks }) => ({
    message: `${some} ${tasks === 1 ? "waits" : "wait"} for ${list(why.parents.map(showParent), "and") || "tasks before"}.`,
    help: "Nothing to do here: look at what those wait for.",
  }),
  "parent-failed": (_, { some, tasks }) => ({
    message: `${some} can't run: a task before failed. ${tasks === 1 ? "It" : "They"} will be SKIPPED.`,
    help: "Mend the cause and run the failed tasks again: airavata experiment retry <id>",
  }),
  "in-order": (_, { some }) => ({
    message: `${some} stand behind earlier tasks of the same set, which are handed out first.`,
    help: "Look at what the earlier tasks of the set wait for.",
  }),
  "about-to-start": (why, { some, tasks }) => ({
    message: `${why.host} has room: ${some} ${tasks === 1 ? "goes" : "go"} there with the next pass of the scheduler, within moments.`,
    help: "Nothing to do. If this stays for minutes, the schedule queue is not served: see the log of the functions.",
  }),
  "gateway-down": (why, { some, tasks }) => ({
    message: `${some} ${tasks === 1 ? "is" : "are"} given to ${plural(why.workers, "worker")} whose gateway was not heard of for ${showMs(why.silentMs)}.`,
    help: "See that the gateway runs; work goes on when its workers are connected again.",
  }),
  "worker-silent": (why, { some, tasks }) => ({
    message: `${some} ${tasks === 1 ? "is" : "are"} at ${plural(why.workers, "worker")} that stopped answering.`,
    help: "Nothing to do: if it stays silent the tasks are given to another worker, and no retry is counted.",
  }),
  "at-worker": (why, { some, tasks }) => ({
    message: `${some} ${tasks === 1 ? "is" : "are"} at ${plural(why.workers, "worker")}, behind others that run there.`,
    help: "Nothing to do; tasks are moved when another worker is idle.",
  }),
  "staging-in": (_, { some, tasks }) => ({
    message: `${some} ${tasks === 1 ? "fetches its" : "fetch their"} inputs.`,
    help: "Nothing to do; large inputs are kept at the worker for the next tasks.",
  }),
  "long-tail": (why, { some, tasks }) => ({
    message: `${some} ${tasks === 1 ? "takes" : "take"} much longer than the others: up to ${showMs(why.longestMs)}, where ${showMs(why.taskMs)} is usual.`,
    help: "Look at one with airavata experiment task <id> <set>/<number>; a shorter `time:` would end it.",
  }),
};

export function tell({ why, tasks }: Cause): Told {
  // The teller of a kind takes that kind.
  const teller = TELLERS[why.kind] as Teller<CauseKind>;
  return teller(why, { tasks, some: plural(tasks, "task") });
}

const count = (n: number): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",");
const plural = (n: number, what: string): string => `${count(n)} ${what}${n === 1 ? "" : "s"}`;

const LISTED = 5;
function list(items: readonly string[], word: "and" | "or"): string {
  const shown = items.length > LISTED ? [...items.slice(0, LISTED), `${count(items.length - LISTED)} more`] : items;
  return shown.length < 2 ? (shown[0] ?? "") : `${shown.slice(0, -1).join(", ")} ${word} ${shown.at(-1)}`;
}

const toolOf = (kind: string): string => (kind === "conda" ? "micromamba, mamba or conda" : "uv or python3 with pip");

const showCapacity = ({ cpuMilli, memoryMib, gpu }: Capacity): string =>
  list(
    [
      ...(cpuMilli > 0 ? [plural(cpuMilli / 1000, "core")] : []),
      ...(memoryMib > 0 ? [`${Number((memoryMib / 1024).toFixed(2))} GiB of memory`] : []),
      ...(gpu > 0 ? [plural(gpu, "GPU")] : []),
    ],
    "and",
  );

const showWorker = ({ host, pool }: NearestWorker): string => `${host} (${pool})`;

const showParent = ({ name, done, count: of }: ParentProgress): string =>
  of === 1 && name.includes("/") ? name : `${name} (${count(done)} of ${count(of)} done)`;

const showShares = ({ slots, ownPercent, ownersPercent, othersPercent }: Shares): string =>
  `${plural(slots, "slot")} for such tasks; this experiment uses ${ownPercent} %, other experiments of its owner ${ownersPercent} %, those of others ${othersPercent} %`;

const showWait = ({ taskMs, allMs }: Shares): string =>
  taskMs === undefined || allMs === undefined
    ? ""
    : ` A task takes about ${showMs(taskMs)}; with all slots the rest would take ${showMs(allMs)}.`;

function showMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.round(ms / 1000);
  if (s < 120) return `${s} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
}
