import { status } from "@grpc/grpc-js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ERROR_KINDS, type ErrorKind, SchedulerError } from "#domain/error.ts";
import { backoffMs, REDIAL } from "#protocol/backoff.ts";
import { failureOfStatus, outcomeOfStatus, statusOfError } from "#protocol/outcome.ts";

describe("outcomes", () => {
  it.each(Object.keys(ERROR_KINDS) as ErrorKind[])("%s keeps over the wire whether it may pass with time", (kind) => {
    const wire = statusOfError(new SchedulerError(kind, "what happened: what to do"));
    expect(wire).toBeDefined();
    if (wire === undefined) return;
    expect(failureOfStatus(wire)).toEqual({
      kind: ERROR_KINDS[kind] === "terminal" ? "fatal" : "retryable",
      reason: "what happened: what to do",
    });
  });

  it("every status has one", () => {
    const retryable = [
      status.CANCELLED,
      status.UNKNOWN,
      status.DEADLINE_EXCEEDED,
      status.RESOURCE_EXHAUSTED,
      status.ABORTED,
      status.INTERNAL,
      status.UNAVAILABLE,
    ];
    for (let code = 1; code <= 16; code++) {
      expect(failureOfStatus({ code, details: "" }).kind, status[code]).toBe(retryable.includes(code) ? "retryable" : "fatal");
    }
    expect(failureOfStatus({ code: 99 as status, details: "" })).toEqual({ kind: "retryable", reason: "the gateway answered 99" });
    expect(outcomeOfStatus({ code: status.OK, details: "" }, false)).toEqual({ kind: "served" });
    expect(outcomeOfStatus({ code: status.OK, details: "" }, true)).toEqual({ kind: "drained" });
    expect(outcomeOfStatus({ code: status.UNAVAILABLE, details: "x" }, true).kind).toBe("retryable");
  });

  it("an error that is not ours is not for the wire; a sentence is bounded and well-formed", () => {
    expect(statusOfError(new Error("secret"))).toBeUndefined();
    const details = statusOfError(new SchedulerError("conflict", `\ud800${"x".repeat(5000)}`))?.details ?? "";
    expect(details.length).toBe(1000);
    expect(() => encodeURI(details)).not.toThrow();
  });
});

describe("backoff", () => {
  it("is uniform below a ceiling that doubles and stays", () => {
    expect([1, 2, 3, 4].map((n) => backoffMs(n, () => 0.5))).toEqual([250, 500, 1000, 2000]);
    expect(backoffMs(1, () => 0)).toBe(0);
    expect(backoffMs(10_000, () => 0.5)).toBe(REDIAL.ceilingMs / 2);
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (failures, random) => {
        const ms = backoffMs(failures, () => random);
        expect(Number.isInteger(ms) && ms >= 0 && ms < REDIAL.ceilingMs).toBe(true);
      }),
    );
  });
});
