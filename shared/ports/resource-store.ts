/** ResourceStore: compute and storage resources as registered. */
import type { Resource } from "#domain/resource.ts";

export interface ResourceStore {
  /** Puts it under its name [absent, or the same id]; `false`: the name is taken. */
  putResource(resource: Resource): Promise<boolean>;
  readResource(name: string): Promise<Resource | undefined>;
  /** All, by name. */
  listResources(): Promise<readonly Resource[]>;
}
