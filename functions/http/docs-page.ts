/**
 * The OpenAPI document as one page to read: no script, nothing from elsewhere, so its policy allows nothing but its own style.
 */
import { buildOpenApi } from "#api/openapi.ts";

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly [key: string]: unknown;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly "x-permission": string;
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>
  >;
}

interface Document {
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

export const DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1b1f;background:#fff}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f4f4f6;padding:.6rem;overflow-x:auto;border-radius:4px}
section{border-top:1px solid #d8d8de;padding:.6rem 0}h2{font-size:1rem;margin:.4rem 0}nav a{display:block}
table{border-collapse:collapse;margin:.4rem 0}td,th{text-align:left;padding:.1rem .8rem .1rem 0;vertical-align:top}
@media (prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}pre{background:#232327}a{color:#8ab4f8}section{border-color:#3a3a40}}`;

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text: unknown): string => String(text).replace(/[&<>"']/g, (c) => ESCAPES[c] ?? c);
const code = (text: unknown): string => `<code>${escaped(text)}</code>`;

const shapes = (title: string, content: Readonly<Record<string, { readonly schema: Schema }>> | undefined): string =>
  Object.entries(content ?? {})
    .filter(([, { schema }]) => schema.$ref === undefined)
    .map(
      ([type, { schema }]) =>
        `<details><summary>${escaped(title)} ${code(type)}</summary><pre>${escaped(JSON.stringify(schema, null, 2))}</pre></details>`,
    )
    .join("");

function operation(path: string, method: string, op: Operation): string {
  const parameters = op.parameters.map(
    (p) =>
      `<tr><td>${code(p.name)}</td><td>${escaped(p.in)}${p.required ? "" : ", optional"}</td><td>${code(JSON.stringify(p.schema))}</td></tr>`,
  );
  const answers = Object.entries(op.responses);
  return `<section id="${escaped(op.operationId)}"><h2>${code(`${method.toUpperCase()} ${path}`)}</h2>
<p>${escaped(op.summary)}. Needs: ${code(op["x-permission"])}</p>
${parameters.length === 0 ? "" : `<table>${parameters.join("")}</table>`}
${shapes("Request", op.requestBody?.content)}
<table>${answers.map(([status, answer]) => `<tr><td>${code(status)}</td><td>${escaped(answer.description)}</td></tr>`).join("")}</table>
${answers.map(([status, answer]) => shapes(`Answer ${status}`, answer.content)).join("")}</section>`;
}

export function docsPage(version: string): string {
  const { info, paths } = buildOpenApi(version) as Document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, op]) => ({ path, method, op })),
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(info.title)} API</title><style>${STYLE}</style></head><body>
<h1>${escaped(info.title)} API ${escaped(info.version)}</h1>
<p>Send the token of <a href="#login">login</a> as ${code("Authorization: Bearer …")}. For programs: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
<nav>${operations.map(({ path, method, op }) => `<a href="#${escaped(op.operationId)}">${code(`${method.toUpperCase()} ${path}`)} ${escaped(op.summary)}</a>`).join("")}</nav>
${operations.map(({ path, method, op }) => operation(path, method, op)).join("\n")}
</body></html>
`;
}
