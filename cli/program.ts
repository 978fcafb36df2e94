/** The tree of commands, their options, and nothing of what they do. */
import { BUDGET_KEYS, type BudgetSpec } from "#domain/budget.ts";
import { FAILURE_CAUSES } from "#domain/plan.ts";
import { TASK_STATES } from "#domain/task.ts";
import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import { addAccountCommands } from "./account-commands.ts";
import { SHELLS, type Shell } from "./completion.ts";
import { EXAMPLES } from "./examples.ts";
import { NO_LIMIT, type NoLimit } from "./no-limit.ts";
import { type Action, createSession, type GlobalOptions, type Io } from "./session.ts";

export interface Surroundings {
  readonly io: Io;
  readonly signal: AbortSignal;
  /** Takes the exit code of a command that ran. */
  readonly done: (code: number) => void;
}

const PAGE_MAX = 1000;

function wholeNumber(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > PAGE_MAX) throw new InvalidArgumentError(`expects a whole number from 1 to ${PAGE_MAX}.`);
  return n;
}

/** Commander takes null for an option without a value, so no limit stays a word until the command sees it. */
const toLimit = (text: string): number | NoLimit => (text === NO_LIMIT ? NO_LIMIT : toNumber(text));

/** Its range is checked by the API, which says what is allowed. */
function toNumber(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n)) throw new InvalidArgumentError("expects a whole number.");
  return n;
}

/** Its range is checked with the workflow. */
function readFactor(text: string): number {
  const factor = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(factor)) throw new InvalidArgumentError("expects a number such as 0.01.");
  return factor;
}

function readOverride(text: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("expects NAME=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

const readCompute = (text: string): Readonly<Record<string, string>> =>
  text.split(",").reduce((before, part) => readOverride(`compute.${part}`, before), {});

/** `null`: none. */
function readBudget(text: string): BudgetSpec | NoLimit {
  if (text === NO_LIMIT) return NO_LIMIT;
  const limits = text.split(",").map((part) => part.split("="));
  const isOne = ([key = "", value = "", ...rest]: readonly string[]): boolean =>
    BUDGET_KEYS.some((k) => k === key) && Number(value) > 0 && rest.length === 0;
  if (!limits.every(isOne)) throw new InvalidArgumentError("expects none, or limits such as usd=0.5,core_hours=10,tasks=1000.");
  return Object.fromEntries(limits.map(([key, value]) => [key, Number(value)]));
}

function readWithout(text: string): Readonly<Record<string, string>> {
  const lists = text.split(",");
  if (!lists.every((list) => list === "conda" || list === "pip")) throw new InvalidArgumentError("expects conda, pip or conda,pip.");
  return Object.fromEntries(lists.map((list) => [`resources.${list}`, "[]"]));
}

/** Options that every command has, wherever they stand on the line. */
function leaf<O>(command: Command, around: Surroundings, load: () => Promise<Action<O & GlobalOptions>>): Command {
  command.option("--server <url>", "address of the server (or AIRAVATA_SERVER; default: where you logged in)");
  command.option("--context <name>", "a remembered login other than the one in use");
  command.option("--json", "print JSON");
  command.option("-q, --quiet", "print ids or names alone, and no progress");
  return command.action(async () => {
    const options = command.opts<O & GlobalOptions>();
    const session = createSession(around.io, options, around.signal);
    const action = await load();
    around.done(await action(session, options, command.args));
  });
}

const paged = (command: Command): Command =>
  command
    .option("--limit <n>", "lines of one page", wholeNumber, 100)
    .option("--cursor <text>", "go on where a page ended")
    .option("--all", "every page");

const withSet = (command: Command): Command =>
  command
    .option("--set <name=value>", "replace a value of the file: a parameter, or compute.cpu and its like (repeatable)", readOverride)
    .option("--set-compute <key=value,...>", "replace computing resources: cpu=1,ram_gb=2", readCompute)
    .option("--without <lists>", "leave out what the file asks to install: conda,pip", readWithout)
    .option(
      "--simulate-work <factor>",
      "of a WfFormat workflow: sleep for each task's runtime and write its files, both times this",
      readFactor,
    )
    .option("--workflow-inputs <storage:/folder>", "of a WfFormat workflow: where the files are that no task makes");

/** What is made from experiments, and how one is rid of them. */
function addOfFile(experiment: Command, around: Surroundings): void {
  const add = (usage: string, description: string): Command => experiment.command(usage).description(description);
  const timeline = add("timeline <id>", "how many tasks of each set were queued, staging, running and done over its life");
  leaf(timeline.option("--points <n>", "steps, 1 to 500", toNumber), around, async () => (await import("./timeline.ts")).timeline);
  const derive = withSet(add("derive <id>", "create and start a new experiment from the file of this one, with other values"))
    .option("--no-submit", "only create it")
    .option("--detach", "return as soon as it has started");
  leaf(derive, around, async () => (await import("./derive.ts")).derive);
  leaf(add("file <id>", "the file that it was made from"), around, async () => (await import("./derive.ts")).file);
  const remove = add("delete <id>", "delete an experiment that has ended, with all of its results and outputs");
  leaf(remove.option("--yes", "don't ask"), around, async () => (await import("./delete.ts")).remove);
}

function addLogs(experiment: Command, around: Surroundings): void {
  const logs = experiment
    .command("logs <id> <task>")
    .description("what a task (<set>/<number>) writes: before it starts, while it runs and afterwards")
    .option("--follow", "wait for it to start, and go on until it ends")
    .option("--stderr", "stderr instead of stdout")
    .option("--tail <bytes>", "only the last so many bytes", toNumber)
    .option("--attempt <epoch>", "of this attempt (default: the one that runs, else the newest)", toNumber);
  leaf(logs, around, async () => (await import("./logs.ts")).logs);
}

function addExperiment(experiment: Command, around: Surroundings): void {
  const read = () => import("./experiment.ts");
  const control = () => import("./control.ts");
  const add = (usage: string, description: string): Command => experiment.command(usage).description(description);
  leaf(
    withSet(add("plan <file>", "check an experiment file and count its tasks; needs no server")),
    around,
    async () => (await import("./run.ts")).plan,
  );
  const runs = withSet(add("run <file>", "create and start an experiment, then follow it"))
    .option("--project <project>", "put it there instead of where the file says: id, or name among your own")
    .addOption(new Option("--watch", "follow it until it ends (default)").conflicts("detach"))
    .addOption(new Option("--detach", "return as soon as it has started").conflicts("watch"))
    .option("--keep-days <n>", "delete it so many days after its end", toNumber);
  leaf(runs, around, async () => (await import("./run.ts")).run);
  leaf(add("status <id>", "state and progress"), around, async () => (await read()).status);
  leaf(
    add("watch <id>", "follow an experiment until it ends; exit code 1 when it did not complete"),
    around,
    async () => (await import("./watch.ts")).watch,
  );
  addLogs(experiment, around);
  const list = paged(add("list", "your experiments, or those of a project, newest first")).option("--project <project>", "of this project");
  leaf(list, around, async () => (await read()).list);
  const tasks = paged(add("tasks <id>", "tasks by set and number").option("--set <name>", "of this set only"));
  tasks
    .addOption(new Option("--state <state...>", "in one of these states").choices(TASK_STATES))
    .addOption(new Option("--cause <cause>", "failed, at last by this").choices(FAILURE_CAUSES))
    .option("--worker <id>", "that this worker has or had")
    .option("--parameter <name=value...>", "with these values of parameters: YEAR=2014");
  leaf(tasks, around, async () => (await read()).tasks);
  leaf(add("task <id> <task>", "one task (<set>/<number>) with its attempts"), around, async () => (await read()).task);
  leaf(
    add("explain <id> [task]", "why an experiment, or one of its tasks (<set>/<number>), waits, and what would help"),
    around,
    async () => (await import("./explain.ts")).explain,
  );
  leaf(
    paged(add("outputs <id>", "committed outputs").option("--set <name>", "of this set only")),
    around,
    async () => (await read()).outputs,
  );
  const download = add("download <id>", "fetch all outputs as <set>/<number>/<path>; files that are there already are kept")
    .option("--to <folder>", "where to (default: a folder named after the experiment)")
    .option("--set <name>", "of this set only");
  leaf(download, around, async () => (await import("./download.ts")).download);
  leaf(add("submit <id>", "start an experiment that was created"), around, async () => (await control()).turns("submitExperiment"));
  leaf(add("pause <id>", "running tasks finish, the others wait"), around, async () => (await control()).turns("pauseExperiment"));
  leaf(add("resume <id>", "go on with a paused experiment"), around, async () => (await control()).turns("resumeExperiment"));
  const retry = add("retry <id>", "run failed tasks again: all, or those chosen by one of the options")
    .addOption(new Option("--set <name...>", "of these sets").conflicts(["task", "cause"]))
    .addOption(new Option("--task <task...>", "these tasks (<set>/<number>)").conflicts("cause"))
    .addOption(new Option("--cause <cause...>", "whose last attempt failed by this").choices(FAILURE_CAUSES));
  leaf(retry, around, async () => (await control()).retry);
  const edit = add("edit <id>", "change how an experiment stands against others, and its limits, while it runs")
    .option("--priority <n>", "-100 to 100; larger first among your own", toNumber)
    .option("--weight <n>", "1 to 1000; share against other experiments", toNumber)
    .option("--budget <limits>", "usd=0.5,core_hours=10,tasks=1000 (any of them), or none", readBudget)
    .option("--tasks-at-once <n>", "tasks that workers may hold at once, or none for no limit", toLimit)
    .option("--keep-days <n>", "deleted so many days after its end, or none for never", toLimit)
    .option("--label <name=value>", "a label; those given replace all of its labels (repeatable)", readOverride);
  leaf(edit, around, async () => (await control()).edit);
  leaf(add("resubmit <id>", "start a new experiment with the same plan"), around, async () =>
    (await control()).turns("resubmitExperiment"),
  );
  addOfFile(experiment, around);
  leaf(add("cancel <id>", "stop an experiment for good"), around, async () => (await control()).turns("cancelExperiment"));
}

function addData(data: Command, around: Surroundings): void {
  const load = () => import("./data.ts");
  leaf(paged(data.command("ls <place>").description("what a folder holds")), around, async () => (await load()).list);
  const put = data
    .command("put <files-and-place...>")
    .usage("[options] <file...> <storage>:/<path>")
    .description("put files into a storage resource; a path that ends in / is a folder")
    .option("-r, --recursive", "folders too")
    .option("--replace", "also where there is a file already");
  leaf(put, around, async () => (await load()).put);
  const get = data
    .command("get <place> [to]")
    .description("fetch a file, or a folder with --recursive")
    .option("-r, --recursive", "a folder with all in it")
    .option("--replace", "also where there is a file already");
  leaf(get, around, async () => (await load()).get);
}

function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
  return names.join(" ");
}

function addExamples(command: Command): void {
  const examples = EXAMPLES[pathOf(command)];
  if (examples !== undefined) command.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}`).join("\n")}`);
  for (const child of command.commands) addExamples(child);
}

export function addCommands(program: Command, around: Surroundings): void {
  const { io } = around;
  program
    .description("Airavata Scheduler: run experiments on the machines that you may use")
    .exitOverride()
    .configureOutput({ writeOut: (text) => void io.stdout.write(text), writeErr: (text) => void io.stderr.write(text) })
    .showHelpAfterError("(airavata --help lists the commands)")
    .configureHelp({ showGlobalOptions: false });
  addAccountCommands(program, { add: (command, load) => leaf(command, around, load), paged });
  addExperiment(program.command("experiment").description("experiments, their tasks and outputs"), around);
  const cost = paged(program.command("cost [id]").description("what your experiments, or one of them, have cost at list prices"));
  cost.option("--deployment", "what was used for no experiment in particular (administrators)");
  leaf(cost, around, async () => (await import("./cost.ts")).cost);
  const resource = program.command("resource").description("compute and storage resources");
  leaf(resource.command("list").description("resources by name"), around, async () => (await import("./resource.ts")).resources);
  const register = resource
    .command("register <name>")
    .description("register a compute or storage resource (administrators)")
    .addOption(new Option("--kind <kind>", "what it is").choices(["LOCAL", "POSIX"]).makeOptionMandatory())
    .option("--root <folder>", "absolute path of the folder (POSIX)")
    .option("--open", "every user may use it")
    .option("--writable", "every user may put files there (POSIX)");
  leaf(register, around, async () => (await import("./resource.ts")).register);
  addData(program.command("data").description("files of storage resources, named <storage>:/<path>"), around);
  const worker = program.command("worker").description("workers");
  leaf(worker.command("list").description("workers that are known now"), around, async () => (await import("./resource.ts")).workers);
  const admin = program.command("admin [args...]").description("operate an installation on its machine: status, backup, verify, restore");
  // Its options are read by that program.
  admin.helpOption(false).allowUnknownOption();
  program
    .command("completion")
    .description("print a script that completes commands and options in your shell")
    .addArgument(new Argument("<shell>", "which one").choices(SHELLS))
    .action(async (shell: Shell) => {
      io.stdout.write((await import("./completion.ts")).completionScript(shell, program));
    });
  const dead = admin.command("dead-letters").description("messages that were given out too often (administrators, through the API)");
  const letters = dead.command("list").description("how many, in which queues, and some of them");
  leaf(letters, around, async () => (await import("./dead-letters.ts")).listDeadLetters);
  const redrive = dead.command("redrive").description("send them again").argument("<queue>", "its name, as list shows it");
  for (const command of [dead, letters, redrive]) command.helpOption("-h, --help", "display help for command").allowUnknownOption(false);
  redrive.option("--limit <n>", "at most so many (1000)");
  leaf(redrive, around, async () => (await import("./dead-letters.ts")).redriveDeadLetters);
  admin.action(async () => around.done(await (await import("./admin.ts")).runAdmin(admin.args)));
  addExamples(program);
}
