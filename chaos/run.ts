import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlPlane } from '../test/support/control-plane/control-plane.ts';
import type { OperatorOptions } from '../test/support/operator.ts';
import { live } from './change.ts';
import { CHANGES } from './changes.ts';
import { awaitCheckpoint } from './checkpoint.ts';
import { comparedOf } from './comparison.ts';
import type { Trouble } from './fault.ts';
import { FAULTS } from './faults.ts';
import { keepRandomNodes } from './kept-changes.ts';
import { makeNode } from './nodes.ts';
import { writeForeign } from './owners.ts';
import { SHAPES } from './places.ts';
import { createRandom, type Random } from './random.ts';
import { makeRandomRegistered } from './registry-changes.ts';
import { writePair } from './secret-changes.ts';
import { makeRandomService } from './service-changes.ts';
import { Site } from './site.ts';
import { makeRandomUpstream } from './upstream-changes.ts';
import { makeSet } from './upstream-set.ts';
import { makeTrespasser } from './upstreams.ts';

/** The shortest values that the configuration allows, so a run has many leader changes, resyncs and permission reviews. */
const SETTINGS: OperatorOptions = {
  logLevel: 'info',
  requestTimeout: '1s',
  resyncInterval: '2s',
  permissionCheckInterval: '1s',
  watchNodes: true,
  leaderElection: { leaseDuration: '6s', renewDeadline: '4s', retryPeriod: '500ms' },
};
const LEASE_DURATION_MS = 6000;

const STEPS_BETWEEN_CHECKPOINTS = 25;
/** The share of steps that are faults. */
const FAULTY = 0.5;

export interface RunOptions {
  readonly cluster: ControlPlane;
  readonly seed: number;
  readonly steps: number;
  /** Whether a service registry takes part. */
  readonly withRegistry: boolean;
  /** The folder for traces. */
  readonly traces: string;
  /** Called with a progress line at each checkpoint. */
  readonly report: (line: string) => void;
}

export interface Outcome {
  /** The number of steps and checkpoints after which all invariants held. */
  readonly passed: number;
  readonly failed: number;
  /** The number of times per kind of change or fault. */
  readonly changes: ReadonlyMap<string, number>;
  readonly faults: ReadonlyMap<string, number>;
  /** The number of upstreams per kind of comparison. */
  readonly compared: ReadonlyMap<string, number>;
  readonly writes: Site['judge']['writes'];
  readonly peak: Site['judge']['peak'];
}

interface ActiveTrouble {
  readonly place: string;
  readonly name: string;
  readonly trouble: Trouble;
  readonly until: number;
}

/** Runs one seed. Stops at the first step after which an invariant does not hold. */
export async function run({
  cluster,
  seed,
  steps,
  withRegistry,
  traces,
  report,
}: RunOptions): Promise<Outcome> {
  mkdirSync(traces, { recursive: true });
  const trace = join(traces, `seed-${seed}.log`);
  rmSync(trace, { force: true });
  const note = (line: string) => appendFileSync(trace, `${new Date().toISOString()} ${line}\n`);
  const random = createRandom(seed);
  const counts = {
    changes: new Map<string, number>(),
    faults: new Map<string, number>(),
    compared: new Map<string, number>(),
  };
  const count = (map: Map<string, number>, name: string) => map.set(name, (map.get(name) ?? 0) + 1);
  const active: ActiveTrouble[] = [];
  let passed = 0;
  let failed = 0;

  const name = `chaos-${seed}`;
  await using site = await Site.open({
    cluster,
    name,
    note,
    // Both namespaces exist from the start, because Roles are created in them.
    settings: { ...SETTINGS, secretNamespaces: [`${name}-one`, `${name}-two`] },
    leaseDurationMs: LEASE_DURATION_MS,
    ...(withRegistry ? { registrySeed: seed } : {}),
  });
  const { judge } = site;
  const healIf = async (isDue: (trouble: ActiveTrouble) => boolean) => {
    for (const trouble of active.filter(isDue)) {
      active.splice(active.indexOf(trouble), 1);
      note(`heal ${trouble.name} ${trouble.trouble.detail}`);
      await trouble.trouble.heal?.();
    }
  };
  const change = async (): Promise<string> => {
    for (;;) {
      const chosen = weighted(CHANGES, random);
      const done = await chosen.apply(site, random);
      if (done === undefined) continue;
      count(counts.changes, chosen.name);
      return `change ${chosen.name}: ${done}`;
    }
  };
  const strike = async (step: number): Promise<string> => {
    for (;;) {
      const chosen = weighted(
        FAULTS.filter(({ place }) => !active.some((trouble) => trouble.place === place)),
        random,
      );
      const trouble = await chosen.strike(site, random);
      if (trouble === undefined) continue;
      count(counts.faults, chosen.name);
      const { steps: lasting = 0, heal } = trouble;
      if (heal !== undefined) {
        active.push({ place: chosen.place, name: chosen.name, trouble, until: step + lasting });
      }
      return `fault ${chosen.name}${trouble.detail === '' ? '' : `: ${trouble.detail}`}${heal === undefined ? '' : `, for ${lasting} steps`}`;
    }
  };
  const judged = (step: number): boolean => {
    judge.check();
    for (const replica of site.replicas) {
      const footprint = replica.footprint();
      if (footprint !== undefined) judge.measured(replica.name, footprint);
    }
    site.gateway.clearRequests();
    if (judge.violations.length === 0) {
      passed += 1;
      return true;
    }
    failed += 1;
    for (const violation of judge.violations)
      process.stdout.write(`seed ${seed}, step ${step}: ${violation}\n`);
    process.stdout.write(`to reproduce: npm run chaos -- --seed ${seed} --steps ${steps}\ntrace: ${trace}\n`);
    return false;
  };
  const checkpoint = async (step: number, allowGuarded: boolean): Promise<boolean> => {
    await healIf(() => true);
    note(`checkpoint after step ${step}`);
    const startedAt = performance.now();
    const problems = await awaitCheckpoint(site, { allowGuarded });
    judge.violations.push(...problems.map((problem) => `wrong after all faults were healed: ${problem}`));
    const ms = Math.round(performance.now() - startedAt);
    for (const upstream of live(site)) {
      for (const what of comparedOf(site.model, upstream)) count(counts.compared, what);
    }
    for (const replica of site.replicas) {
      const series = await replica.series();
      if (series !== undefined) judge.counted(replica.name, series);
    }
    note(`${problems.length === 0 ? 'no problems' : problems.join('; ')} after ${ms} ms`);
    return judged(step);
  };

  await prepare(site, random);
  let goesOn = await checkpoint(0, true);
  for (let step = 1; goesOn && step <= steps; step += 1) {
    await healIf(({ until }) => until <= step);
    // A replica that stopped because it lost its Lease is started again, as a Deployment does.
    for (const replica of site.replicas) {
      const isDown = active.some(({ place }) => place === `replica ${replica.name}`);
      if (!replica.running && !isDown) await replica.start();
    }
    note(`step ${step} ${random.fraction() < FAULTY ? await strike(step) : await change()}`);
    await sleep(random.between(10, 150));
    goesOn = judged(step);
    const isLast = step === steps;
    if (goesOn && (isLast || step % STEPS_BETWEEN_CHECKPOINTS === 0)) {
      goesOn = await checkpoint(step, !isLast);
      report(`seed ${seed}, ${step} of ${steps} steps`);
    }
  }
  return { passed, failed, ...counts, writes: judge.writes, peak: judge.peak };
}

async function prepare(site: Site, random: Random): Promise<void> {
  writeForeign(site, 'dashboard', {
    type: 'roundrobin',
    nodes: [{ host: '203.0.113.1', port: 80, weight: 1 }],
  });
  writeForeign(site, 'other-cluster', {
    type: 'roundrobin',
    nodes: [{ host: '203.0.113.2', port: 80, weight: 1 }],
    labels: {
      'gatewayupstream.dev/operator': 'gateway-upstream-operator',
      'gatewayupstream.dev/cluster': 'another-one',
      'gatewayupstream.dev/connection': site.name,
      'gatewayupstream.dev/namespace': `${site.name}-one`,
      'gatewayupstream.dev/name': 'u1',
    },
  });
  for (let node = 0; node < 3; node += 1) await makeNode(site);
  if (site.registry !== undefined) {
    for (let service = 0; service < 3; service += 1) await makeRandomRegistered(site, random);
  }
  await makeSet(site);
  for (const namespace of site.model.namespaces) {
    await writePair(site, { namespace, name: 'c1' });
    for (const [index, shape] of SHAPES.entries()) {
      await makeRandomService(site, random, namespace, `s${index + 1}`, shape);
    }
    for (const upstream of ['u1', 'u2', 'u3', 'u4', 'u5'])
      await makeRandomUpstream(site, random, namespace, upstream);
    await keepRandomNodes(site, random, namespace, 'k1');
    for (const id of site.model.foreign.keys()) await makeTrespasser(site, namespace, id, 's1');
  }
}

function weighted<T extends { readonly weight: number }>(list: readonly T[], random: Random): T {
  let left = random.fraction() * list.reduce((sum, { weight }) => sum + weight, 0);
  const found = list.find(({ weight }) => {
    left -= weight;
    return left < 0;
  });
  return found ?? random.pick(list);
}
