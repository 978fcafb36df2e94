/**
 * completion bash|zsh|fish: a script for the shell, made from the tree of commands. It holds everything that it offers, so that
 * pressing a key asks nobody and starts no process.
 */
import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Word {
  readonly text: string;
  readonly about: string;
}

/** What may follow a command, named by its path from the top (`""`, `experiment`, `experiment run`). */
interface Place {
  readonly path: string;
  readonly words: readonly Word[];
  /** Values of an option that takes one of a few. */
  readonly choices: readonly { readonly option: string; readonly values: readonly string[] }[];
}

const flagsOf = (option: Option): string[] => [option.short, option.long].filter((flag) => flag !== undefined && flag !== null);

function placesOf(command: Command, path = ""): Place[] {
  const { commands, options } = command;
  const help = command.createHelp();
  const visible = help.visibleCommands(command).filter((child) => child.name() !== "help");
  const place: Place = {
    path,
    words: [
      ...visible.map((child) => ({ text: child.name(), about: child.description() })),
      ...options.filter((o) => !o.hidden).map((o) => ({ text: o.long ?? o.short ?? "", about: o.description })),
      { text: "--help", about: "how it is used" },
    ],
    choices: options.flatMap((o) =>
      o.argChoices === undefined ? [] : flagsOf(o).map((option) => ({ option, values: o.argChoices ?? [] })),
    ),
  };
  return [place, ...commands.flatMap((child) => placesOf(child, `${path} ${child.name()}`.trim()))];
}

/** For any POSIX shell and fish: nothing in it is expanded. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const fishQuote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
const words = (list: readonly string[]): string => quote(list.join(" "));

/** Bash and zsh find out in the same way where on the line the cursor is. */
function pathFunction(name: string, places: readonly Place[]): string[] {
  const known = places.filter(({ path }) => path !== "").map(({ path }) => quote(path));
  return [
    `${name}_path() {`,
    '  local word path=""',
    '  for word in "$@"; do',
    '    case "${path:+$path }$word" in',
    `      ${known.join("|")}) path="\${path:+$path }$word" ;;`,
    "    esac",
    "  done",
    '  printf "%s" "$path"',
    "}",
  ];
}

function bash(name: string, places: readonly Place[]): string[] {
  const choices = places.flatMap(({ path, choices: list }) =>
    list.map(({ option, values }) => `    ${quote(`${path}:${option}`)}) words=${words(values)} ;;`),
  );
  const all = places.map(({ path, words: list }) => `      ${quote(path)}) words=${words(list.map(({ text }) => text))} ;;`);
  return [
    `# ${name} completion bash > ~/.local/share/bash-completion/completions/${name}`,
    ...pathFunction(`_${name}`, places),
    `_${name}() {`,
    '  local cur="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" path words=""',
    `  path="$(_${name}_path "\${COMP_WORDS[@]:1:COMP_CWORD-1}")"`,
    '  case "$path:$previous" in',
    ...choices,
    '    *) case "$path" in',
    ...all,
    "    esac ;;",
    "  esac",
    '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")',
    "}",
    `complete -o default -F _${name} ${name}`,
  ];
}

function zsh(name: string, places: readonly Place[]): string[] {
  const line = ({ text, about }: Word): string => quote(`${text.replaceAll(":", "\\:")}:${about}`);
  const choices = places.flatMap(({ path, choices: list }) =>
    list.map(({ option, values }) => `    ${quote(`${path}:${option}`)}) compadd -- ${values.map(quote).join(" ")}; return ;;`),
  );
  const all = places.map(({ path, words: list }) => `    ${quote(path)}) offered=(${list.map(line).join(" ")}) ;;`);
  return [
    `#compdef ${name}`,
    `# ${name} completion zsh > a folder of $fpath, as _${name}`,
    ...pathFunction(`_${name}`, places),
    `_${name}() {`,
    '  local path_ previous="${words[CURRENT-1]}"',
    "  local -a offered",
    `  path_="$(_${name}_path "\${(@)words[2,CURRENT-1]}")"`,
    '  case "$path_:$previous" in',
    ...choices,
    "  esac",
    '  case "$path_" in',
    ...all,
    "  esac",
    `  _describe ${quote(name)} offered`,
    "  _files",
    "}",
    `if [ "$funcstack[1]" = "_${name}" ]; then _${name} "$@"; else compdef _${name} ${name}; fi`,
  ];
}

function fish(name: string, places: readonly Place[]): string[] {
  const known = places.filter(({ path }) => path !== "").map(({ path }) => fishQuote(path));
  const lines = places.flatMap(({ path, words: list, choices }) => {
    const at = `complete -c ${name} -n ${fishQuote(`test (__${name}_path) = ${fishQuote(path)}`)}`;
    const taken = new Map(choices.map(({ option, values }) => [option, values]));
    return list.map(({ text, about }) => {
      const values = taken.get(text);
      const what = text.startsWith("--") ? `-l ${text.slice(2)}` : `-a ${fishQuote(text)}`;
      return `${at} ${what} -d ${fishQuote(about)}${values === undefined ? "" : ` -x -a ${fishQuote(values.join(" "))}`}`;
    });
  });
  return [
    `# ${name} completion fish > ~/.config/fish/completions/${name}.fish`,
    `function __${name}_path`,
    "  set -l path ''",
    "  for word in (commandline -opc)[2..-1]",
    '    set -l longer (string trim -- "$path $word")',
    `    if contains -- "$longer" ${known.join(" ")}`,
    "      set path $longer",
    "    end",
    "  end",
    '  echo -- "$path"',
    "end",
    ...lines,
  ];
}

const WRITERS = { bash, zsh, fish } as const;

export function completionScript(shell: Shell, program: Command): string {
  return `${WRITERS[shell](program.name(), placesOf(program)).join("\n")}\n`;
}
