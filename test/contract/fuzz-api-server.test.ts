import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildDesired } from '../../src/decide/build-desired.ts';
import { IdConflicts } from '../../src/decide/id-conflicts.ts';
import { planChange } from '../../src/decide/plan-change.ts';
import type { Snapshot } from '../../src/decide/snapshot.ts';
import { upstreamIndexes } from '../../src/decide/upstream-indexes.ts';
import { KubeApiError } from '../../src/kube/kube-error.ts';
import { transformNamespace } from '../../src/kube/objects.ts';
import { createReflector } from '../../src/kube/reflector.ts';
import { createStore, type Store } from '../../src/kube/store.ts';
import { createTransport, type KubeTransport, type WatchEvent } from '../../src/kube/transport.ts';
import { keyOf } from '../../src/model/keys.ts';
import type { GatewayUpstream } from '../../src/model/objects.ts';
import type { Stored } from '../../src/model/store-view.ts';
import type { ObservedUpstream, Upstream } from '../../src/model/upstream.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { createKubernetesSource } from '../../src/sources/kubernetes/source.ts';
import {
  sliceIndexes,
  transformService,
  transformSlice,
  unreadableService,
  unreadableSlice,
} from '../../src/sources/kubernetes/transform.ts';
import { transformGatewayConnection, transformGatewayUpstream, vendorOf } from '../support/catalog.ts';
import { fuzzCases } from '../support/fuzz-cases.ts';
import { createMemoryDriver } from '../support/memory-gateway.ts';
import { MUTATIONS, type Mutated, mutate } from '../support/mutate.ts';
import { createRandom, pick, type Random } from '../support/random.ts';
import { kubeConfigOf } from '../unit/kube/scripted-api-server.ts';

/** Each round mutates one response. A failure shows its seed; `FUZZ_SEED` starts with it. */
const ROUNDS = fuzzCases(10_000);
const ROUNDS_OVER_HTTP = fuzzCases(500);
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const STUCK_MS = 20_000;

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const hasty = { ...systemClock, sleep: async () => undefined };

const meta = (namespace: string | undefined, name: string, more: object = {}) => ({
  ...(namespace === undefined ? {} : { namespace }),
  name,
  uid: `uid-${namespace}-${name}`,
  resourceVersion: '10',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00Z',
  ...more,
});

const endpoint = (
  address: string,
  conditions: object = { ready: true, serving: true, terminating: false },
) => ({
  addresses: [address],
  conditions,
  nodeName: 'node-1',
});

/** The objects of the API server by kind, as it returns them. */
const TRUTH = {
  namespaces: [
    { metadata: meta(undefined, 'shop', { labels: { team: 'a' } }), status: { phase: 'Active' } },
    { metadata: meta(undefined, 'kube-system'), status: { phase: 'Active' } },
  ],
  gatewayconnections: [
    {
      metadata: meta(undefined, 'edge'),
      spec: {
        type: 'APISIX',
        apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'k', key: 'admin-key' } },
        allowedNamespaces: { selector: { matchLabels: { team: 'a' } } },
      },
    },
  ],
  gatewayupstreams: [
    {
      metadata: meta('shop', 'web', { finalizers: ['gatewayupstream.dev/upstream-cleanup'] }),
      spec: {
        connectionRef: { name: 'edge' },
        backends: [{ serviceRef: { name: 'web', port: 'http' } }],
      },
      status: { observedGeneration: 1, upstreamId: 'shop.web', conditions: [] },
    },
    {
      metadata: meta('shop', 'split'),
      spec: {
        connectionRef: { name: 'edge' },
        backends: [
          { serviceRef: { name: 'web', port: 80 }, weight: 3 },
          { serviceName: 'shop/api:grpc', weight: 1 },
        ],
      },
    },
  ],
  services: [
    {
      metadata: meta('shop', 'web'),
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.96.0.7',
        ipFamilies: ['IPv4'],
        selector: { app: 'web' },
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' }],
      },
    },
    {
      metadata: meta('shop', 'api'),
      spec: {
        type: 'ClusterIP',
        ipFamilies: ['IPv4'],
        ports: [{ name: 'grpc', port: 9000, protocol: 'TCP' }],
      },
    },
  ],
  endpointslices: [
    {
      metadata: meta('shop', 'web-1', { labels: { 'kubernetes.io/service-name': 'web' } }),
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: [
        endpoint('10.0.0.1'),
        endpoint('10.0.0.2'),
        endpoint('10.0.0.3', { ready: false, serving: false, terminating: false }),
      ],
    },
    {
      metadata: meta('shop', 'web-2', { labels: { 'kubernetes.io/service-name': 'web' } }),
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8081, protocol: 'TCP' }],
      endpoints: [endpoint('10.0.0.4', {})],
    },
    {
      metadata: meta('shop', 'api-1', { labels: { 'kubernetes.io/service-name': 'api' } }),
      addressType: 'IPv4',
      ports: [{ name: 'grpc', port: 9000, protocol: 'TCP' }],
      endpoints: [endpoint('10.0.1.1')],
    },
  ],
} as const;

type Kind = keyof typeof TRUTH;
const KINDS = Object.keys(TRUTH) as Kind[];
const TRIM: Readonly<Record<Kind, (raw: unknown) => Stored | undefined>> = {
  namespaces: transformNamespace,
  gatewayconnections: transformGatewayConnection,
  gatewayupstreams: transformGatewayUpstream,
  services: transformService,
  endpointslices: transformSlice,
};

const UNREADABLE: Readonly<Partial<Record<Kind, (raw: unknown, why: string) => Stored | undefined>>> = {
  services: unreadableService,
  endpointslices: unreadableSlice,
};

const storeOf = (kind: Kind): Store<never> => {
  const indexes =
    kind === 'gatewayupstreams' ? upstreamIndexes : kind === 'endpointslices' ? sliceIndexes : {};
  return createStore<Stored>({
    indexes: indexes as Record<string, (object: Stored) => readonly string[]>,
    reportError: (error) => expect.unreachable(String(error)),
  }) as unknown as Store<never>;
};

const listOf = (kind: Kind) => ({
  kind: 'List',
  metadata: { resourceVersion: '20' },
  items: TRUTH[kind],
});

/** The actual cluster, except for one kind from `stores`. */
function synced(kind: Kind): Store<never> {
  const store = storeOf(kind);
  const objects = TRUTH[kind].map((raw) => TRIM[kind](raw));
  store.replaceAll(objects as never[]);
  store.setState({ state: 'synced' });
  return store;
}

const driver = createMemoryDriver({ nowSeconds: () => 1 });

/** The writes that `reconcile` would make by id, if the gateway contains `observed`. */
function writes(
  stores: Readonly<Record<Kind, Store<never>>>,
  observed: ReadonlyMap<string, ObservedUpstream>,
): readonly Upstream[] {
  const upstreams = stores.gatewayupstreams as unknown as Store<GatewayUpstream>;
  // The controller waits until these are listed completely.
  if (
    [upstreams, stores.gatewayconnections, stores.namespaces].some((store) => store.state.state !== 'synced')
  )
    return [];
  const conflicts = new IdConflicts();
  for (const object of upstreams.list()) conflicts.update(keyOf(object), object, '');
  const snapshot = {
    clusterId: 'c1',
    vendorOf,
    upstreams,
    connections: stores.gatewayconnections,
    namespaces: stores.namespaces,
    source: createKubernetesSource({
      services: stores.services,
      slices: stores.endpointslices,
    }),
    conflicts,
    contentOf: (_connection: string, id: string) => ({ known: true as const, observed: observed.get(id) }),
    gatewayInfo: () => ({}),
    certificates: new Map(),
    recall: () => undefined,
    now: () => 0,
  } as unknown as Snapshot;
  return [...upstreams.list()].flatMap((object) => {
    const evaluation = buildDesired(snapshot, object);
    if (evaluation.kind !== 'evaluated') return [];
    const { change } = planChange(snapshot, evaluation, object, observed.get(evaluation.id), (upstream) =>
      driver.canonical(upstream),
    );
    return change.kind === 'create' || change.kind === 'update' ? [change.desired] : [];
  });
}

const NOTHING: ReadonlyMap<string, ObservedUpstream> = new Map();
const allSynced = () =>
  Object.fromEntries(KINDS.map((kind) => [kind, synced(kind)])) as unknown as Record<Kind, Store<never>>;

const RIGHT = new Map(writes(allSynced(), NOTHING).map((upstream) => [upstream.id, upstream]));
/** The correct content of the gateway. Nothing has to be written. */
const HELD = new Map(
  [...RIGHT].map(([id, upstream]): [string, ObservedUpstream] => [
    id,
    {
      id,
      labels: upstream.labels,
      nodes: upstream.nodes,
      canonical: driver.canonical(upstream),
      createTime: 1,
    },
  ]),
);

/** The responses of a collection in order. After the last one, a watch stays open. */
type Answer = { readonly list: Buffer } | { readonly event: Buffer };

/** The mutated response: the first list, a later list, or an event. */
const WHEN = ['first list', 'relist', 'event'] as const;

function scriptOf(
  kind: Kind,
  random: Random,
): { readonly answers: readonly Answer[]; readonly mutated: Mutated; readonly when: string } {
  const when = pick(WHEN, random);
  const good = { list: Buffer.from(JSON.stringify(listOf(kind))) };
  const closed: Answer = { event: GONE };
  if (when !== 'event') {
    const mutated = mutate(listOf(kind), random);
    const bad = { list: mutated.bytes };
    return {
      when,
      mutated,
      answers: when === 'first list' ? [bad, good] : [good, closed, bad, closed, good],
    };
  }
  const object = structuredClone(pick<{ readonly metadata: object }>(TRUTH[kind], random));
  const event = {
    type: 'MODIFIED',
    object: { ...object, metadata: { ...object.metadata, resourceVersion: '21' } },
  };
  const mutated = mutate(event, random);
  return { when, mutated, answers: [good, { event: mutated.bytes }, closed, good] };
}

/** Parses like the transport. */
function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new KubeApiError('no JSON');
  }
}

type Taker = (want: 'list' | 'event') => Answer | undefined;

const GONE = Buffer.from('{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}');

/**
 * Returns the responses in order, and undefined for a watch that stays open. A reflector may accept a mutated response or
 * repeat its request.
 */
function takerOf(answers: readonly Answer[], onEnd: () => void): Taker {
  const right = answers.findLast((answer) => 'list' in answer);
  let next = 0;
  return (want) => {
    const answer = answers[next];
    if (answer !== undefined && want in answer) {
      next += 1;
      return answer;
    }
    if (want === 'list') return right;
    // A watch before the last response is sent back to the list.
    if (answer !== undefined) return { event: GONE };
    onEnd();
    return undefined;
  };
}

function inMemory(take: Taker): KubeTransport {
  return {
    async get() {
      const answer = take('list');
      return parsed(answer !== undefined && 'list' in answer ? answer.list : Buffer.alloc(0));
    },
    send: () => Promise.reject(new Error('nothing is sent')),
    async *watch(_path, { signal }) {
      const answer = take('event');
      if (answer === undefined || !('event' in answer)) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        throw signal.reason;
      }
      const event = parsed(answer.event) as Partial<WatchEvent> | null;
      if (typeof event?.type !== 'string') throw new KubeApiError('no event');
      yield { type: event.type, object: event.object };
    },
    close: () => undefined,
  };
}

const rejections: unknown[] = [];
const noteRejection = (reason: unknown) => rejections.push(reason);
beforeEach(() => {
  process.on('unhandledRejection', noteRejection);
});
afterEach(() => {
  process.off('unhandledRejection', noteRejection);
});

/** One mutated response, then correct ones: no wrong write in between, and the actual state at the end. */
async function round(seed: number, transportOf: (take: Taker) => KubeTransport): Promise<Mutated> {
  const random = createRandom(seed);
  const kind = pick(KINDS, random);
  const { answers, mutated, when } = scriptOf(kind, random);
  const label = `FUZZ_SEED=${seed}: ${mutated.mutation} of ${kind} (${when}) at ${mutated.where}`;
  const store = storeOf(kind);
  const stores = { ...base, [kind]: store };
  let isNews = true;
  using _changes = store.onChange(() => {
    isNews = true;
  });
  using _states = store.onState(() => {
    isNews = true;
  });
  const look = () => {
    if (!isNews) return;
    isNews = false;
    for (const observed of [NOTHING, HELD]) {
      for (const write of writes(stores, observed)) {
        expect(write.nodes, label).toEqual(RIGHT.get(write.id)?.nodes);
      }
    }
  };
  const { promise: followed, resolve, reject } = Promise.withResolvers<void>();
  const stuck = setTimeout(() => reject(new Error(`${label}: no result in time`)), STUCK_MS);
  const take = takerOf(answers, resolve);
  const transport = transportOf((want) => {
    try {
      look();
    } catch (error) {
      reject(error);
    }
    return take(want);
  });
  const stop = new AbortController();
  const reflector = createReflector<Stored>({
    name: kind,
    transport,
    paths: [`/apis/x/v1/${kind}`],
    query: {},
    transform: TRIM[kind],
    unreadable: UNREADABLE[kind],
    // Called for each object that a mutation made unreadable.
    reportError: () => undefined,
    store: store as unknown as Store<Stored>,
    clock: hasty,
    random,
    log: silent,
  });
  const running = reflector.run(stop.signal);
  try {
    await followed;
    expect(store.state.state, label).toBe('synced');
    expect(writes(stores, NOTHING), label).toEqual([...RIGHT.values()]);
    expect(writes(stores, HELD), label).toEqual([]);
  } finally {
    clearTimeout(stuck);
    stop.abort();
    await running;
    transport.close();
  }
  return mutated;
}

const base = allSynced();

describe('mutated responses of an API server', () => {
  it(`${ROUNDS} of them cause no wrong write, and end with the actual state`, async () => {
    expect([...RIGHT.keys()].sort()).toEqual(['shop.split', 'shop.web']);
    expect(RIGHT.get('shop.web')?.nodes).toHaveLength(3);
    const counts = Object.fromEntries(MUTATIONS.map((mutation) => [mutation, 0]));
    for (let seed = SEED; seed < SEED + ROUNDS; seed += 1) {
      const { mutation } = await round(seed, inMemory);
      counts[mutation] = (counts[mutation] ?? 0) + 1;
    }
    expect(rejections).toEqual([]);
    process.stdout.write(`${ROUNDS} mutated API server answers: ${JSON.stringify(counts)}\n`);
  }, 400_000);

  it(`${ROUNDS_OVER_HTTP} of them over HTTP cause no wrong write`, async () => {
    let next: Taker = () => undefined;
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://api');
      const answer = next(url.searchParams.get('watch') === 'true' ? 'event' : 'list');
      response.writeHead(200, { 'content-type': 'application/json' });
      if (answer === undefined) response.flushHeaders();
      else if ('list' in answer) response.end(answer.list);
      else response.end(Buffer.concat([answer.event, Buffer.from('\n')]));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      for (let seed = SEED; seed < SEED + ROUNDS_OVER_HTTP; seed += 1) {
        await round(seed, (take) => {
          next = take;
          return createTransport({ kubeConfig: kubeConfigOf({ server: url }), userAgent: 'tests' });
        });
      }
    } finally {
      server.closeAllConnections();
      server.close();
    }
    expect(rejections).toEqual([]);
    process.stdout.write(`${ROUNDS_OVER_HTTP} mutated API server answers over HTTP\n`);
  }, 600_000);
});
