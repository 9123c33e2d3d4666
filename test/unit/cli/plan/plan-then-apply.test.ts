import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../../../../src/api/group.ts';
import { builtInCatalog } from '../../../../src/catalog.ts';
import type { RawObjects, Stores } from '../../../../src/cli/plan/kinds.ts';
import { makePlan } from '../../../../src/cli/plan/make-plan.ts';
import type { GatewayListing, Plan } from '../../../../src/cli/plan/planned.ts';
import {
  parseAnswers,
  type RegistryAnswers,
  registryReferences,
} from '../../../../src/cli/plan/registry-answers.ts';
import { fieldChanges, nodeChanges } from '../../../../src/decide/diff.ts';
import { IdConflicts } from '../../../../src/decide/id-conflicts.ts';
import { compareNodes } from '../../../../src/decide/nodes.ts';
import type { ConnectionState } from '../../../../src/engine/connection/connections.ts';
import { ObjectStates } from '../../../../src/engine/object-state.ts';
import { OrphanCollector } from '../../../../src/engine/orphan-collector.ts';
import { GatewaySession } from '../../../../src/engine/session/session.ts';
import { createUpstreamReconciler } from '../../../../src/engine/upstream/reconcile.ts';
import type { ObjectWriter } from '../../../../src/kube/object-writer.ts';
import { keyOf, type ObjectKey } from '../../../../src/model/keys.ts';
import type { GatewayUpstream } from '../../../../src/model/objects.ts';
import type { ObservedUpstream, Upstream, UpstreamId } from '../../../../src/model/upstream.ts';
import { createBackoff } from '../../../../src/runtime/backoff.ts';
import { createKubernetesSource } from '../../../../src/sources/kubernetes/source.ts';
import { combineSources } from '../../../../src/sources/sources.ts';
import { gatewayFormat, storesOf, vendorOf } from '../../../support/catalog.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';
import { finalizersOf } from '../../../support/finalizers.ts';
import { createMemoryDriver, type MemoryDriver } from '../../../support/memory-gateway.ts';
import { noReports } from '../../../support/no-reports.ts';
import { ownerLabels } from '../../../support/owner-labels.ts';

const CLUSTER = 'c1';
const CREATED = 1_700_000_000;
const CONNECTIONS = ['blue', 'green'] as const;
const NAMESPACES = ['bank', 'shop'] as const;
const SERVICES = ['api', 'web'] as const;
const VM_SERVICES = ['vm1', 'vm2'] as const;
const NAMES = ['a', 'b', 'c'] as const;
const IDS = ['bank.a', 'shop.a', 'shop.b', 'shared', 'shop.old'] as const;
const never = new AbortController().signal;

const oneOf = fc.constantFrom;
const address = fc.integer({ min: 1, max: 6 }).map((last) => `10.0.0.${last}`);
const often = <T>(value: T, other: T) => fc.nat(3).map((dice) => (dice === 0 ? other : value));

const connection = (name: string) =>
  fc.record({
    metadata: fc.constant({
      name,
      uid: name,
      resourceVersion: '1',
      finalizers: [CONNECTION_FINALIZER],
    }),
    spec: fc.record({
      type: often('APISIX', 'Unknown'),
      apisix: fc.constant({ adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } }),
      allowedNamespaces: often<object>({ all: true }, { names: ['shop'] }),
      allowedRegistries: often<readonly string[]>(['vms'], []),
      tenantPolicy: fc.record({
        upstreamIds: often('Any', 'Prefixed'),
        staticAddresses: oneOf('Allow', 'Deny'),
      }),
    }),
    status: fc.record({ leftBehind: fc.subarray([...IDS], { maxLength: 1 }) }),
  });

const service = fc.record({
  metadata: fc.record({ namespace: oneOf(...NAMESPACES), name: oneOf(...SERVICES) }),
  spec: fc.record({ ports: fc.constant([{ name: 'http', port: 80 }]) }),
});

const slice = fc.record({
  namespace: oneOf(...NAMESPACES),
  service: oneOf(...SERVICES),
  endpoints: fc.array(
    fc.record({
      addresses: fc.tuple(address),
      conditions: fc.record({ ready: fc.boolean(), serving: fc.boolean(), terminating: fc.boolean() }),
    }),
    { maxLength: 6 },
  ),
});

const backend = fc.oneof(
  fc.record({
    serviceRef: fc.record({ name: oneOf(...SERVICES), port: often<string | number>('http', 81) }),
    weight: oneOf(0, 1, 3),
  }),
  fc.record({ addresses: fc.tuple(fc.record({ host: address, port: fc.constant(8080) })) }),
  fc.record({
    registryRef: fc.constant({ name: 'vms' }),
    service: oneOf(...VM_SERVICES),
    weight: oneOf(0, 1, 3),
    weights: oneOf('Registry', 'Equal'),
  }),
);

/** An instance as Consul lists it. */
const instance = fc.record({
  Node: fc.constant({ Node: 'vm', Address: '10.0.0.9' }),
  Service: fc.record({
    ID: fc.constant('id'),
    Service: fc.constant('vm'),
    Address: often(address, fc.constant('127.0.0.1')).chain((one) => one),
    Port: oneOf(8080, 8081),
    Weights: fc.record({ Passing: oneOf(0, 1, 10), Warning: fc.constant(1) }),
  }),
  Checks: fc.tuple(
    fc.record({ CheckID: often('alive', '_node_maintenance'), Status: often('passing', 'critical') }),
  ),
});

const upstream = fc.record({
  namespace: oneOf(...NAMESPACES),
  name: oneOf(...NAMES),
  isDeleted: often(false, true),
  hasFinalizer: often(true, false),
  created: oneOf('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
  spec: fc.record(
    {
      connectionRef: fc.record({ name: often<string>(CONNECTIONS[0], CONNECTIONS[1]) }),
      upstreamId: oneOf(...IDS),
      backends: fc.array(backend, { minLength: 1, maxLength: 2 }),
      retries: fc.nat(3),
      syncPolicy: often('Sync', 'Observe'),
      deletionPolicy: oneOf('Delete', 'Orphan', 'Force'),
      removalGuard: fc.record({ maxRemovalPercent: oneOf(0, 50, 100) }),
    },
    { requiredKeys: ['connectionRef', 'backends'] },
  ),
});

/** The initial upstreams of a gateway, with and without an owner. */
const held = fc.record({
  connection: oneOf(...CONNECTIONS),
  id: oneOf(...IDS),
  owner: fc.option(
    fc.record({
      cluster: often(CLUSTER, 'c2'),
      namespace: oneOf(...NAMESPACES),
      name: oneOf(...NAMES),
      orphan: often(false, true),
    }),
  ),
  nodes: fc.uniqueArray(address, { maxLength: 6 }),
});

const snapshot = fc.record({
  connections: fc.tuple(connection('blue'), connection('green')),
  endsBank: often(false, true),
  services: fc.uniqueArray(service, { selector: ({ metadata }) => JSON.stringify(metadata) }),
  slices: fc.array(slice, { maxLength: 4 }),
  upstreams: fc.uniqueArray(upstream, { selector: ({ namespace, name }) => `${namespace}/${name}` }),
  vms: fc.record({ vm1: fc.array(instance, { maxLength: 4 }), vm2: fc.array(instance, { maxLength: 4 }) }),
  held: fc.uniqueArray(held, { selector: ({ connection, id }) => `${connection}/${id}` }),
});

type Generated = typeof snapshot extends fc.Arbitrary<infer T> ? T : never;

function rawObjects(generated: Generated): RawObjects {
  const identified = (metadata: object) => ({
    uid: JSON.stringify(metadata),
    resourceVersion: '1',
    ...metadata,
  });
  return {
    connections: generated.connections,
    sets: [],
    registries: [
      {
        metadata: identified({ name: 'vms' }),
        spec: {
          type: 'Consul',
          consul: { servers: ['http://consul:8500'] },
          allowedNamespaces: { all: true },
        },
      },
    ],
    namespaces: NAMESPACES.map((name) => ({
      metadata: identified({
        name,
        ...(name === 'bank' && generated.endsBank ? { deletionTimestamp: '2026-01-03T00:00:00Z' } : {}),
      }),
    })),
    services: generated.services.map(({ metadata, spec }) => ({ metadata: identified(metadata), spec })),
    slices: generated.slices.map(({ namespace, service: name, endpoints }, index) => ({
      metadata: identified({
        namespace,
        name: `slice-${index}`,
        labels: { 'kubernetes.io/service-name': name },
      }),
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      endpoints,
    })),
    secrets: [],
    grants: [],
    upstreams: generated.upstreams.map(({ namespace, name, isDeleted, hasFinalizer, created, spec }) => ({
      metadata: identified({
        namespace,
        name,
        generation: 1,
        creationTimestamp: created,
        ...(isDeleted ? { deletionTimestamp: '2026-01-03T00:00:00Z' } : {}),
        finalizers: hasFinalizer ? [UPSTREAM_FINALIZER] : [],
      }),
      spec,
      // Only one object may own an upstream, because it detects removed ownership labels.
      ...(namespace === 'shop' && name === 'a'
        ? { status: { upstreamCreateTime: new Date(CREATED * 1000).toISOString() } }
        : {}),
    })),
  };
}

interface Write {
  readonly connection: string;
  readonly id: UpstreamId;
  readonly action: 'Create' | 'Update' | 'Delete';
  readonly nodes: readonly object[];
  readonly fields: readonly object[];
}

const inOrder = (writes: readonly Write[]) =>
  writes.toSorted((a, b) => (`${a.connection} ${a.id}` < `${b.connection} ${b.id}` ? -1 : 1));

/** In-memory gateways, and the writes since `generated.held` was stored. */
async function startGateways(generated: Generated) {
  const writes: Write[] = [];
  const drivers = new Map<string, MemoryDriver>();
  for (const name of CONNECTIONS) {
    const driver = createMemoryDriver({ nowSeconds: () => CREATED });
    for (const { connection: of, id, owner, nodes } of generated.held) {
      if (of !== name) continue;
      const labels =
        owner === null
          ? { team: 'somebody' }
          : ownerLabels({ ...owner, connection: name }, { orphan: owner.orphan });
      const sorted = nodes.map((host) => ({ host, port: 8080, weight: 1, priority: 0 })).sort(compareNodes);
      await driver.put(
        { id, labels, nodes: sorted, scheme: 'HTTP', loadBalancing: { type: 'RoundRobin' } },
        never,
      );
    }
    drivers.set(name, recorded(name, driver, writes));
  }
  return { drivers, writes };
}

function recorded(connection: string, driver: MemoryDriver, writes: Write[]): MemoryDriver {
  return {
    ...driver,
    async put(desired: Upstream, signal) {
      const before = await driver.get(desired.id, signal);
      writes.push({
        connection,
        id: desired.id,
        action: before === undefined ? 'Create' : 'Update',
        nodes: nodeChanges(before?.nodes ?? [], desired.nodes),
        fields: fieldChanges(before?.canonical, driver.canonical(desired)),
      });
      return await driver.put(desired, signal);
    },
    async putNodes(id, nodes, signal) {
      const before = await driver.get(id, signal);
      writes.push({
        connection,
        id,
        action: 'Update',
        nodes: nodeChanges(before?.nodes ?? [], nodes),
        fields: [],
      });
      return await driver.putNodes(id, nodes, signal);
    },
    async mark(id, owner, signal) {
      const before = await driver.get(id, signal);
      const after = await driver.mark(id, owner, signal);
      const fields = after === undefined ? [] : fieldChanges(before?.canonical, after.canonical);
      writes.push({ connection, id, action: 'Update', nodes: [], fields });
      return after;
    },
    async delete(id, options, signal) {
      const before = await driver.get(id, signal);
      writes.push({
        connection,
        id,
        action: 'Delete',
        nodes: nodeChanges(before?.nodes ?? [], []),
        fields: [],
      });
      await driver.delete(id, options, signal);
    },
  };
}

async function listAll(drivers: ReadonlyMap<string, MemoryDriver>) {
  const listings = new Map<string, Extract<GatewayListing, { kind: 'listed' }>>();
  for (const [name, driver] of drivers) {
    const { upstreams, info } = await driver.list(never);
    // A plan does not read the writes of other clients.
    const { read } = gatewayFormat('APISIX');
    listings.set(name, { kind: 'listed', upstreams, info, canonical: driver.canonical, read });
  }
  return listings;
}

/** The work of `run` after a start: each object once, and orphan collection. */
async function apply(
  stores: Stores,
  { drivers, writes }: Awaited<ReturnType<typeof startGateways>>,
  registries: RegistryAnswers,
  now: number,
): Promise<void> {
  const clock = createFakeClock(now);
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
  const lists = new Map<string, ReadonlyMap<UpstreamId, ObservedUpstream>>();
  const sessions = new Map(
    [...drivers].map(([name, driver]) => [
      name,
      new GatewaySession({
        driver,
        clock,
        random: () => 0.5,
        backoff: createBackoff({ baseMs: 500, factor: 2, maxMs: 30_000, jitter: 0, random: () => 0.5 }),
        log,
        resyncMs: 600_000,
        limit: (request) => request(),
        mayWrite: () => true,
        onList: ({ observed }) => lists.set(name, observed),
        onLateWrite: () => undefined,
        isWanted: () => true,
        onState: () => undefined,
      }),
    ]),
  );
  const running = [...sessions.values()].map((session) => session.run());
  await settle();
  const connectionState = (name: string): ConnectionState => {
    const session = sessions.get(name);
    if (session === undefined) throw new Error(`no session of ${name}`);
    return { kind: 'usable', session };
  };
  const orphans = new OrphanCollector({
    ...stores,
    onlyNamespaces: [],
    clusterId: CLUSTER,
    connectionState,
    reporter: noReports,
    log,
  });
  const conflicts = new IdConflicts();
  for (const object of stores.upstreams.list()) {
    const spec = stores.connections.get('', object.connection)?.spec;
    conflicts.update(keyOf(object), object, spec?.ok === true ? spec.value.idPrefix : undefined);
  }
  const states = new ObjectStates(clock);
  const writer: ObjectWriter = {
    ...finalizersOf(stores),
    removeFinalizer: async () => undefined,
    applyStatus: async () => undefined,
  };
  const bound: ObjectKey[] = [];
  const request = (object: GatewayUpstream) => {
    void writer.addFinalizer('GatewayUpstream', object, UPSTREAM_FINALIZER, never);
    bound.push(keyOf(object));
  };
  const reconcile = createUpstreamReconciler({
    ...stores,
    vendorOf,
    onlyNamespaces: [],
    clusterId: CLUSTER,
    conflicts,
    source: combineSources({ Kubernetes: createKubernetesSource(stores), Registry: registries.source }),
    contentOf: (name, id) => ({ known: true, observed: sessions.get(name)?.peek(id) }),
    gatewayInfo: () => ({}),
    recall: (key) => states.recall(key),
    states,
    now: () => clock.now(),
    connectionState,
    verifier: { expect: () => undefined, forget: () => undefined },
    instruments: { propagated: () => undefined, suppressed: () => undefined },
    permissions: { lacking: () => undefined, onChange: () => ({ [Symbol.dispose]: () => undefined }) },
    orphans,
    writer,
    reporter: noReports,
    finalizers: { request, failureVerdict: () => undefined },
    enqueueConnection: () => undefined,
    clock,
    log,
  });
  // Deletions come last: another plan decides which object takes a free id.
  const [staying, leaving] = [false, true].map((isLeaving) =>
    [...stores.upstreams.list()].filter((object) => (object.deletionTimestamp !== undefined) === isLeaving),
  );
  for (const object of [...(staying ?? []), ...(leaving ?? [])]) {
    const before = writes.length;
    await reconcile(keyOf(object), never);
    // The object was waiting for its finalizer.
    for (const key of bound.splice(0)) if (writes.length === before) await reconcile(key, never);
  }
  for (const [name, observed] of lists) {
    expect(orphans.listed(name, observed).confirmed).toEqual([]);
    for (const id of orphans.listed(name, observed).confirmed) await orphans.remove(name, id, never);
  }
  await Promise.all([...sessions.values()].map((session) => session.close()));
  await Promise.all(running);
  expect(log.error).not.toHaveBeenCalled();
}

/** The writes that a plan announces. */
function planned({ upstreams }: Plan): readonly Write[] {
  return upstreams.flatMap(({ connection: name, upstreamId = '', action, nodes, fields }) =>
    action === 'Create' || action === 'Update' || action === 'Delete'
      ? [{ connection: name, id: upstreamId, action, nodes: nodes.map(withoutWhy), fields }]
      : [],
  );
}

function withoutWhy({ why: _, ...change }: Plan['upstreams'][number]['nodes'][number]): object {
  return change;
}

/**
 * Changes that become possible after a write: another object may use the id of a deleted upstream, and after explained
 * removals, the guarded nodes may be few enough to be removed.
 */
function mayFollow({ upstreams }: Plan, { connection: name, id, action }: Write): boolean {
  return upstreams.some(
    (first) =>
      first.connection === name &&
      first.upstreamId === id &&
      (action === 'Create' ? first.action === 'Delete' : action === 'Update' && first.held !== undefined),
  );
}

describe('plan and run', () => {
  it('write the same changes for a random cluster, and the next plan is empty', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(snapshot, async (generated) => {
        const now = Date.parse('2026-01-03T00:00:10Z');
        const stores = storesOf(rawObjects(generated));
        const gateways = await startGateways(generated);
        const { drivers, writes } = gateways;
        const registries = parseAnswers(
          { types: builtInCatalog.registryTypes, stores, refs: registryReferences(stores) },
          { vms: generated.vms },
          'vms',
        );
        const nextPlan = async () =>
          makePlan({
            catalog: builtInCatalog,
            stores,
            onlyNamespaces: [],
            clusterId: CLUSTER,
            gateways: await listAll(drivers),
            registries,
            only: [],
            now,
          });

        const before = await nextPlan();
        await apply(stores, gateways, registries, now);
        expect(inOrder(writes)).toEqual(inOrder(planned(before)));

        const after = await nextPlan();
        for (const next of planned(after)) expect(mayFollow(before, next), JSON.stringify(next)).toBe(true);
        writes.length = 0;
        await apply(stores, gateways, registries, now);
        expect(inOrder(writes)).toEqual(inOrder(planned(after)));
        expect(planned(await nextPlan())).toEqual([]);

        for (const entry of before.upstreams) {
          seen.add(entry.action);
          if (entry.held !== undefined) seen.add('held');
          for (const { reason } of entry.conditions) seen.add(reason);
        }
      }),
      { numRuns: 1500 },
    );
    // Checks that the generated clusters cover all cases.
    for (const one of [
      'None',
      'Create',
      'Update',
      'Delete',
      'Observe',
      'held',
      'IdTaken',
      'NotOwned',
      'NamespaceNotAllowed',
      'StaticAddressesDenied',
      'ServiceNotFound',
      'PortNotFound',
      'ConnectionNotFound',
      'NoReadyEndpoints',
      'NoWeight',
      'RegistryNotAllowed',
      'ServiceUnknownToRegistry',
    ]) {
      expect(seen, one).toContain(one);
    }
  }, 60_000);
});
