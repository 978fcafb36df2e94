/** The commands of accounts: auth, user, and the shorter login and context show. */
import { ROLES, SCOPES } from "#domain/account.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { AddAction } from "./session.ts";

interface Registering {
  readonly add: AddAction;
  readonly paged: (command: Command) => Command;
}

const DAYS_MAX = 366;

function readDays(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX)
    throw new InvalidArgumentError(`expects a whole number of days from 1 to ${DAYS_MAX}.`);
  return days;
}

const auth = () => import("./auth.ts");
const user = () => import("./user.ts");

const passwordFile = (command: Command): Command =>
  command.option("--password-file <file>", "read the password from a file; - is standard input");

const profile = (command: Command): Command =>
  command.option("--full-name <text>", "the name to show").option("--email <address>", "how to reach the user");

const login = (command: Command): Command =>
  passwordFile(
    command
      .description("exchange name and password for tokens, and remember them; they renew themselves")
      .option("--user <name>", "who you are (default: asked for)")
      .option("--issuer [url]", "sign in at the OpenID Connect issuer of the server instead, in a browser"),
  );

const fate = (): Option =>
  new Option("--experiments <fate>", "what becomes of the experiments that are in no project with others")
    .choices(["keep", "delete"])
    .makeOptionMandatory();

function addAuth(group: Command, { add }: Registering): void {
  const command = (usage: string, description: string) => group.command(usage).description(description);
  add(login(group.command("login")), async () => (await auth()).login);
  add(command("logout", "end the remembered login, at the server and here"), async () => (await auth()).logout);
  add(command("status", "who the server takes you for, and what your token may do"), async () => (await auth()).status);
  add(command("refresh", "renew the remembered login now; happens by itself when needed"), async () => (await auth()).refresh);
  add(
    profile(passwordFile(command("register <name>", "make an account for yourself, where that is open"))),
    async () => (await auth()).register,
  );
  const password = passwordFile(command("password", "change your password; ends every other login of yours"));
  add(password.option("--new-password-file <file>", "read the new password from a file"), async () => (await auth()).changePassword);
  const exporting = command("export", "everything of your account as JSON lines").option("--to <file>", "write it there");
  add(exporting, async () => (await auth()).exportAccount);
  const leaving = command("delete", "delete your account; it can't be had back").addOption(fate());
  add(leaving.requiredOption("--confirm <name>", "the name of the account"), async () => (await auth()).deleteAccount);
  const token = group.command("token").description("API tokens for programs (AIRAVATA_TOKEN)");
  const scope = new Option("--scope <scope...>", "what it may be used for; each takes in those before it");
  const create = token
    .command("create <name>")
    .description("make a token; its value is shown this once")
    .addOption(scope.choices(SCOPES).makeOptionMandatory())
    .option("--days <n>", "how long it is good", readDays, 90);
  add(create, async () => (await auth()).createToken);
  add(token.command("list").description("your tokens, never their values"), async () => (await auth()).listTokens);
  add(
    token.command("revoke <token>").description("by id or name; the next request with it is refused"),
    async () => (await auth()).revokeToken,
  );
}

function addUser(group: Command, { add, paged }: Registering): void {
  const command = (usage: string, description: string) => group.command(usage).description(description);
  add(paged(command("list", "users by name")), async () => (await user()).list);
  add(profile(passwordFile(command("create <name>", "make an account for somebody"))), async () => (await user()).create);
  add(command("disable <user>", "refuse a user from the next request on"), async () => (await user()).setDisabled("disableUser"));
  add(command("delete <user>", "delete somebody's account").addOption(fate()), async () => (await user()).remove);
  add(command("enable <user>", "let a user in again"), async () => (await user()).setDisabled("enableUser"));
  add(
    passwordFile(command("password <user>", "set a user's password; ends every login of the account")),
    async () => (await user()).resetPassword,
  );
}

const project = () => import("./project.ts");

function addProject(group: Command, { add }: Registering): void {
  const command = (usage: string, description: string) => group.command(usage).description(description);
  const described = (one: Command) => one.option("--description <text>", "what it is about");
  add(command("list", "the projects that you belong to"), async () => (await project()).list);
  add(described(command("create <name>", "make a project; you are its first owner")), async () => (await project()).create);
  add(command("show <project>", "a project and who belongs to it"), async () => (await project()).show);
  const edit = described(command("edit <project>", "rename or describe a project")).option("--name <text>", "what it is called");
  add(edit, async () => (await project()).edit);
  add(command("archive <project>", "take no new experiments, once those in it have ended"), async () =>
    (await project()).setArchived(true),
  );
  add(command("unarchive <project>", "take experiments again"), async () => (await project()).setArchived(false));
  add(command("delete <project>", "delete a project that no experiment is in"), async () => (await project()).remove);
  const role = new Option("--role <role>", "what somebody may do there").choices(ROLES).makeOptionMandatory();
  add(
    command("add-member <project> <user>", "let somebody belong to a project, or change the role").addOption(role),
    async () => (await project()).addMember,
  );
  add(command("remove-member <project> <user>", "let somebody belong to it no longer"), async () => (await project()).removeMember);
}

export function addAccountCommands(program: Command, registering: Registering): void {
  const { add } = registering;
  add(login(program.command("login")), async () => (await auth()).login);
  const context = program.command("context").alias("config").description("logins that are remembered, at several servers");
  const contexts = () => import("./contexts.ts");
  add(context.command("list").description("all of them, and which is in use"), async () => (await contexts()).list);
  add(context.command("use <name>").description("which one commands use from now on"), async () => (await contexts()).use);
  add(
    context.command("remove <name>").description("forget one here; auth logout ends it at the server too"),
    async () => (await contexts()).remove,
  );
  add(context.command("show").description("server, user and end of the login; never the token"), async () => (await auth()).showContext);
  addAuth(program.command("auth").description("signing in, your password, API tokens"), registering);
  addProject(program.command("project").description("projects: experiments that people share"), registering);
  addUser(program.command("user").description("accounts (administrators)"), registering);
}
