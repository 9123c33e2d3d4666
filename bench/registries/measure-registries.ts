import { requireTool } from '../../test/support/external-tool.ts';
import type { Operator } from '../../test/support/operator.ts';
import { startRemote } from '../remote.ts';
import { openConsul } from './consul.ts';
import { openEtcd } from './etcd.ts';
import { openEureka } from './eureka.ts';
import type { FloorHandlers } from './floor-process.ts';
import { measureKind } from './latency.ts';
import { measureFirst, measureLoad } from './load.ts';
import { openNacos } from './nacos.ts';
import type { OpenRegistry } from './registry.ts';
import { latencyText } from './report.ts';
import { KINDS, type Kind, type Latency, type RegistryResult } from './results.ts';
import { createRegistryScene, type RegistryScene, serviceNames } from './scene.ts';

export const REGISTRY_TYPES = ['Consul', 'Nacos', 'Eureka', 'Etcd'] as const;
export type BenchedRegistry = (typeof REGISTRY_TYPES)[number];

export interface RegistryBenchOptions {
  readonly type: BenchedRegistry;
  /** Services that each have a query of their own, for latencies. */
  readonly fewServices: number;
  /** Services for the load; undefined skips that part. */
  readonly manyServices: number | undefined;
  /** Changes of each kind. */
  readonly changes: number;
  /** Changes per second. */
  readonly rate: number;
  /** Length of each period in which requests are counted. */
  readonly seconds: number;
  readonly report: (line: string) => void;
}

const OPEN: Readonly<Record<BenchedRegistry, OpenRegistry>> = {
  Consul: openConsul,
  Nacos: openNacos,
  Eureka: openEureka,
  Etcd: openEtcd,
};
/** Services that take turns are asked every 10 s, and a busy machine takes longer. */
const LOST_AFTER_MS = 60_000;

/**
 * Measures one type of registry, with a server of its own for each number of services. Resolves to undefined if a tool that
 * builds the server is missing on this machine.
 */
export async function measureRegistry(options: RegistryBenchOptions): Promise<RegistryResult | undefined> {
  const { type, report } = options;
  let result: RegistryResult | undefined;
  await requireTool(
    (reason) => report(`skipped ${type}: ${reason}`),
    async () => {
      result = await measure(options);
    },
  );
  return result;
}

async function measure(options: RegistryBenchOptions): Promise<RegistryResult> {
  const { type, fewServices, manyServices, report } = options;
  const latencies: Latency[] = [];
  report(`${type}, ${fewServices} services: control plane, gateway, registry`);
  let pollIntervalMs: number | undefined;
  {
    await using registry = await OPEN[type](serviceNames(fewServices));
    const { notification } = registry;
    if (notification.kind === 'poll') pollIntervalMs = notification.intervalMs;
    await using scene = await createRegistryScene(registry, fewServices, report);
    const { operator, wrong } = await measureFirst(scene);
    if (wrong.length > 0) {
      throw new Error(`the gateway lacks ${wrong.length} services: ${operator.output().slice(-2000)}`);
    }
    latencies.push(await latencyOf(scene, operator, KINDS, options));
    await operator.stop();
  }
  if (manyServices === undefined) return { type, pollIntervalMs, latencies, load: undefined };

  report(`${type}, ${manyServices} services: control plane, gateway, registry`);
  await using registry = await OPEN[type]([]);
  await using scene = await createRegistryScene(registry, manyServices, report);
  report(`${type}, ${manyServices} services: first programming`);
  const first = await measureFirst(scene);
  report(`${type}, ${manyServices} services: idle, reconnect, outage`);
  const load = await measureLoad(scene, first, options.seconds);
  latencies.push(await latencyOf(scene, first.operator, ['register', 'change', 'deregister'], options));
  await first.operator.stop();
  return { type, pollIntervalMs, latencies, load };
}

async function latencyOf(
  scene: RegistryScene,
  operator: Operator,
  kinds: readonly Kind[],
  { type, changes, rate, report }: RegistryBenchOptions,
): Promise<Latency> {
  const { notification } = scene.registry;
  await using floor =
    notification.kind === 'blocking' && notification.target.services.length > 0
      ? startRemote<FloorHandlers>('registries/floor-process.ts')
      : undefined;
  if (notification.kind === 'blocking') await floor?.ask('watch', notification.target);
  const found: Latency['kinds'] = {};
  for (const kind of kinds) {
    report(`${type}, ${scene.subjects.length} services: ${changes} times ${kind}`);
    const latency = await measureKind(scene, operator, floor, {
      kind,
      changes,
      rate,
      lostAfterMs: LOST_AFTER_MS,
    });
    report(`  ${latencyText(latency)}`);
    Object.assign(found, { [kind]: latency });
  }
  return { services: scene.subjects.length, kinds: found };
}
