/** The folder of public data sets that ships in the package vega-datasets (which exports no paths of its own). */
import { join, resolve } from "node:path";

export const SAMPLE_DATA = join(resolve(import.meta.dirname, ".."), "node_modules", "vega-datasets", "data");
