import { beforeEach, describe, expect, it } from 'vitest';
import { upstreamIndexes } from '../../../../src/decide/upstream-indexes.ts';
import type { SetMember } from '../../../../src/decide/upstream-set.ts';
import { UpstreamSets } from '../../../../src/engine/set/reconcile.ts';
import type { Reporter } from '../../../../src/engine/status/reporter.ts';
import { KubeApiError } from '../../../../src/kube/kube-error.ts';
import { transformNamespace } from '../../../../src/kube/objects.ts';
import { createStore, type Store, type StoreOptions } from '../../../../src/kube/store.ts';
import type { ObjectKey } from '../../../../src/model/keys.ts';
import type { GatewayUpstream, GatewayUpstreamSet, NamespaceStored } from '../../../../src/model/objects.ts';
import type { SetOutcome } from '../../../../src/model/outcome.ts';
import type { Stored } from '../../../../src/model/store-view.ts';
import {
  type ServiceFacts,
  serviceIndexes,
  transformService,
  unreadableService,
} from '../../../../src/sources/kubernetes/transform.ts';
import { transformGatewayUpstream, transformGatewayUpstreamSet } from '../../../support/catalog.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';
import { noReports } from '../../../support/no-reports.ts';

const never = new AbortController().signal;

function storeOf<T extends Stored>(indexes: StoreOptions<T>['indexes'] = {}): Store<T> {
  return createStore<T>({
    indexes,
    reportError: (error) => {
      throw error;
    },
  });
}

describe('the GatewayUpstreams of sets', () => {
  let sets: Store<GatewayUpstreamSet>;
  let upstreams: Store<GatewayUpstream>;
  let services: Store<ServiceFacts>;
  let namespaces: Store<NamespaceStored>;
  let clock: FakeClock;
  /** Requests to the API server. */
  let requests: string[];
  let refusal: KubeApiError | undefined;
  let outcome: SetOutcome | undefined;
  let queue: Set<ObjectKey>;
  let gone: string[];
  let reconciler: UpstreamSets;
  let version = 0;

  const metadata = (name: string, extra: object = {}) => ({
    name,
    namespace: 'shop',
    uid: `uid of ${name}`,
    resourceVersion: String(++version),
    ...extra,
  });
  const put = <T extends Stored>(store: Store<T>, object: T | undefined) => {
    if (object === undefined) throw new Error('it cannot be read');
    store.upsert(object);
  };
  const service = (name: string, labels: object = { app: 'x' }) =>
    put(
      services,
      transformService({ metadata: metadata(name, { labels }), spec: { ports: [{ port: 80 }] } }),
    );
  const set = (spec: object = {}, extra: object = {}) =>
    put(
      sets,
      transformGatewayUpstreamSet({
        metadata: { ...metadata('all', { generation: version, ...extra }), namespace: undefined },
        spec: {
          namespaceSelector: { names: ['shop'] },
          serviceSelector: { matchLabels: { app: 'x' } },
          ...spec,
        },
      }),
    );
  /** Stores an object as the API server does. */
  const store = ({ name, labels, annotations, spec }: SetMember) => {
    const controller = { apiVersion: 'gatewayupstream.dev/v1alpha1', kind: 'GatewayUpstreamSet' };
    const ownerReferences = [{ ...controller, name: 'all', uid: 'uid of all', controller: true }];
    const generation = version;
    put(
      upstreams,
      transformGatewayUpstream({
        metadata: metadata(name, { labels, annotations, ownerReferences, generation }),
        spec,
      }),
    );
  };
  /** Runs scheduled work until none is left. */
  const work = async () => {
    while (queue.size > 0) {
      const keys = [...queue];
      queue.clear();
      for (const key of keys) await reconciler.reconcileMember('all', key, never);
    }
    reconciler.reconcile('all');
  };
  const synced = () => {
    for (const one of [sets, upstreams, services, namespaces]) one.setState({ state: 'synced' });
  };

  beforeEach(() => {
    sets = storeOf();
    upstreams = storeOf(upstreamIndexes);
    services = storeOf(serviceIndexes);
    namespaces = storeOf();
    clock = createFakeClock();
    requests = [];
    queue = new Set();
    gone = [];
    refusal = undefined;
    outcome = undefined;
    const reporter: Reporter = {
      ...noReports,
      set: (_, told) => {
        outcome = told;
      },
    };
    reconciler = new UpstreamSets({
      sets,
      upstreams,
      services,
      namespaces,
      clock,
      reporter,
      permissions: { lacking: () => undefined, onChange: () => ({ [Symbol.dispose]: () => undefined }) },
      memberWriter: {
        apply: async (_, member, held) => {
          if (refusal !== undefined) throw refusal;
          requests.push(`${held === undefined ? 'create' : 'change'} ${member.name}`);
          store(member);
        },
        remove: async ({ namespace, name }) => {
          requests.push(`delete ${name}`);
          const held = upstreams.get(namespace, name);
          if (held !== undefined) upstreams.remove(held);
        },
      },
      enqueueSet: () => undefined,
      enqueueMember: (_, key) => queue.add(key),
      onUnused: (name) => gone.push(name),
    });
    put(namespaces, transformNamespace({ metadata: { ...metadata('shop'), namespace: undefined } }));
    for (const name of ['a', 'b', 'c']) service(name);
    set();
  });

  it.each(['sets', 'upstreams', 'services', 'namespaces'] as const)(
    'are not created until %s are listed',
    async (last) => {
      reconciler.listen();
      const stores = { sets, upstreams, services, namespaces };
      for (const [name, one] of Object.entries(stores)) if (name !== last) one.setState({ state: 'synced' });
      await work();
      expect(requests).toEqual([]);
      stores[last].setState({ state: 'synced' });
      await work();
      expect(requests).toEqual(['create a-80', 'create b-80', 'create c-80']);
      expect(outcome).toMatchObject({
        ready: { status: 'True', reason: 'Ready' },
        counts: { services: 3, ports: 3, upstreams: 3, waiting: 0, problems: [] },
      });
    },
  );

  describe('that exist', () => {
    beforeEach(async () => {
      reconciler.listen();
      synced();
      await work();
      requests.length = 0;
    });

    it('are reconciled individually after an event of their Service', async () => {
      service('b', { app: 'x', other: 'label' });
      expect([...queue]).toEqual(['shop/b-80']);
      await work();
      expect(requests).toEqual([]);
      service('b', { app: 'y' });
      await work();
      expect(requests).toEqual(['delete b-80']);
    });

    it('are updated after a change of the template or by another client', async () => {
      set({ template: { spec: { retries: 2 } } });
      await work();
      expect(requests.toSorted()).toEqual(['change a-80', 'change b-80', 'change c-80']);
      requests.length = 0;
      const held = upstreams.get('shop', 'a-80');
      if (held?.spec.ok !== true) throw new Error('it is not there');
      const spec = { ok: true, value: { ...held.spec.value, retries: 9 } } as const;
      upstreams.upsert({ ...held, spec, generation: 99, resourceVersion: 'changed' });
      await work();
      expect(requests).toEqual(['change a-80']);
    });

    it('are taken over from an earlier set of the same name', async () => {
      const held = upstreams.get('shop', 'a-80');
      if (held?.madeBy === undefined) throw new Error('it is not there');
      const madeBy = { ...held.madeBy, uid: 'uid of an earlier one' };
      upstreams.upsert({ ...held, madeBy, resourceVersion: 'changed' });
      await work();
      expect(requests).toEqual(['change a-80']);
      expect(outcome).toMatchObject({ ready: { status: 'True' }, counts: { upstreams: 3 } });
    });

    it('are kept while too many Services lose their label one after the other, even after a minute', async () => {
      for (const name of ['a', 'b', 'c']) {
        service(name, {});
        await work();
        await clock.advance(1000);
      }
      expect(requests).toEqual(['delete a-80']);
      expect(outcome).toMatchObject({ pruningHeld: { reason: 'PruningHeld' }, counts: { waiting: 2 } });
      await clock.advance(120_000);
      service('b', { still: 'none' });
      await work();
      expect(requests).toEqual(['delete a-80']);
      set({}, { annotations: { 'gatewayupstream.dev/accept-prune': new Date(clock.now()).toISOString() } });
      await work();
      expect(requests).toEqual(['delete a-80', 'delete b-80', 'delete c-80']);
      expect(outcome).toMatchObject({ pruningHeld: undefined, counts: { upstreams: 0 } });
    });

    it('are pruned regardless of foreign objects with the label of the set', async () => {
      const stranger = (name: string, namespace: string) =>
        put(
          upstreams,
          transformGatewayUpstream({
            metadata: { ...metadata(name, { labels: { 'gatewayupstream.dev/set': 'all' } }), namespace },
            spec: { backends: [{ serviceRef: { name: 'a', port: 80 } }] },
          }),
        );
      // In a namespace that the set does not select, and under unused names in a selected namespace.
      for (let n = 0; n < 5; n += 1) {
        stranger(`mine-${n}`, 'elsewhere');
        stranger(`mine-${n}`, 'shop');
      }
      await work();
      expect(outcome?.counts).toMatchObject({ upstreams: 3, waiting: 0 });
      service('b', {});
      await work();
      expect(requests).toEqual(['delete b-80']);
      expect(outcome).toMatchObject({ pruningHeld: undefined, counts: { upstreams: 2, waiting: 0 } });
    });

    it('are deleted with their Service even if pruning is postponed', async () => {
      set({ serviceSelector: { matchLabels: { app: 'wrong' } } });
      await work();
      expect(requests).toEqual([]);
      const gone = services.get('shop', 'b');
      if (gone !== undefined) services.remove(gone);
      await work();
      expect(requests).toEqual(['delete b-80']);
      expect(outcome?.counts?.waiting).toBe(2);
      set();
      await work();
      expect(requests).toEqual(['delete b-80']);
      expect(outcome?.pruningHeld).toBeUndefined();
    });

    it('are kept while their Service is unreadable', async () => {
      const unread = unreadableService({ metadata: metadata('b') }, 'bad');
      put(services, unread);
      await work();
      expect(requests).toEqual([]);
      service('b', {});
      await work();
      expect(requests).toEqual(['delete b-80']);
    });

    it('are neither deleted nor created in a namespace that is being deleted', async () => {
      const deletionTimestamp = '2026-01-01T00:00:00Z';
      put(
        namespaces,
        transformNamespace({
          metadata: { ...metadata('shop', { deletionTimestamp }), namespace: undefined },
        }),
      );
      await work();
      expect(requests).toEqual([]);
      expect(outcome?.counts).toMatchObject({ services: 0, waiting: 0 });
    });

    it('are left to garbage collection when the set is deleted', async () => {
      const deleted = sets.get('', 'all');
      if (deleted !== undefined) sets.remove(deleted);
      service('a', {});
      await work();
      expect(requests).toEqual([]);
      expect(gone).toEqual(['all']);
    });

    it('are reported as problems with the message of the API server that rejects them', async () => {
      refusal = new KubeApiError('spec.retries: too many', { status: 422 });
      set({ template: { spec: { retries: 2 } } });
      await work();
      expect(outcome).toMatchObject({
        ready: { status: 'False', reason: 'MemberRefused', message: expect.stringContaining('too many') },
        counts: { problems: [{ service: 'shop/a' }, { service: 'shop/b' }, { service: 'shop/c' }] },
      });
    });
  });
});
