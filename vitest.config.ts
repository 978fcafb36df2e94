import { defineConfig } from "vitest/config";

/** One project for each kind of test; `real` needs components that npm does not bring and runs by `npm run test:real` only. */
const project = (name: string, testTimeoutMs: number) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: testTimeoutMs,
    hookTimeout: testTimeoutMs,
    teardownTimeout: 10_000,
  },
});

export default defineConfig({
  test: {
    projects: [
      project("unit", 10_000),
      project("contract", 30_000),
      project("architecture", 60_000),
      project("simulation", 60_000),
      project("scenario", 30_000),
      project("e2e", 120_000),
      project("real", 120_000),
    ],
  },
});
