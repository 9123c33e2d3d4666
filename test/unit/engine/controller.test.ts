import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { grantIndexes } from '../../../src/decide/references.ts';
import { upstreamIndexes } from '../../../src/decide/upstream-indexes.ts';
import { createController } from '../../../src/engine/controller.ts';
import { createInstruments, type depthSamples } from '../../../src/engine/instruments.ts';
import { ObjectStates } from '../../../src/engine/object-state.ts';
import { transformNamespace } from '../../../src/kube/objects.ts';
import { createStore, type Store } from '../../../src/kube/store.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  NamespaceStored,
  SecretFacts,
} from '../../../src/model/objects.ts';
import type { Stored } from '../../../src/model/store-view.ts';
import { createMetrics, type Metrics } from '../../../src/runtime/metrics.ts';
import { Pace } from '../../../src/runtime/pace.ts';
import type { SourceChange } from '../../../src/sources/source.ts';
import { transformGatewayConnection, transformGatewayUpstream, vendorOf } from '../../support/catalog.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { noReports } from '../../support/no-reports.ts';

const silent = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => silent };

function storeOf<T extends Stored>(
  indexes: Readonly<Record<string, (object: T) => readonly string[]>> = {},
): Store<T> {
  const store = createStore<T>({ indexes, reportError: (error) => expect.fail(String(error)) });
  store.setState({ state: 'synced' });
  return store;
}

function the<T>(object: T | undefined): T {
  if (object === undefined) throw new Error('the object cannot be read');
  return object;
}

let version = 0;
const metadata = (name: string, namespace?: string) => {
  version += 1;
  return { name, namespace, uid: `uid of ${name}`, resourceVersion: `${version}`, generation: 1 };
};

function upstream(name: string, connection: string): GatewayUpstream {
  return the(
    transformGatewayUpstream({
      metadata: metadata(name, 'shop'),
      spec: {
        connectionRef: { name: connection },
        // Each upstream has a Service of the same name.
        backends: [{ serviceRef: { name, port: 80 } }],
      },
    }),
  );
}

/** The Secret does not exist, so that no request is sent to a gateway. */
function connection(name: string): GatewayConnection {
  return the(
    transformGatewayConnection({
      metadata: metadata(name),
      spec: {
        type: 'APISIX',
        apisix: { adminUrl: 'http://127.0.0.1:9', adminKeySecretRef: { name: 'missing' } },
        allowedNamespaces: { all: true },
      },
    }),
  );
}

describe('the controller', () => {
  let upstreams: Store<GatewayUpstream>;
  let connections: Store<GatewayConnection>;
  let metrics: Metrics;
  let depths: () => ReturnType<typeof depthSamples>;
  let stop: () => Promise<void>;
  let states: ObjectStates;
  /** Number of active subscriptions. */
  let subscribed: number;
  let notify: Map<string, (what: SourceChange) => void>;
  const reported = vi.fn();

  beforeEach(() => {
    reported.mockClear();
    notify = new Map();
    upstreams = storeOf(upstreamIndexes);
    connections = storeOf();
    metrics = createMetrics();
    const namespaces = storeOf<NamespaceStored>();
    namespaces.upsert(the(transformNamespace({ metadata: metadata('shop') })));
    const clock = createFakeClock();
    states = new ObjectStates(clock);
    subscribed = 0;
    const controller = createController({
      vendorOf,
      states,
      clusterId: 'cluster',
      operatorNamespace: 'operator',
      upstreams,
      connections,
      sets: storeOf<GatewayUpstreamSet>(),
      services: storeOf({ namespace: ({ namespace }) => [namespace] }),
      namespaces,
      secrets: storeOf<SecretFacts>(),
      grants: storeOf(grantIndexes),
      certificates: new Map(),
      onlyNamespaces: [],
      source: {
        type: 'test',
        run: async () => undefined,
        subscribe(ref, changed) {
          if (ref.source === 'Kubernetes') notify.set(ref.name, changed);
          subscribed += 1;
          return {
            [Symbol.dispose]() {
              subscribed -= 1;
            },
          };
        },
        read: () => ({ state: 'absent', reason: 'ServiceNotFound', message: 'there is none' }),
        departure: vi.fn(),
        listedElsewhere: () => new Set(),
      },
      permissions: { lacking: () => undefined, onChange: () => ({ [Symbol.dispose]: () => undefined }) },
      writer: { addFinalizer: async () => true, removeFinalizer: vi.fn(), applyStatus: vi.fn() },
      memberWriter: { apply: vi.fn(), remove: vi.fn() },
      reporter: { ...noReports, upstream: reported },
      pace: new Pace(clock),
      clock,
      random: () => 0.5,
      log: silent,
      backoffMs: () => 1000,
      resyncMs: 600_000,
      requestTimeoutMs: 1000,
      mayWrite: () => true,
      instruments: createInstruments(metrics),
    });
    ({ depths } = controller);
    const abort = new AbortController();
    const running = controller.run(abort.signal);
    stop = async () => {
      abort.abort();
      await running;
    };
  });

  afterEach(() => stop());

  const queuesOfGateways = () =>
    depths()
      .filter(({ labels }) => labels['queue'] === 'gateway')
      .map(({ labels }) => labels['connection']);
  const series = async () => {
    await settle();
    return (await metrics.text()).split('\n').filter((line) => /^gateway_upstream_operator_.*\{/.test(line));
  };
  /** Resolves when no key waits or runs. */
  const idle = () =>
    vi.waitFor(() => expect(depths().filter(({ value }) => value > 0)).toEqual([]), { timeout: 20_000 });

  it('uses one queue for all missing connections', async () => {
    upstreams.upsert(upstream('first', 'first'));
    await idle();
    const before = await series();
    for (let n = 0; n < 5000; n += 1) upstreams.upsert(upstream(`web-${n}`, `unknown-${n}`));
    await idle();
    expect(reported).toHaveBeenCalledTimes(5001);
    expect(queuesOfGateways()).toEqual(['']);
    const after = await series();
    expect(after).toHaveLength(before.length);
    expect(after.filter((line) => line.includes('unknown'))).toEqual([]);
  });

  it('moves upstreams to the queue of their connection and back, and drops the queue with its metrics', async () => {
    for (const name of ['a', 'b']) upstreams.upsert(upstream(name, 'main'));
    connections.upsert(connection('main'));
    await idle();
    expect(queuesOfGateways()).toEqual(['', 'main']);
    expect((await series()).some((line) => line.includes('connection="main"'))).toBe(true);
    connections.remove(the(connections.get('', 'main')));
    await idle();
    expect(queuesOfGateways()).toEqual(['']);
    expect((await series()).filter((line) => line.includes('main'))).toEqual([]);
    const outcomes = reported.mock.calls.map(([, { accepted }]) => accepted.reason);
    expect(outcomes.slice(-2)).toEqual(['ConnectionNotFound', 'ConnectionNotFound']);
  });

  it('drops the queue of each deleted connection', async () => {
    const before = (await series()).length;
    for (let n = 0; n < 200; n += 1) {
      connections.upsert(connection(`c-${n}`));
      upstreams.upsert(upstream('web', `c-${n}`));
      await settle();
      connections.remove(the(connections.get('', `c-${n}`)));
    }
    await idle();
    expect(queuesOfGateways()).toEqual(['']);
    // The queues of connections and of missing gateways remain.
    expect((await series()).length - before).toBeLessThan(50);
  });

  it('keeps one state and one subscription per object until the object is deleted', async () => {
    const [first, second] = [upstream('first', 'main'), upstream('second', 'main')];
    for (const object of [first, second]) upstreams.upsert(object);
    connections.upsert(connection('main'));
    await idle();
    const state = states.of(second);
    expect([...states]).toHaveLength(2);
    expect(subscribed).toBe(2);
    upstreams.remove(first);
    // The same name with another uid is another object.
    upstreams.upsert({ ...second, uid: 'another', resourceVersion: `${second.resourceVersion}0` });
    await idle();
    expect([...states].map(({ uid }) => uid)).toEqual(['another']);
    expect([...states]).not.toContain(state);
    expect(subscribed).toBe(1);
    await stop();
    expect([[...states], subscribed]).toEqual([[], 0]);
  });

  describe('priorities', () => {
    const COUNT = 300;
    const names = Array.from({ length: COUNT }, (_, n) => `web-${n}`);
    const last = `web-${COUNT - 1}`;
    /** Position at which the last object was reconciled. */
    const placeOfLast = () => reported.mock.calls.findIndex(([{ name }]) => name === last);

    it.each([
      ['reconciles first', 'after a change of instances', 'instances', 0],
      ['reconciles in order', 'after the list of a source', 'source', COUNT - 1],
    ] as const)('%s %s', async (_, __, what, place) => {
      connections.upsert(connection('main'));
      await idle();
      for (const name of names) upstreams.upsert(upstream(name, 'main'));
      notify.get(last)?.(what);
      await idle();
      expect(placeOfLast()).toBe(place);
    });

    it('reconciles a pending endpoint change first when the gateway becomes usable', async () => {
      connections.upsert(connection('main'));
      for (const name of names) upstreams.upsert(upstream(name, 'main'));
      await idle();
      notify.get(last)?.('instances');
      await idle();
      reported.mockClear();
      const { spec, ...rest } = connection('main');
      connections.upsert({ ...rest, generation: 2, spec });
      await idle();
      expect(reported.mock.calls.length).toBe(COUNT);
      expect(placeOfLast()).toBe(0);
    });
  });
});
