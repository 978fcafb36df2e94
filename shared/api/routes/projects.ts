/** Projects: what experiments are in, and who reaches them by that. */
import type { Route } from "#api/route.ts";
import { done } from "#api/schema/account.ts";
import { idOf, pageQuery } from "#api/schema/identity.ts";
import { member, memberPage, memberRequest, project, projectEdit, projectPage, projectRequest, userNamed } from "#api/schema/project.ts";
import * as z from "zod";

const ofProject = z.object({ id: idOf("project") });
const view = { on: "project", can: "view" } as const;
const manage = { on: "project", can: "manage" } as const;

export const projectRoutes = {
  listProjects: {
    method: "GET",
    path: "/v1/projects",
    summary: "The projects that you belong to; your own comes first",
    permission: "authenticated",
    query: z.strictObject(pageQuery),
    success: { status: 200, json: projectPage },
    errors: ["too-large"],
    idempotent: false,
  },
  createProject: {
    method: "POST",
    path: "/v1/projects",
    summary: "Make a project; you are its first owner",
    permission: "authenticated",
    body: projectRequest,
    success: { status: 201, json: project },
    errors: ["conflict", "too-large", "outcome-unknown"],
    idempotent: true,
  },
  getProject: {
    method: "GET",
    path: "/v1/projects/{id}",
    summary: "A project",
    permission: view,
    params: ofProject,
    success: { status: 200, json: project },
    errors: [],
    idempotent: false,
  },
  editProject: {
    method: "POST",
    path: "/v1/projects/{id}",
    summary: "Rename or describe a project, archive it when its experiments have ended, or open it again",
    permission: manage,
    params: ofProject,
    body: projectEdit,
    success: { status: 200, json: project },
    errors: ["conflict", "too-large", "outcome-unknown"],
    idempotent: true,
  },
  deleteProject: {
    method: "DELETE",
    path: "/v1/projects/{id}",
    summary: "Delete a project that no experiment is in",
    permission: manage,
    params: ofProject,
    success: { status: 200, json: done },
    errors: ["conflict", "outcome-unknown"],
    idempotent: false,
  },
  listMembers: {
    method: "GET",
    path: "/v1/projects/{id}/members",
    summary: "Who belongs to a project, and as what",
    permission: view,
    params: ofProject,
    query: z.strictObject(pageQuery),
    success: { status: 200, json: memberPage },
    errors: ["too-large"],
    idempotent: false,
  },
  setMember: {
    method: "POST",
    path: "/v1/projects/{id}/members",
    summary: "Make somebody an owner, editor or viewer, in place of what they were",
    permission: manage,
    params: ofProject,
    body: memberRequest,
    success: { status: 200, json: member },
    errors: ["conflict", "too-large"],
    idempotent: true,
  },
  removeMember: {
    method: "DELETE",
    path: "/v1/projects/{id}/members/{user}",
    summary: "Let somebody belong to a project no longer, from the next request on. A no-op when it is so",
    permission: manage,
    params: ofProject.extend({ user: userNamed }),
    success: { status: 200, json: done },
    errors: ["conflict"],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;
