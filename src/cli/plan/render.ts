import { styleText } from 'node:util';
import { Document, stringify } from 'yaml';
import { formatPlace, nodeLine } from '../../decide/diff.ts';
import type { GatewayListing, Plan, PlannedUpstream } from './planned.ts';
import type { TakeOver } from './take-over.ts';

export type PlanOutput = 'text' | 'json' | 'yaml';

/** Renders `plan`. `color` affects text output only. */
export function renderPlan(plan: Plan, output: PlanOutput, color: boolean): string {
  switch (output) {
    case 'json':
      return `${JSON.stringify(plan, undefined, 2)}\n`;
    case 'yaml':
      return stringify(plan, { aliasDuplicateObjects: false, lineWidth: 0 });
    case 'text':
      return planText(plan)
        .map((line) => `${color ? painted(line) : plain(line.text)}\n`)
        .join('');
    default:
      return output satisfies never;
  }
}

/** 0: no changes. 2: changes. 1: a gateway or a registry could not be read. */
export function planExitCode({ summary, gateways, registries }: Plan): 0 | 1 | 2 {
  if (summary.unknown > 0 || [...gateways, ...registries].some(({ known }) => !known)) return 1;
  return summary.create + summary.update + summary.delete > 0 ? 2 : 0;
}

/** One YAML document per upstream that can be taken over, with notes as comments. */
export function renderTakeOvers(
  all: readonly TakeOver[],
  gateways: ReadonlyMap<string, GatewayListing>,
): string {
  const unknown = [...gateways].flatMap(([connection, listing]) =>
    listing.kind === 'failed' ? [`# GatewayConnection ${connection}: ${plain(listing.message)}\n`] : [],
  );
  const documents = all.map(({ connection, upstreamId, manifest, notes }) => {
    const title = `Upstream ${upstreamId} of GatewayConnection ${connection}${manifest === undefined ? ' cannot be taken over' : ''}`;
    const comments = [title, ...notes].map((text) => `# ${plain(text)}\n`).join('');
    if (manifest === undefined) return comments;
    // kubectl reads YAML 1.1, where an unquoted `yes` is a boolean.
    const document = new Document(manifest, { version: '1.1', aliasDuplicateObjects: false });
    return `---\n${comments}${document.toString({ lineWidth: 0, directives: false })}`;
  });
  return [...unknown, ...documents].join('');
}

interface Line {
  readonly text: string;
  readonly color?: 'green' | 'red' | 'yellow' | 'magenta' | 'bold';
}

const COLORS = { '+': 'green', '-': 'red', '~': 'yellow', '=': 'magenta', '!': 'magenta' } as const;

const SIGNS = {
  None: '',
  Create: '+ create',
  Update: '~ update',
  Delete: '- delete',
  Observe: '! would be written, but syncPolicy is Observe',
  Unknown: '! unknown',
} as const satisfies Record<PlannedUpstream['action'], string>;

function planText({ gateways, registries, upstreams, summary }: Plan): readonly Line[] {
  const shown = upstreams.filter(
    ({ action, conditions, held }) => action !== 'None' || conditions.length > 0 || held !== undefined,
  );
  const parts = [
    `${summary.create} to create`,
    `${summary.update} to update`,
    `${summary.delete} to delete`,
    `${summary.none} unchanged`,
    ...(summary.observe === 0 ? [] : [`${summary.observe} observed only`]),
    ...(summary.unknown === 0 ? [] : [`${summary.unknown} unknown`]),
    ...(summary.problems === 0 ? [] : [`${summary.problems} with problems`]),
  ];
  return [
    ...gateways.flatMap(({ connection, message }) =>
      message === undefined ? [] : [line(`! GatewayConnection ${connection}: ${message}`)],
    ),
    // These messages begin with the ServiceRegistry.
    ...registries.flatMap(({ message }) => (message === undefined ? [] : [line(`! ${message}`)])),
    ...shown.flatMap(upstreamLines),
    { text: `Plan: ${parts.join(', ')}.`, color: 'bold' },
  ];
}

function upstreamLines(upstream: PlannedUpstream): readonly Line[] {
  const { connection, object, upstreamId, action, why, nodes, fields, held, conditions } = upstream;
  const where = upstreamId === undefined ? '' : `, upstream ${upstreamId}`;
  return [
    { text: `${object.namespace}/${object.name} (connection ${connection}${where})`, color: 'bold' },
    line(action === 'None' ? `  ${why}` : `  ${SIGNS[action]}: ${why}`),
    ...nodes.map((node) => line(`    ${nodeLine(node)}${node.why === undefined ? '' : `  (${node.why})`}`)),
    ...fields.map(({ field, before, after }) => {
      if (before === undefined) return line(`    + ${field}: ${JSON.stringify(after)}`);
      if (after === undefined) return line(`    - ${field}: ${JSON.stringify(before)}`);
      return line(`    ~ ${field}: ${JSON.stringify(before)} -> ${JSON.stringify(after)}`);
    }),
    ...(held?.nodes ?? []).map((node) =>
      line(`    = ${formatPlace(node)} is kept by the removal guard ${endOfHold(held?.until)}: ${node.why}`),
    ),
    ...conditions.map(({ type, status, reason, message }) =>
      line(`  ! ${type}=${status} ${reason}: ${message}`),
    ),
  ];
}

function endOfHold(until: string | undefined): string {
  return until === undefined ? 'until the removal is accepted' : `until ${until}`;
}

/** The sign at the start of the line determines its color. */
function line(text: string): Line {
  const sign = text.trimStart().slice(0, 1);
  return sign in COLORS ? { text, color: COLORS[sign as keyof typeof COLORS] } : { text };
}

function painted({ text, color }: Line): string {
  return color === undefined ? plain(text) : styleText(color, plain(text), { validateStream: false });
}

/** Escapes control characters, so that text from a gateway or a manifest cannot control the terminal. */
function plain(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
