import { parseArgs } from 'node:util';
import { type ControlPlane, startControlPlane } from '../test/support/control-plane/control-plane.ts';
import { requireTool } from '../test/support/external-tool.ts';
import { installCrds } from '../test/support/operator.ts';
import { ensureConsul } from '../test/support/registries/consul-binary.ts';
import { churn } from './churn.ts';
import { type Outcome, run } from './run.ts';

const MINUTE_MS = 60_000;
const TRACES = '.test-results/chaos';

const USAGE = `npm run chaos -- --seed N --steps M        run changes and faults of one seed
npm run chaos -- --seeds 1-5 --steps M     run each seed
npm run chaos -- --churn --minutes M --rate N   make N changes a second for M minutes, without faults

--traces DIR   folder for traces (default ${TRACES})
`;

const { values } = parseArgs({
  options: {
    churn: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '30' },
    rate: { type: 'string', default: '20' },
    seed: { type: 'string' },
    seeds: { type: 'string' },
    steps: { type: 'string', default: '200' },
    traces: { type: 'string', default: TRACES },
    help: { type: 'boolean', default: false },
  },
});

function seeds(): readonly number[] {
  const text = values.seed ?? values.seeds ?? '1';
  const [first = Number.NaN, last = first] = text.split('-').map(Number);
  if (!Number.isInteger(first) || !Number.isInteger(last) || last < first) {
    throw new Error(`invalid seed ${text}: use a number or a range, such as 7 or 1-5`);
  }
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function summary(outcomes: readonly Outcome[]): string {
  const sum = (of: (outcome: Outcome) => ReadonlyMap<string, number>) => {
    const total = new Map<string, number>();
    for (const [name, times] of outcomes.flatMap((outcome) => [...of(outcome)])) {
      total.set(name, (total.get(name) ?? 0) + times);
    }
    return [...total].sort(([one], [other]) => (one < other ? -1 : 1));
  };
  const table = (title: string, rows: readonly (readonly [string, number])[]) =>
    `${title}: ${rows.reduce((total, [, times]) => total + times, 0)}\n${rows
      .map(([name, times]) => `${String(times).padStart(7)}  ${name}\n`)
      .join('')}`;
  const total = (of: (outcome: Outcome) => number) => outcomes.reduce((count, one) => count + of(one), 0);
  const most = (of: (outcome: Outcome) => number) => Math.max(...outcomes.map(of));
  return [
    table(
      'changes',
      sum(({ changes }) => changes),
    ),
    table(
      'faults',
      sum(({ faults }) => faults),
    ),
    table(
      'compared at checkpoints',
      sum(({ compared }) => compared),
    ),
    `writes applied by the gateway: ${total(({ writes }) => writes.put)} PUT, ${total(({ writes }) => writes.patch)} PATCH, ${total(({ writes }) => writes.delete)} DELETE\n`,
    `writes to the API server within a Lease: ${total(({ writes }) => writes.cluster)}; Leases lost: ${total(({ writes }) => writes.lost)}\n`,
    `maximum: ${Math.ceil(most(({ peak }) => peak.rss) / 1024 / 1024)} MiB, ${most(({ peak }) => peak.files)} open files (${most(({ peak }) => peak.sockets)} sockets), ${most(({ peak }) => peak.series)} metric series\n`,
  ].join('');
}

/** The value of a flag that must be a whole number of at least 1. */
function numberOf(name: 'minutes' | 'rate' | 'steps'): number {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 1) {
    throw new Error(`invalid --${name} ${values[name]}: use a whole number of at least 1`);
  }
  return number;
}

interface Count {
  readonly passed: number;
  readonly failed: number;
}

const report = (line: string) => process.stdout.write(`${line}\n`);

/** Whether this machine can run Consul. With `CI=true`, it must. */
async function hasConsul(): Promise<boolean> {
  let has = true;
  const skip = (reason: string) => {
    has = false;
    report(`skipped: the service registry (${reason})`);
  };
  await requireTool(skip, ensureConsul);
  return has;
}

async function runSeeds(cluster: ControlPlane): Promise<Count> {
  const steps = numberOf('steps');
  const withRegistry = await hasConsul();
  const outcomes: Outcome[] = [];
  for (const seed of seeds()) {
    const startedAt = performance.now();
    const outcome = await run({ cluster, seed, steps, withRegistry, traces: values.traces, report });
    outcomes.push(outcome);
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    process.stdout.write(
      `seed ${seed}: ${outcome.passed} passed, ${outcome.failed} failed in ${seconds} s\n`,
    );
  }
  process.stdout.write(summary(outcomes));
  return {
    passed: outcomes.reduce((sum, outcome) => sum + outcome.passed, 0),
    failed: outcomes.reduce((sum, outcome) => sum + outcome.failed, 0),
  };
}

async function runChurn(cluster: ControlPlane): Promise<Count> {
  const checks = await churn({ cluster, minutes: numberOf('minutes'), rate: numberOf('rate'), report });
  for (const { line, holds } of checks) process.stdout.write(`${holds ? 'ok' : 'FAIL'}  ${line}\n`);
  const passed = checks.filter(({ holds }) => holds).length;
  return { passed, failed: checks.length - passed };
}

/** Several times the duration of a run on a slow machine. */
function limitMs(): number {
  if (values.churn) return (numberOf('minutes') + 10) * MINUTE_MS;
  return seeds().length * (4 + numberOf('steps') / 50) * MINUTE_MS;
}

/** The control plane and the operators stop with this process. */
function giveUp(): never {
  process.stdout.write('timeout: the run did not finish\n0 passed, 1 failed\n');
  process.exit(1);
}

async function main(): Promise<boolean> {
  if (values.help) {
    process.stdout.write(USAGE);
    return true;
  }
  await using cluster = await startControlPlane();
  await installCrds(cluster);
  const limit = setTimeout(giveUp, limitMs());
  const { passed, failed } = values.churn ? await runChurn(cluster) : await runSeeds(cluster);
  clearTimeout(limit);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0;
}

process.exitCode = (await main()) ? 0 : 1;
