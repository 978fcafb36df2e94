/** ENCODE: contents of files as attachments. A browser must neither show nor run them. */

/** RFC 6266; anything unusual in the name is percent-encoded. */
const attachment = (name: string): string =>
  `attachment; filename="${name.replace(/[^A-Za-z0-9._-]/g, "_")}"; filename*=UTF-8''${encodeURIComponent(name)}`;

export const lastOf = (path: string): string => path.split("/").at(-1) || "output";

export const attachmentHeaders = (name: string, type = "application/octet-stream"): Record<string, string> => ({
  "content-type": type,
  "content-disposition": attachment(name),
  "content-security-policy": "default-src 'none'; sandbox",
});
