import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const PARTS = ['early', 'propagation', 'programming', 'start', 'idle', 'storm', 'takeover'] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  /** Numbers of upstreams, each with ten endpoints. */
  readonly sizes: readonly number[];
  readonly parts: ReadonlySet<Part>;
  /** Changes per second, one measurement each. */
  readonly rates: readonly number[];
  /** The number of changes in one measurement. */
  readonly changesAt: (rate: number) => number;
  /** The file for the results as JSON. */
  readonly json: string | undefined;
  /** A folder for CPU profiles of the operator. */
  readonly cpuProfiles: string | undefined;
}

export const USAGE = `npm run bench -- [flags]

  --short              100 upstreams, 200 changes; exits with 1 if a change is lost or a write is needless
  --sizes 100,1000     numbers of upstreams (default 100,1000,10000)
  --only PART,...      ${PARTS.join(', ')} (default all; each part depends on the parts before it)
  --rate 10,100        changes per second, one measurement each (default 10,100)
  --changes N          changes of one measurement (default 30 s of them, at least 300, at most 1000)
  --json FILE          write the results, for npm run bench:plot
  --cpu-prof FOLDER    write a CPU profile of each operator

  APISIX_ADMIN_URL, APISIX_ADMIN_KEY: use a real APISIX instead of the stand-in
`;

/** Invalid flags. The message says what to use instead. */
export class FlagError extends Error {}

/** Returns undefined for `--help`. Throws `FlagError`. */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const { short } = values;
  const changes = values.changes === undefined ? undefined : positive('--changes', values.changes);
  return {
    sizes: numbers('--sizes', values.sizes ?? (short ? '100' : '100,1000,10000')),
    rates: numbers('--rate', values.rate ?? (short ? '50' : '10,100')),
    parts: new Set(parts(values.only ?? (short ? 'propagation,programming,start' : PARTS.join(',')))),
    changesAt: (rate) => changes ?? (short ? 200 : Math.min(Math.max(rate * 30, 300), 1000)),
    json: values.json,
    cpuProfiles: values['cpu-prof'] === undefined ? undefined : resolve(values['cpu-prof']),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        short: { type: 'boolean', default: false },
        sizes: { type: 'string' },
        only: { type: 'string' },
        rate: { type: 'string' },
        changes: { type: 'string' },
        json: { type: 'string' },
        'cpu-prof': { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new FlagError(error instanceof Error ? error.message : String(error));
  }
}

function numbers(flag: string, text: string): readonly number[] {
  return text.split(',').map((item) => positive(flag, item));
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000) {
    throw new FlagError(`${flag} takes whole numbers from 1 to 100000, not ${text}`);
  }
  return value;
}

function parts(text: string): readonly Part[] {
  return text.split(',').map((item) => {
    const part = PARTS.find((candidate) => candidate === item);
    if (part === undefined) throw new FlagError(`--only takes ${PARTS.join(', ')}, not ${item}`);
    return part;
  });
}
