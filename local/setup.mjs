/**
 * Makes `npm start` and `npm test` work on a fresh clone: installs the dependencies when they are not those of the lock
 * file. Runs before every npm script, on any Node from 20 on (the rest runs on the Node 24 that it installs), so it is
 * plain JavaScript without dependencies.
 *
 * A good install leaves the hash of its lock file behind. The mere presence of node_modules proves nothing: an
 * interrupted install leaves one too.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const lockFile = join(root, "package-lock.json");
const hashFile = join(modules, ".airavata-lock-hash");

/** Platforms for which the embedded DynamoDB engine has a binary. */
const PLATFORMS = ["linux-x64"];

const say = (line) => process.stderr.write(`airavata: ${line}\n`);
const readText = (file) => (existsSync(file) ? readFileSync(file, "utf8") : "");
const hashOf = (text) => createHash("sha256").update(text).digest("hex");

function checkPlatform() {
  const here = `${process.platform}-${process.arch}`;
  if (PLATFORMS.includes(here) || process.env.AIRAVATA_DYNAMODB_ENDPOINT) return;
  say(`${here} lacks one part: the embedded DynamoDB engine (dynoxide) is installed for ${PLATFORMS.join(", ")} only.`);
  say("Start Amazon's DynamoDB Local (java -jar DynamoDBLocal.jar -sharedDb), tell its address and try again:");
  say("  export AIRAVATA_DYNAMODB_ENDPOINT=http://127.0.0.1:8000");
  process.exit(1);
}

/** True when npm finished another install since the last good one (`npm install <name>`) and it agrees with the lock file. */
function isInstalledByNpm(lockText) {
  const installedText = readText(join(modules, ".package-lock.json"));
  if (!existsSync(hashFile) || installedText === "") return false;
  const wanted = JSON.parse(lockText).packages;
  const installed = JSON.parse(installedText).packages;
  return Object.entries(wanted).every(([path, { version, optional, peer }]) => {
    if (path === "" || (installed[path] === undefined && (optional || peer))) return true;
    return installed[path]?.version === version;
  });
}

function install() {
  say("installing dependencies (npm ci); about a minute the first time, nothing when they are in place");
  // The Node 24 inside node_modules goes away during the install: npm must not run on it.
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.endsWith(join("node_modules", ".bin")));
  const options = { cwd: root, stdio: ["ignore", 2, 2], env: { ...process.env, PATH: path.join(delimiter) } };
  const done = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], options);
  if (done.status === 0) return;
  say(
    `npm ci failed (${done.error?.message ?? done.signal ?? `exit code ${done.status}`}); what it said stands above. Fix that and try again.`,
  );
  process.exit(1);
}

function checkNode() {
  const node = join(modules, ".bin", "node");
  const told = spawnSync(node, ["--version"], { encoding: "utf8" });
  if (told.stdout?.startsWith("v24.")) return;
  say(`${node} is not Node 24. Its install script did not run: npm must not be set to ignore-scripts. Then run npm ci.`);
  process.exit(1);
}

checkPlatform();
const lockText = readText(lockFile);
const hash = hashOf(lockText);
if (readText(hashFile) !== hash) {
  if (!isInstalledByNpm(lockText)) install();
  checkNode();
  writeFileSync(hashFile, hash);
}
