import { describe, expect, it } from "vitest";
import { parseOptions } from "../../worker/agent/options.ts";

const machine = { cores: 8, memoryMib: 16_000 };
const least = ["--gateway", "gw.example.org:7443", "--ca", "ca.pem"];
const parse = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  parseOptions([...least, ...args], env, machine, "/job");

describe("options of the agent", () => {
  it("default to all of the machine and folders below the working directory", () => {
    expect(parse([])).toEqual({
      gateway: "gw.example.org:7443",
      caFile: "/job/ca.pem",
      tokenFile: undefined,
      stateDir: "/job/.airavata-worker",
      workDir: "/job/.airavata-worker/work",
      cacheDir: "/job/.airavata-worker/cache",
      size: { cpuMilli: 8000, memoryMib: 16_000, gpu: 0 },
      prefetchPercent: 100,
      endsAtMs: undefined,
      idleTimeoutMs: undefined,
    });
  });

  it("an option goes before the environment, and that before the default", () => {
    const env = { AIRAVATA_GATEWAY: "a:1", AIRAVATA_CA: "/c", AIRAVATA_CPU: "2", AIRAVATA_STATE_DIR: "", AIRAVATA_MEMORY_MIB: "100" };
    expect(parseOptions(["--gateway", "b:2", "--memory-mib", "200"], env, machine, "/job")).toMatchObject({
      gateway: "b:2",
      caFile: "/c",
      stateDir: "/job/.airavata-worker",
      size: { cpuMilli: 2000, memoryMib: 200 },
    });
  });

  it("know the end of a Slurm job, unless told another", () => {
    const env = { SLURM_JOB_END_TIME: "1800000000" };
    expect(parse([], env).endsAtMs).toBe(1_800_000_000_000);
    expect(parse(["--ends-at", "2027-01-31T12:00:00+01:00"], env).endsAtMs).toBe(Date.UTC(2027, 0, 31, 11));
  });

  it.each([
    [["--slots", "4", "--gpu", "2"], { size: { cpuMilli: 4000, memoryMib: 16_000, gpu: 2 } }],
    [["--cpu", "0.5"], { size: { cpuMilli: 500, memoryMib: 16_000, gpu: 0 } }],
    [["--prefetch-percent", "0"], { prefetchPercent: 0 }],
    [["--idle-timeout", "90"], { idleTimeoutMs: 90_000 }],
    [["--idle-timeout", "15m"], { idleTimeoutMs: 900_000 }],
    [["--idle-timeout", "720h"], { idleTimeoutMs: 720 * 3_600_000 }],
    [["--gateway", "[::1]:65535"], { gateway: "[::1]:65535" }],
    [["--cache-dir=/scratch/c"], { cacheDir: "/scratch/c" }],
  ])("%j is understood", (args, expected) => {
    expect(parse(args)).toMatchObject(expected);
  });

  it.each([
    [["--slots", "0"], "--slots"],
    [["--slots", "2", "--cpu", "2"], "--slots and --cpu"],
    [["--cpu", "0"], "--cpu"],
    [["--cpu", "4097"], "--cpu"],
    [["--memory-mib", "1e3"], "--memory-mib"],
    [["--gpu", "-1"], "--gpu"],
    [["--prefetch-percent", "1001"], "--prefetch-percent"],
    [["--idle-timeout", "721h"], "--idle-timeout"],
    [["--idle-timeout", "0"], "--idle-timeout"],
    [["--ends-at", "2027-01-31T12:00:00"], "--ends-at"],
    [["--ends-at", "tomorrow"], "--ends-at"],
    [["--gateway", "nowhere"], "--gateway"],
    [["--gateway", "h:65536"], "--gateway"],
    [["--gateway", "https://h:1"], "--gateway"],
    [["--token", "s3cret"], "--token"],
  ])("%j is refused by name", (args, named) => {
    expect(() => parse(args)).toThrow(named);
  });

  it("a missing one says how to give it; a token on the command line is not repeated", () => {
    expect(() => parseOptions([], {}, machine)).toThrow("--gateway is missing: give --gateway host:port or set AIRAVATA_GATEWAY");
    expect(() => parse(["--token=s3cret"])).toThrow(/^(?!.*s3cret)/);
    expect(() => parse(["s3cret"])).toThrow(/^(?!.*s3cret)/);
  });
});
