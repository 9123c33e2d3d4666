import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BenchedRegistry, REGISTRY_TYPES } from './registries/measure-registries.ts';

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
  /** Undefined without `--registries`, which replaces all other measurements. */
  readonly registries: RegistryOptions | undefined;
  /** A folder for CPU profiles of the operator. */
  readonly cpuProfiles: string | undefined;
}

export interface RegistryOptions {
  readonly types: readonly BenchedRegistry[];
  readonly fewServices: number;
  /** Undefined: the load is not measured. */
  readonly manyServices: number | undefined;
  readonly changes: number;
  readonly rate: number;
  readonly seconds: number;
}

export const USAGE = `npm run bench -- [flags]

  --short              100 upstreams, 200 changes; exits with 1 if a change is lost or a write is needless
  --sizes 100,1000     numbers of upstreams (default 100,1000,10000)
  --only PART,...      ${PARTS.join(', ')} (default all; each part depends on the parts before it)
  --rate 10,100        changes per second, one measurement each (default 10,100)
  --changes N          changes of one measurement (default 30 s of them, at least 300, at most 1000)
  --json FILE          write the results, for npm run bench:plot
  --registries         measure service registries instead: --short runs Consul with 20 services
  --registry TYPE,...  ${REGISTRY_TYPES.join(', ')} (default all); the last of --sizes is the number of services (default 1000)
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
    parts: new Set(
      oneOf('--only', PARTS, values.only ?? (short ? 'propagation,programming,start' : PARTS.join(','))),
    ),
    changesAt: (rate) => changes ?? (short ? 200 : Math.min(Math.max(rate * 30, 300), 1000)),
    json: values.json,
    registries: values.registries ? registries(values, changes) : undefined,
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
        registries: { type: 'boolean', default: false },
        registry: { type: 'string' },
        'cpu-prof': { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new FlagError(error instanceof Error ? error.message : String(error));
  }
}

function registries(
  { short, registry, sizes, rate }: ReturnType<typeof parse>['values'],
  changes: number | undefined,
): RegistryOptions {
  return {
    types: oneOf('--registry', REGISTRY_TYPES, registry ?? (short ? 'Consul' : REGISTRY_TYPES.join(','))),
    fewServices: short ? 20 : 50,
    manyServices: numbers('--sizes', sizes ?? (short ? '200' : '1000')).at(-1),
    changes: changes ?? (short ? 20 : 300),
    rate: numbers('--rate', rate ?? '10').at(-1) ?? 10,
    seconds: short ? 5 : 30,
  };
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

function oneOf<T extends string>(flag: string, known: readonly T[], text: string): readonly T[] {
  return text.split(',').map((item) => {
    const found = known.find((candidate) => candidate === item);
    if (found === undefined) throw new FlagError(`${flag} takes ${known.join(', ')}, not ${item}`);
    return found;
  });
}
