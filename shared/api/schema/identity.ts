/** Ids, accounts and what is common to many answers. */
import { type Id, type IdKind, parseId } from "#domain/id.ts";
import * as z from "zod";

/** Text of an id of the given kind, branded once it has been read. */
export const idOf = <K extends IdKind>(kind: K): z.ZodType<Id<K>, string> =>
  z
    .string()
    .max(64)
    .refine((text) => parseId(kind, text) !== undefined, `is not the id of a known ${kind}`) as unknown as z.ZodType<Id<K>, string>;

export const instantMs = z.int().min(0).describe("Milliseconds since 1970");
export const count = z.int().min(0);

export const PAGE_ITEMS_MAX = 1000;
export const PAGE_ITEMS_DEFAULT = 100;
const CURSOR_CHARACTERS_MAX = 4096;

export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(PAGE_ITEMS_MAX).default(PAGE_ITEMS_DEFAULT),
  cursor: z.string().min(1).max(CURSOR_CHARACTERS_MAX).exactOptional(),
};

export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item).readonly(), cursor: z.string().exactOptional().describe("Give it back as `cursor` for the next page") });

export const user = z.object({ id: idOf("user"), name: z.string() });

const NAME_CHARACTERS_MAX = 64;
const PASSWORD_CHARACTERS_MAX = 1024;

export const loginRequest = z.strictObject({
  name: z.string().min(1).max(NAME_CHARACTERS_MAX),
  password: z.string().min(1).max(PASSWORD_CHARACTERS_MAX),
});

const partState = z.enum(["ok", "down"]);
export const health = z.object({
  status: z.enum(["ok", "degraded"]),
  version: z.string(),
  parts: z.record(z.string(), partState).describe("What requests need: whether it answers now"),
  deadLetters: z.int().min(0).exactOptional().describe("Messages that were given out too often; absent while that is not known"),
  links: z.object({ gateway: z.string() }).exactOptional().describe("gateway: a gateway that answers, for live logs and events"),
});
