/**
 * One request for every row of the route table, so that tests that go over all routes need no change for a new one. A new body or
 * a new parameter of a path needs a line here; without it every such test fails and says so.
 */
import { type OperationId, routeOf } from "../../shared/api/routes.ts";
import { EXPERIMENT_YAML } from "./fake-http-deps.ts";

/** What paths may name, by the collection that they lie in; other parameters by their own name. */
export interface Named {
  readonly experiments: string;
  readonly tokens: string;
  readonly users: string;
  readonly projects: string;
  readonly storage: string;
}

const OTHERS: Readonly<Record<string, string>> = { set: "hello", number: "0", name: "OUT", user: "bob" };

const QUERIES: Partial<Record<OperationId, string>> = {
  deleteMe: "?experiments=delete&confirm=alice",
  deleteUser: "?experiments=keep",
  getFile: "?path=/in.txt",
  putFile: "?path=/in.txt&replace=true",
};

const json = (value: unknown) => ({ type: "application/json", text: JSON.stringify(value) });
const yaml = { type: "application/yaml", text: EXPERIMENT_YAML };
const BODIES: Partial<Record<OperationId, { readonly type: string; readonly text: string }>> = {
  login: json({ name: "alice", password: "wrong" }),
  refreshLogin: json({ refreshToken: "art_forged" }),
  register: json({ name: "mallory", password: "correct horse battery" }),
  editMe: json({ fullName: "A. Lice" }),
  changePassword: json({ current: "correct horse battery", next: "another horse entirely" }),
  createToken: json({ name: "ci", scopes: ["read"] }),
  createProject: json({ name: "Rain" }),
  editProject: json({ description: "of Seattle" }),
  setMember: json({ user: "bob", role: "viewer" }),
  createUser: json({ name: "carol", password: "correct horse battery" }),
  resetPassword: json({ password: "another horse entirely" }),
  planExperiment: yaml,
  createExperiment: yaml,
  retryExperiment: json({}),
  editExperiment: json({ priority: 5 }),
  deriveExperiment: json({ set: { WHO: "[dan]" } }),
  putFile: { type: "application/octet-stream", text: "new" },
  redriveDeadLetters: json({ queue: "schedule" }),
  registerResource: json({ kind: "POSIX", name: "data", root: "/data" }),
};

/** The path with its parameters filled in. */
export function pathOf(id: OperationId, named: Named): string {
  const { path } = routeOf(id);
  const collection = path.split("/")[2] as keyof Named;
  const filled = path.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = key === "id" || key === "storage" ? named[collection] : OTHERS[key];
    if (value === undefined) throw new Error(`${id}: say in test/support/route-requests.ts what {${key}} of ${path} is`);
    return value;
  });
  return `${filled}${QUERIES[id] ?? ""}`;
}

export function requestOf(id: OperationId, named: Named, token: string | undefined, headers: Record<string, string> = {}): Request {
  const route = routeOf(id);
  const body = BODIES[id];
  if (route.body !== undefined && body === undefined) throw new Error(`${id}: give it a body in test/support/route-requests.ts`);
  const all = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { "content-type": body.type }),
    ...headers,
  };
  const init = { method: route.method, headers: all, ...(body === undefined ? {} : { body: body.text }) };
  return new Request(`http://test${pathOf(id, named)}`, init);
}
