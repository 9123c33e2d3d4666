import { OPERATOR } from '../api/group.ts';
import { COMMANDS, type CommandDescription, type CommandName, type Flag } from './commands.ts';

const HELP_FLAG: Flag = { type: 'boolean', short: 'h', help: 'Show this help' };
const VERSION_FLAG: Flag = { type: 'boolean', help: 'Show the version' };

/** The help of the program, or of one of its commands. */
export function helpOf(name: CommandName | undefined): string {
  return name === undefined ? programHelp() : commandHelp(name, COMMANDS[name]);
}

function programHelp(): string {
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary] as const);
  return `Keeps the upstreams of API gateways in sync with the endpoints in a Kubernetes cluster.

The operator watches GatewayConnections, GatewayUpstreams and GatewayUpstreamSets. When the endpoints of a Service
change, it updates the upstreams in the gateway. It does not manage routes.

Usage:
  ${OPERATOR} COMMAND [flags]

Commands:
${columns(commands)}

Examples:
${examplesText([
  ['Install the CRDs and the permissions', `${OPERATOR} install`],
  ['Run the operator', `${OPERATOR} run --config config.yaml`],
  ['Find out why an upstream is not updated', `${OPERATOR} check`],
])}

Flags:
${flagsText({ version: VERSION_FLAG })}

Use "${OPERATOR} COMMAND --help" for more information about a command.
`;
}

function commandHelp(name: CommandName, { description, examples, flags }: CommandDescription): string {
  return `${description}

Usage:
  ${OPERATOR} ${name} [flags]

Examples:
${examplesText(examples)}

Flags:
${flagsText(flags)}
`;
}

function examplesText(examples: CommandDescription['examples']): string {
  return examples.map(([comment, command]) => `  # ${comment}\n  ${command}`).join('\n\n');
}

function flagsText(flags: CommandDescription['flags']): string {
  const all = Object.entries({ ...flags, help: HELP_FLAG });
  return columns(
    all.map(([name, { short, value, help }]) => [
      `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`,
      help,
    ]),
  );
}

function columns(rows: readonly (readonly [left: string, right: string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}`).join('\n');
}
