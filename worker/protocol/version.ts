/** Raised by every change that an older peer would misread. Agent and gateway must agree exactly. */
export const PROTOCOL_VERSION = 1;
/** Version of this release, told by agents, gateways and the CLI. */
export const RELEASE_VERSION = "0.1.0";
