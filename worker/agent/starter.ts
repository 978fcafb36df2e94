/**
 * Starts programs by small co-processes. fork(2) of this process copies its page tables and stops the event loop until the new
 * program runs: 200 to 800 starts a second on two cores, by load, and nothing else happens meanwhile. A Perl of 6 MB does the
 * same five times as fast and beside us. (A shell was as fast; it cannot tell `exit 137` from a signal, adds variables of its
 * own and needs quoting.) Where there is no Perl, process-group.ts starts programs itself.
 *
 * One starter serves one attempt at a time, whose output goes through the starter's own pipes. A random token behind the last
 * output says where it ends; a starter whose pipes somebody else may still hold is not used again.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import type { Socket } from "node:net";
import { MachineError } from "./fault.ts";
import { DRAIN_AFTER_EXIT_MS, IDLE_STARTERS_MAX, STARTER_READY_MS, STARTER_USES_MAX } from "./limits.ts";
import { createEndMark, createLogBuffer } from "./log-buffer.ts";
import { commandLine, type Ending, type ProcessGroup, type Program, startErrorOf } from "./process-group.ts";
import { signalProcess } from "./process-table.ts";

/**
 * Reads frames (length, then fields between zero bytes: token, directory, number of words, words, variables); answers on fd 3:
 * `p pid` when the program runs in its own session, `x errno` when it cannot, `e status others cpu` when it has ended, where
 * `others` = the group was not empty and has been killed, and `cpu` = hundredths of a second of it and all it waited for.
 */
const PROGRAM = String.raw`
use strict; use POSIX (); use Fcntl;
open(my $answers, ">&=", 3) or die; fcntl($answers, F_SETFD, FD_CLOEXEC);
sub answer { syswrite($answers, "$_[0]\n") }
answer("ready");
while (read(STDIN, my $head, 4) == 4) {
  my $size = unpack("N", $head);
  last if read(STDIN, my $body, $size) != $size;
  my ($token, $dir, $words, @rest) = split(/\0/, $body, -1);
  my @command = splice(@rest, 0, $words);
  my @before = times;
  pipe(my $failed, my $fail) or die;
  my $pid = fork;
  if (!defined $pid) { answer("x " . ($! + 0)); next }
  if ($pid == 0) {
    POSIX::setsid();
    if (chdir($dir) and open(STDIN, "<", "/dev/null")) {
      %ENV = map { split(/=/, $_, 2) } @rest;
      no warnings;
      exec { $command[0] } @command;
    }
    syswrite($fail, $! + 0);
    POSIX::_exit(127);
  }
  close($fail);
  my $errno = "";
  sysread($failed, $errno, 16);
  close($failed);
  if ($errno ne "") { waitpid($pid, 0); answer("x $errno"); next }
  answer("p $pid");
  waitpid($pid, 0);
  my $status = $?;
  my $others = kill("KILL", -$pid);
  syswrite(STDOUT, $token);
  syswrite(STDERR, $token);
  my @after = times;
  answer(sprintf("e %d %d %d", $status, $others, 100 * ($after[2] + $after[3] - $before[2] - $before[3]) + 0.5));
}
`;
const TOKEN_BYTES = 24;

type EndMark = ReturnType<typeof createEndMark>;

interface Serving {
  readonly token: Buffer;
  readonly stdout: EndMark;
  readonly stderr: EndMark;
  onStarted(pid: number | { readonly errno: number }): void;
  onEnded(ending: Ending): void;
  /** Output has come, or the pipes have ended. */
  onOutput(): void;
}

interface Starter {
  readonly pid: number;
  readonly isAlive: () => boolean;
  uses: number;
  serve(serving: Serving, program: Program): void;
  rest(): void;
  retire(): void;
}

/** The first name of each number: EAGAIN, not EWOULDBLOCK. */
const errnoNames = new Map(
  Object.entries(constants.errno)
    .reverse()
    .map(([name, number]) => [number, name]),
);
const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number as number, name as NodeJS.Signals]));

function frameOf(token: Buffer, program: Program): Buffer {
  const words = commandLine(program);
  const variables = Object.entries(program.environment).map(([name, value]) => `${name}=${value}`);
  const body = Buffer.from([token.toString("latin1"), program.cwd, words.length, ...words, ...variables].join("\0"));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

function endingOf(status: number, others: number, cpuHundredths: number): Ending {
  const signal = signalNames.get(status & 127) ?? null;
  return { exitCode: signal === null ? status >> 8 : null, signal, cpuMs: cpuHundredths * 10, othersKilled: others > 0 };
}

const LOST: Ending = { exitCode: null, signal: null, lost: true };

/** Tells `serving` what a line of fd 3 says. */
function readAnswer(line: string, serving: Serving | undefined): void {
  const [kind, ...numbers] = line.split(" ");
  const [first = 0, second = 0, third = 0] = numbers.map(Number);
  if (kind === "p") serving?.onStarted(first);
  else if (kind === "x") serving?.onStarted({ errno: first });
  else if (kind === "e") serving?.onEnded(endingOf(first, second, third));
}

/** Rejects when there is no Perl that works. */
function openStarter(): Promise<Starter> {
  const child: ChildProcess = spawn("perl", ["-e", PROGRAM], {
    cwd: "/",
    env: { LC_ALL: "C", PATH: process.env["PATH"] },
    detached: true,
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const [stdin, stdout, stderr, answers] = child.stdio as unknown as [Socket, Socket, Socket, Socket];
  let serving: Serving | undefined;
  let alive = true;
  child.unref();
  /** An idle starter keeps no process from ending. */
  const hold = (held: boolean): void => {
    for (const stream of [stdin, stdout, stderr, answers]) held ? stream?.ref() : stream?.unref();
  };
  const retire = (): void => {
    alive = false;
    for (const stream of [stdin, stdout, stderr, answers]) stream?.destroy();
    if (child.pid !== undefined) signalProcess(child.pid, "SIGKILL");
  };
  stdout?.on("data", (chunk: Buffer) => {
    serving?.stdout.push(chunk);
    serving?.onOutput();
  });
  stderr?.on("data", (chunk: Buffer) => {
    serving?.stderr.push(chunk);
    serving?.onOutput();
  });
  for (const stream of [stdin, stdout, stderr, answers]) stream?.on("error", () => undefined); // its end is told by "exit"
  const starter: Starter = {
    pid: child.pid ?? 0,
    isAlive: () => alive,
    uses: 0,
    serve(next, program) {
      serving = next;
      hold(true);
      starter.uses++;
      stdin.write(frameOf(next.token, program));
    },
    rest: () => {
      serving = undefined;
      hold(false);
    },
    retire,
  };
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => child.kill("SIGKILL"), STARTER_READY_MS);
    const fail = (): void => {
      clearTimeout(late);
      alive = false;
      reject(new MachineError("no starter: perl does not run here"));
      serving?.onStarted({ errno: constants.errno.EAGAIN });
      serving?.onEnded(LOST);
    };
    child.once("error", fail);
    child.once("exit", fail);
    let partial = "";
    answers?.on("data", (chunk: Buffer) => {
      const lines = (partial + chunk.toString("latin1")).split("\n");
      partial = lines.pop() ?? "";
      for (const line of lines) {
        if (line !== "ready") readAnswer(line, serving);
        else {
          clearTimeout(late);
          resolve(starter);
        }
      }
    });
  });
}

export interface Starters {
  /** Pids of the co-processes: parents of attempts, never part of one. */
  readonly pids: ReadonlySet<number>;
  /** False where programs must be started by ourselves. */
  probe(): Promise<boolean>;
  /** @throws StartError @throws MachineError */
  start(program: Program): Promise<ProcessGroup>;
}

/** Waits for the last output of both pipes; whether the token came, behind which nobody but the next attempt writes. */
async function drain(serving: Serving, output: { onOutput: () => void }): Promise<boolean> {
  const isWhole = (): boolean => serving.stdout.isWhole() && serving.stderr.isWhole();
  let timer: NodeJS.Timeout | undefined;
  if (!isWhole()) {
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, DRAIN_AFTER_EXIT_MS);
      output.onOutput = () => {
        if (isWhole()) resolve();
      };
    });
  }
  clearTimeout(timer);
  serving.stdout.flush();
  serving.stderr.flush();
  return isWhole();
}

export function createStarters(): Starters {
  const idle: Starter[] = [];
  const pids = new Set<number>();

  async function take(): Promise<Starter> {
    for (let starter = idle.pop(); starter !== undefined; starter = idle.pop()) {
      if (starter.isAlive()) return starter;
      pids.delete(starter.pid);
    }
    const starter = await openStarter();
    pids.add(starter.pid);
    return starter;
  }

  function giveBack(starter: Starter, clean: boolean): void {
    starter.rest();
    if (clean && starter.isAlive() && starter.uses < STARTER_USES_MAX && idle.length < IDLE_STARTERS_MAX) {
      idle.push(starter);
      return;
    }
    pids.delete(starter.pid);
    starter.retire();
  }

  async function start(program: Program): Promise<ProcessGroup> {
    const starter = await take();
    const output = { onOutput: (): void => undefined };
    let told: (ending: Ending) => void = () => undefined;
    const ended = new Promise<Ending>((resolve) => {
      told = resolve;
    });
    const logs = { stdout: createLogBuffer(), stderr: createLogBuffer() };
    const token = Buffer.from(randomBytes((TOKEN_BYTES * 3) / 4).toString("base64url"));
    let serving: Serving | undefined;
    const started = await new Promise<number | { readonly errno: number }>((resolve) => {
      const onOutput = (): void => output.onOutput();
      const ends = { stdout: createEndMark(token, logs.stdout), stderr: createEndMark(token, logs.stderr) };
      serving = { token, ...ends, onStarted: resolve, onEnded: told, onOutput };
      starter.serve(serving, program);
    });
    if (typeof started !== "number" || serving === undefined) {
      giveBack(starter, true);
      const code = typeof started === "number" ? "" : (errnoNames.get(started.errno) ?? `error ${started.errno}`);
      throw startErrorOf(program.command[0], Object.assign(new Error(code), { code }));
    }
    const served = serving;
    return {
      pid: started,
      ended,
      signal: (signal) => void signalProcess(-started, signal),
      logs,
      async drained() {
        const { othersKilled, lost } = await ended;
        const whole = await drain(served, output);
        giveBack(starter, whole && othersKilled !== true && lost !== true);
      },
    };
  }

  return {
    pids,
    async probe() {
      try {
        giveBack(await take(), true);
        return true;
      } catch {
        return false;
      }
    },
    start,
  };
}
