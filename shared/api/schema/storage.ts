/** Files and folders of storage resources. */
import * as z from "zod";
import { count, pageOf } from "./identity.ts";

const storageEntry = z.object({
  path: z.string(),
  kind: z.enum(["file", "folder"]),
  bytes: count,
  stamp: z.string().describe("Changes whenever the content may have"),
});
export const storagePage = pageOf(storageEntry);
export const storageFile = storageEntry.extend({ sha256: z.string() });
