/** Projects and who belongs to them. */
import { ROLES } from "#domain/account.ts";
import * as z from "zod";
import { idOf, instantMs, pageOf } from "./identity.ts";

const NAME_CHARACTERS_MAX = 64;
const DESCRIPTION_CHARACTERS_MAX = 2000;
const USER_CHARACTERS_MAX = 64;

const name = z
  .string()
  .max(NAME_CHARACTERS_MAX)
  .regex(/^[\p{L}\p{N}]([\p{L}\p{N} ._-]*[\p{L}\p{N}])?$/u, "must have letters and digits, between them also spaces and . _ -")
  .refine((text) => text !== "personal", "is the name of everybody's own project");
const description = z.string().max(DESCRIPTION_CHARACTERS_MAX);

export const projectRequest = z.strictObject({ name, description: description.default("") });
export const projectEdit = z
  .strictObject({ name: name.exactOptional(), description: description.exactOptional(), archived: z.boolean().exactOptional() })
  .refine((change) => Object.keys(change).length > 0, "names nothing to change");

export const project = z.object({
  id: idOf("project"),
  name: z.string(),
  description: z.string(),
  creator: idOf("user"),
  archived: z.boolean().describe("Takes no new experiments"),
  personal: z.boolean().describe("One's own, shared with nobody"),
  createdAtMs: instantMs,
});
export type ProjectAnswer = z.output<typeof project>;
export const projectPage = pageOf(project);

const role = z.enum(ROLES);
export const userNamed = z.string().min(1).max(USER_CHARACTERS_MAX).describe("Id or name");
export const memberRequest = z.strictObject({ user: userNamed, role });
export const member = z.object({ user: idOf("user"), name: z.string().exactOptional().describe("Unless the account is gone"), role });
export const memberPage = pageOf(member);
