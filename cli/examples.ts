/** Examples that `--help` shows, by command. A test parses each line and asks for one at every command. */
const ID = "exp_01k2v8w0c3f4n5p6q7r8s9t0ab";

export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  login: ["airavata login --user ada", "airavata login --server https://scheduler.example.org --user ada --password-file ./password"],
  "context show": ["airavata context show --json"],
  "experiment plan": [
    "airavata experiment plan rain.yaml",
    "airavata experiment plan rain.yaml --set YEAR=2012..2015 --set-compute cpu=2,ram_gb=4",
  ],
  "experiment run": [
    "airavata experiment run rain.yaml",
    "airavata experiment run rain.yaml --set THRESHOLD=0.5 --detach",
    "airavata experiment run rain.yaml --without conda,pip --json",
  ],
  "experiment status": [`airavata experiment status ${ID}`],
  "experiment watch": [`airavata experiment watch ${ID}`],
  "experiment list": ["airavata experiment list --limit 20", "airavata experiment list --all --json"],
  "experiment tasks": [`airavata experiment tasks ${ID} --state FAILED`, `airavata experiment tasks ${ID} --set count --all`],
  "experiment task": [`airavata experiment task ${ID} count/3`],
  "experiment outputs": [`airavata experiment outputs ${ID} --set merge`],
  "experiment download": [`airavata experiment download ${ID} --to results --set merge`],
  "experiment submit": [`airavata experiment submit ${ID}`],
  "experiment pause": [`airavata experiment pause ${ID}`],
  "experiment resume": [`airavata experiment resume ${ID}`],
  "experiment retry": [
    `airavata experiment retry ${ID}`,
    `airavata experiment retry ${ID} --cause timeout out-of-memory`,
    `airavata experiment retry ${ID} --task count/3 count/7`,
  ],
  "experiment edit": [`airavata experiment edit ${ID} --priority 10`],
  "experiment resubmit": [`airavata experiment resubmit ${ID}`],
  "experiment cancel": [`airavata experiment cancel ${ID}`],
  cost: ["airavata cost", `airavata cost ${ID} --json`],
  "resource list": ["airavata resource list"],
  "resource register": ["airavata resource register shared-data --kind POSIX --root /srv/shared-data --open"],
  "data ls": ["airavata data ls shared-data:/weather"],
  "data put": ["airavata data put rain.csv shared-data:/weather/", "airavata data put -r inputs shared-data:/run-7/ --replace"],
  "data get": ["airavata data get shared-data:/weather/rain.csv", "airavata data get -r shared-data:/run-7 results"],
  "worker list": ["airavata worker list --json"],
  completion: ["airavata completion bash > ~/.local/share/bash-completion/completions/airavata"],
};
