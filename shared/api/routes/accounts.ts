/** Accounts, and whether the API is there. */
import type { Route } from "#api/route.ts";
import { health, loginAnswer, loginRequest, user } from "#api/schema/identity.ts";

export const accountRoutes = {
  login: {
    method: "POST",
    path: "/v1/login",
    summary: "Exchange name and password for a bearer token",
    permission: "public",
    body: loginRequest,
    success: { status: 200, json: loginAnswer },
    errors: ["unauthenticated", "too-large"],
    idempotent: false,
  },
  getHealth: {
    method: "GET",
    path: "/v1/health",
    summary: "Whether the API answers, and its version",
    permission: "public",
    success: { status: 200, json: health },
    errors: [],
    idempotent: false,
  },
  getMe: {
    method: "GET",
    path: "/v1/me",
    summary: "Who the token belongs to",
    permission: "authenticated",
    success: { status: 200, json: user },
    errors: [],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;
