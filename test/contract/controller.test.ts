import { describe, expect, it } from 'vitest';
import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../../src/api/group.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import type { Stores } from '../../src/cli/plan/kinds.ts';
import { parseDocuments } from '../../src/cli/plan/read-files.ts';
import { KubeApiError } from '../../src/kube/kube-error.ts';
import type { Store } from '../../src/kube/store.ts';
import type { StoreView } from '../../src/model/store-view.ts';
import { MAX_LIST_BYTES } from '../../src/runtime/http/limits.ts';
import { unreadableSlice } from '../../src/sources/kubernetes/transform.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { admit, storesOf } from '../support/catalog.ts';
import { type ControllerSettings, type RunningController, runController } from '../support/controller.ts';
import { eventually as retried } from '../support/eventually.ts';
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts';
import { finalizersOf } from '../support/finalizers.ts';

/** Runs the controller over real HTTP with a clock that the test advances, so that no test waits in real time. */

const NOW = Date.parse('2026-01-01T12:00:00Z');
const ID = 'shop.web';

interface Options extends Partial<ControllerSettings> {
  readonly connection?: string;
  readonly upstream?: string;
  readonly more?: string;
}

interface Scene extends AsyncDisposable {
  readonly gateway: StandIn;
  readonly stores: Stores;
  readonly clock: FakeClock;
  readonly controller: RunningController;
  hosts(id?: string): readonly string[] | undefined;
  setHost(host: string, service?: string): void;
  ready(): string | undefined;
}

const upstreamYaml = (name: string, spec = '', backends = '[{serviceRef: {name: web, port: 80}}]') => `
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayUpstream
metadata: {name: ${name}, namespace: shop}
spec:
  backends: ${backends}
${spec}`;

const sliceOf = (host: string, service = 'web') => ({
  metadata: {
    name: `${service}-1`,
    namespace: 'shop',
    uid: `slice-${service}`,
    resourceVersion: host,
    labels: { 'kubernetes.io/service-name': service },
  },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints: [{ addresses: [host], conditions: { ready: true } }],
});

async function start({
  connection = '',
  upstream = '',
  more = '',
  ...settings
}: Options = {}): Promise<Scene> {
  const gateway = await startStandIn();
  const yaml = `
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayConnection
metadata: {name: default}
spec:
  type: APISIX
  apisix: {adminUrl: '${gateway.adminUrl}', adminKeySecretRef: {name: apisix-admin}}
  allowedNamespaces: {all: true}
${connection}
---
apiVersion: v1
kind: Secret
metadata: {name: apisix-admin, namespace: gateway-upstream-operator}
stringData: {admin-key: '${gateway.adminKey}'}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
${upstreamYaml('web', upstream)}
${more}`;
  const stores = storesOf(admit(parseDocuments(yaml, 'scene'), NOW).objects, []);
  const clock = createFakeClock(NOW);
  const setHost = (host: string, service?: string) => {
    const slice = builtInCatalog.followedResources.slices.transform(sliceOf(host, service));
    if (slice !== undefined) (stores.slices as Store<typeof slice>).upsert(slice);
  };
  setHost('10.0.0.1');
  const controller = runController(stores, { clock, ...settings });
  return {
    gateway,
    stores,
    clock,
    controller,
    setHost,
    hosts(id = ID) {
      const nodes = gateway.get('upstreams', id)?.['nodes'] as
        | readonly { readonly host: string }[]
        | undefined;
      return nodes?.map(({ host }) => host);
    },
    ready() {
      const condition = controller.statuses.get('shop/web')?.conditions?.find(({ type }) => type === 'Ready');
      return condition && `${condition.status}/${condition.reason}: ${condition.message}`;
    },
    async [Symbol.asyncDispose]() {
      await controller[Symbol.asyncDispose]();
      await gateway[Symbol.asyncDispose]();
    },
  };
}

const eventually = (check: () => unknown) => retried(check, { timeoutMs: 10_000 });

/** Advances the clock until `check` passes. */
async function inTime(clock: FakeClock, check: () => unknown, stepMs = 500): Promise<void> {
  await eventually(async () => {
    await clock.advance(stepMs);
    await check();
  });
}

const methodsFor = (gateway: StandIn, id: string) =>
  gateway.requests.filter(({ path }) => path.endsWith(`/${id}`)).map(({ method }) => method);

function change<
  T extends { readonly namespace: string; readonly name: string; readonly resourceVersion: string },
>(
  store: StoreView<T & { readonly uid: string }>,
  [namespace, name]: readonly [string, string],
  with_: Partial<T>,
): void {
  const object = store.get(namespace, name);
  if (object === undefined) throw new Error(`${namespace}/${name} is gone`);
  (store as Store<T & { readonly uid: string }>).upsert({
    ...object,
    ...with_,
    resourceVersion: `${object.resourceVersion}c`,
  });
}

const deletedAt = new Date(NOW).toISOString();

/** Of the upstream that GatewayUpstream `shop/web` makes. */
const operatorLabels = {
  'gatewayupstream.dev/operator': 'gateway-upstream-operator',
  'gatewayupstream.dev/cluster': 'kube-system-uid',
  'gatewayupstream.dev/connection': 'default',
  'gatewayupstream.dev/namespace': 'shop',
  'gatewayupstream.dev/name': 'web',
};

describe('a write that takes effect after its timeout', () => {
  it('is detected and corrected a minute later, long before the next resync', async () => {
    await using scene = await start({ requestTimeoutMs: 300 });
    const { gateway, clock, hosts, setHost } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    // Until after the list that follows a minute after the start.
    await clock.advance(61_000);

    using _late = gateway.addFault({
      fault: { kind: 'delay', delayMs: 1500 },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    setHost('10.0.0.2');
    const puts = () => gateway.requests.filter(({ method }) => method === 'PUT');
    await eventually(() => expect(puts()).toHaveLength(2));
    setHost('10.0.0.3');
    await inTime(clock, () => expect(hosts()).toEqual(['10.0.0.3']));
    await eventually(() => expect(hosts()).toEqual(['10.0.0.2']));
    gateway.clearRequests();

    await clock.advance(62_000);
    await eventually(() => expect(hosts()).toEqual(['10.0.0.3']));
    expect(methodsFor(gateway, ID)).toEqual(['GET', 'PUT']);
  });

  it('is removed if its object was deleted', async () => {
    await using scene = await start({ requestTimeoutMs: 300 });
    const { gateway, stores, clock, hosts, setHost } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    await clock.advance(61_000);

    using _late = gateway.addFault({
      fault: { kind: 'delay', delayMs: 1500 },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    setHost('10.0.0.2');
    await eventually(() => expect(gateway.requests.filter(({ method }) => method === 'PUT')).toHaveLength(2));
    change(stores.upstreams, ['shop', 'web'], { deletionTimestamp: deletedAt, generation: 2 });
    await inTime(clock, () => expect(stores.upstreams.get('shop', 'web')).toBeUndefined());
    await eventually(() => expect(hosts()).toEqual(['10.0.0.2']));

    await inTime(clock, () => expect(hosts()).toBeUndefined(), 30_000);
  });
});

describe('a backend with an unknown source', () => {
  const BACKENDS =
    '[{serviceRef: {name: web, port: 80}, weight: 90}, {serviceRef: {name: api, port: 80}, weight: 10}]';
  const API = `---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {ports: [{port: 80}]}
---
${upstreamYaml('mixed', '', BACKENDS)}`;
  const MIXED = 'shop.mixed';
  const makeUnreadable = ({ stores }: Scene, service: string) => {
    const slice = unreadableSlice({ ...sliceOf('broken', service) }, 'a port is no number');
    if (slice !== undefined) (stores.slices as Store<typeof slice>).upsert(slice);
  };
  const resolvedRefs = ({ controller }: Scene) =>
    controller.statuses.get('shop/mixed')?.conditions?.find(({ type }) => type === 'ResolvedRefs')?.reason;

  it('keeps its last known endpoints and its share while other backends change', async () => {
    await using scene = await start({ more: API });
    const { gateway, hosts, setHost } = scene;
    setHost('10.0.1.1', 'api');
    await eventually(() => expect(hosts(MIXED)).toEqual(['10.0.0.1', '10.0.1.1']));

    makeUnreadable(scene, 'web');
    await eventually(() => expect(resolvedRefs(scene)).toBe('SourceUnavailable'));
    setHost('10.0.1.2', 'api');
    await eventually(() =>
      expect(gateway.get('upstreams', MIXED)?.['nodes']).toMatchObject([
        { host: '10.0.0.1', weight: 9 },
        { host: '10.0.1.2', weight: 1 },
      ]),
    );
    expect(resolvedRefs(scene)).toBe('SourceUnavailable');

    setHost('10.0.0.2');
    await eventually(() => expect(hosts(MIXED)).toEqual(['10.0.0.2', '10.0.1.2']));
    await eventually(() => expect(resolvedRefs(scene)).toBe('ResolvedRefs'));
  });

  it('prevents writes for the object until the source has answered once', async () => {
    await using scene = await start();
    const { stores, gateway, hosts, setHost } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    makeUnreadable(scene, 'api');
    const { objects } = admit(parseDocuments(API, 'more'), NOW);
    const more = storesOf(objects, []);
    for (const service of more.services.list()) (stores.services as Store<typeof service>).upsert(service);
    for (const object of more.upstreams.list()) (stores.upstreams as Store<typeof object>).upsert(object);
    await eventually(() => expect(resolvedRefs(scene)).toBe('SourceUnavailable'));
    setHost('10.0.0.2');
    await eventually(() => expect(hosts()).toEqual(['10.0.0.2']));
    expect(gateway.get('upstreams', MIXED)).toBeUndefined();
  });
});

describe('a rejected write', () => {
  it('of one upstream does not affect other upstreams of the connection', async () => {
    await using scene = await start({ more: `---\n${upstreamYaml('hostile')}` });
    const { gateway, clock, controller, hosts, setHost } = scene;
    await eventually(() => expect(hosts('shop.hostile')).toEqual(['10.0.0.1']));
    // A firewall in front of the Admin API blocks the content of one upstream.
    using _firewall = gateway.addFault({
      fault: { kind: 'answer', status: 403, body: '<html>blocked</html>', contentType: 'text/html' },
      match: ({ method, path }) => method === 'PUT' && path.endsWith('/shop.hostile'),
    });
    for (const host of ['10.0.0.2', '10.0.0.3', '10.0.0.4']) {
      setHost(host);
      await eventually(() => expect(hosts()).toEqual([host]));
      await clock.advance(31_000);
    }
    expect(hosts('shop.hostile')).toEqual(['10.0.0.1']);
    await eventually(() => {
      const programmed = controller.statuses
        .get('shop/hostile')
        ?.conditions?.find(({ type }) => type === 'Programmed');
      expect(programmed).toMatchObject({
        status: 'False',
        reason: 'Rejected',
        message: expect.stringContaining('rejected this upstream (403) but accepts other writes'),
      });
      expect(programmed?.message).not.toContain('allow_admin');
      const connection = controller.connectionStatuses.get('default')?.conditions ?? [];
      expect(connection.find(({ type }) => type === 'Authorized')).toMatchObject({ status: 'True' });
    });
  });
});

describe('a gateway behind a proxy that forbids PATCH', () => {
  it('stays authorized while it rejects one upstream and accepts others', async () => {
    await using scene = await start({ more: `---\n${upstreamYaml('hostile')}` });
    const { gateway, clock, controller, hosts, setHost } = scene;
    await eventually(() => expect(hosts('shop.hostile')).toEqual(['10.0.0.1']));
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    await clock.advance(61_000);
    using _proxy = gateway.addFault({
      fault: { kind: 'answer', status: 403, body: '<html>', contentType: 'text/html' },
      match: ({ method, path }) => method === 'PATCH' || (method === 'PUT' && path.endsWith('/shop.hostile')),
    });
    const authorized = () =>
      controller.connectionStatuses.get('default')?.conditions?.find(({ type }) => type === 'Authorized');
    setHost('10.0.0.2');
    await eventually(() => expect(hosts()).toEqual(['10.0.0.2']));
    // The first rejection may precede all other writes.
    await inTime(clock, () => expect(authorized()?.status).toBe('True'), 5000);
    for (const host of ['10.0.0.3', '10.0.0.4', '10.0.0.5']) {
      setHost(host);
      await eventually(() => expect(hosts()).toEqual([host]));
      await clock.advance(31_000);
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(authorized()?.status).toBe('True');
    }
    const programmed = controller.statuses
      .get('shop/hostile')
      ?.conditions?.find(({ type }) => type === 'Programmed');
    expect(programmed).toMatchObject({ reason: 'Rejected' });
  });
});

describe('a write that is rejected once', () => {
  it('is retried after 30 s with the priority of an endpoint change', async () => {
    await using scene = await start();
    const { gateway, controller, clock, hosts, setHost } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    await clock.advance(61_000);
    using _proxy = gateway.addFault({
      fault: { kind: 'answer', status: 403, body: '<html>too many</html>', contentType: 'text/html' },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    setHost('10.0.0.2');
    const programmed = () =>
      controller.statuses.get('shop/web')?.conditions?.find(({ type }) => type === 'Programmed')?.reason;
    await inTime(clock, () => expect(programmed()).toBe('Rejected'), 100);
    const propagations = async () =>
      /propagation_seconds_count\{[^}]*\} (\d+)/.exec(await controller.metrics.text())?.[1] ?? '0';
    expect(await propagations()).toBe('0');
    const since = clock.monotonic();
    await inTime(clock, () => expect(hosts()).toEqual(['10.0.0.2']));
    expect(clock.monotonic() - since).toBeLessThan(40_000);
    await eventually(async () => expect(await propagations()).toBe('1'));
  });
});

describe('a gateway whose list is too large', () => {
  it('still receives endpoint changes and deletions, and the connection reports the problem until the list is smaller', async () => {
    await using scene = await start({ more: `---\n${upstreamYaml('large')}` });
    const { gateway, controller, stores, clock, hosts, setHost } = scene;
    await eventually(() => expect(hosts('shop.large')).toEqual(['10.0.0.1']));
    const ready = () =>
      controller.connectionStatuses.get('default')?.conditions?.find(({ type }) => type === 'Ready');
    {
      using _large = gateway.addFault({
        fault: { kind: 'answer', status: 200, body: ' '.repeat(MAX_LIST_BYTES + 1) },
        match: ({ method, path }) => method === 'GET' && path === '/apisix/admin/upstreams',
      });
      await inTime(clock, () => expect(ready()?.reason).toBe('ListTooLarge'), 30_000);
      expect(ready()?.message).toMatch(/has more than 48 MiB of upstreams/);
      // Another client changed an upstream. The operator reads it before it writes it.
      gateway.put('upstreams', ID, { nodes: [], labels: operatorLabels });
      gateway.clearRequests();
      setHost('10.0.0.2');
      await eventually(() => expect(hosts('shop.large')).toEqual(['10.0.0.2']));
      await eventually(() => expect(hosts()).toEqual(['10.0.0.2']));
      change(stores.upstreams, ['shop', 'large'], { deletionTimestamp: deletedAt, generation: 2 });
      await inTime(clock, () => expect(stores.upstreams.get('shop', 'large')).toBeUndefined());
      expect(gateway.ids('upstreams')).toEqual([ID]);
    }
    await inTime(clock, () => expect(ready()?.status).toBe('True'), 60_000);
  });
});

describe('a denied object', () => {
  const spec = `
  retries: 7
  apisix: {overrides: {name: raw}}`;

  it('loses its nodes, and its other fields are not written', async () => {
    await using scene = await start({
      connection: '  tenantPolicy: {overrides: Allow}',
      upstream: spec,
    });
    const { gateway, stores, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    gateway.clearRequests();
    const { spec: allowed } = stores.connections.get('', 'default') ?? {};
    if (allowed?.ok !== true) throw new Error('the connection is not valid');
    const tenantPolicy = { ...allowed.value.tenantPolicy, overrides: 'Deny' as const };
    change(stores.connections, ['', 'default'], {
      generation: 2,
      spec: { ok: true, value: { ...allowed.value, tenantPolicy } },
    });
    await eventually(() => expect(hosts()).toEqual([]));
    const writes = gateway.requests.filter(({ method }) => method !== 'GET');
    expect(writes.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['PATCH', `/apisix/admin/upstreams/${ID}/nodes`, '[]'],
    ]);
  });

  it('is orphaned by a change of its labels only', async () => {
    await using scene = await start({ upstream: `${spec}\n  deletionPolicy: Orphan` });
    const { gateway, stores, controller } = scene;
    await eventually(() => expect(controller.statuses.get('shop/web')).toBeDefined());
    // Content from the time when overrides were allowed.
    const labels = operatorLabels;
    const before = { type: 'roundrobin', nodes: [{ host: '10.0.0.9', port: 80, weight: 1 }], labels };
    gateway.put('upstreams', ID, before);
    gateway.clearRequests();
    change(stores.upstreams, ['shop', 'web'], {
      deletionTimestamp: deletedAt,
      generation: 2,
      finalizers: [UPSTREAM_FINALIZER],
    });
    await eventually(() => expect(stores.upstreams.get('shop', 'web')).toBeUndefined());
    const writes = gateway.requests.filter(({ method }) => method !== 'GET');
    expect(writes.map(({ method, body }) => [method, Object.keys(JSON.parse(body ?? '{}'))])).toEqual([
      ['PATCH', ['labels']],
    ]);
    expect(gateway.get('upstreams', ID)).toMatchObject({
      ...before,
      labels: { ...labels, 'gatewayupstream.dev/deletion-policy': 'Orphan' },
    });
  });
});

describe('an object whose namespace is no longer allowed', () => {
  const withdraw = ({ stores }: Scene) => {
    const { spec } = stores.connections.get('', 'default') ?? {};
    if (spec?.ok !== true) throw new Error('the connection is not valid');
    const allowedNamespaces = { names: ['another'] };
    change(stores.connections, ['', 'default'], {
      generation: 2,
      spec: { ok: true, value: { ...spec.value, allowedNamespaces } },
    });
  };
  const specOf = (spec: object) => {
    const metadata = { name: 'web', namespace: 'shop', uid: 'web', resourceVersion: '9' };
    const raw = { metadata, spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }], ...spec } };
    const object = builtInCatalog.transforms.gatewayUpstream(raw);
    if (object === undefined) throw new Error('no object');
    return object.spec;
  };
  const tooDeep = { apisix: { overrides: { x: JSON.parse(`${'['.repeat(20)}1${']'.repeat(20)}`) } } };

  it.each([
    ['its spec is not valid', { retries: 'many' }],
    ['its overrides are nested too deeply', tooDeep],
    ['it only observes', { syncPolicy: 'Observe' }],
  ])('loses its nodes even if %s', async (_, spec) => {
    await using scene = await start({ connection: '  tenantPolicy: {overrides: Allow}' });
    const { stores, clock, ready, hosts, setHost } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    change(stores.upstreams, ['shop', 'web'], { generation: 2, spec: specOf(spec) });
    await inTime(clock, () => expect(ready()).toMatch(/InvalidSpec|True\/Ready/));
    expect(hosts()).toEqual(['10.0.0.1']);
    withdraw(scene);
    setHost('10.0.0.2');
    await inTime(clock, () => {
      expect(hosts()).toEqual([]);
      expect(ready()).toMatch(/^False\/NamespaceNotAllowed/);
    });
  });

  it('does not change an upstream that it does not own', async () => {
    const observe = '  syncPolicy: Observe';
    await using scene = await start({ upstream: observe });
    const { gateway, clock, ready, hosts } = scene;
    await inTime(clock, () => expect(ready()).toMatch(/^False\/Observed/));
    gateway.put('upstreams', ID, { nodes: [{ host: '10.0.0.9', port: 80, weight: 1 }] });
    withdraw(scene);
    await inTime(clock, () => expect(ready()).toMatch(/^False\/NamespaceNotAllowed/));
    await clock.advance(700_000);
    expect(hosts()).toEqual(['10.0.0.9']);
  });
});

describe('overrides that exceed a limit', () => {
  it('are denied if the connection denies overrides, and the nodes are removed', async () => {
    await using scene = await start({ connection: '  tenantPolicy: {overrides: Deny}' });
    const { stores, clock, ready, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    const overrides = Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`field${index}`, 1]));
    const metadata = { name: 'web', namespace: 'shop', uid: 'web', resourceVersion: '9' };
    const backends = [{ serviceRef: { name: 'web', port: 80 } }];
    const spec = { backends, apisix: { overrides } };
    const object = builtInCatalog.transforms.gatewayUpstream({ metadata, spec });
    if (object === undefined) throw new Error('no object');
    change(stores.upstreams, ['shop', 'web'], { generation: 2, spec: object.spec });
    await inTime(clock, () => {
      expect(ready()).toMatch(/^False\/OverridesDenied/);
      expect(hosts()).toEqual([]);
    });
  });
});

describe('a finalizer', () => {
  it('is added to the object and its connection before the first write', async () => {
    const order: string[] = [];
    const settings: Options = {};
    await using scene = await start(settings);
    const { gateway, stores } = scene;
    await eventually(() => {
      if (gateway.ids('upstreams').length > 0) {
        order.push(
          JSON.stringify([
            stores.upstreams.get('shop', 'web')?.finalizers,
            stores.connections.get('', 'default')?.finalizers,
          ]),
        );
      }
      expect(order).toEqual([JSON.stringify([[UPSTREAM_FINALIZER], [CONNECTION_FINALIZER]])]);
    });
  });

  it('blocks writes while the API server denies it, and the status quotes the denial', async () => {
    let refuses = true;
    let stores: Stores | undefined;
    await using scene = await start({
      writer: {
        async addFinalizer(kind, object, finalizer, signal) {
          if (refuses && kind === 'GatewayUpstream') {
            throw new KubeApiError('admission webhook "no-finalizers.example" denied the request', {
              status: 403,
            });
          }
          if (stores === undefined) throw new KubeApiError('too early');
          return await finalizersOf(stores).addFinalizer(kind, object, finalizer, signal);
        },
      },
    });
    ({ stores } = scene);
    const { gateway, clock, controller, ready, hosts } = scene;
    await inTime(clock, () =>
      expect(ready()).toMatch(
        /^False\/FinalizerRefused: .*gatewayupstream\.dev\/upstream-cleanup.*webhook "no-finalizers.example" denied/,
      ),
    );
    expect(gateway.ids('upstreams')).toEqual([]);
    expect(controller.events).toContainEqual(
      expect.stringMatching(/^GatewayUpstream shop\/web FinalizerRefused: .*no-finalizers\.example/),
    );
    expect(await controller.metrics.text()).toMatch(
      /errors_total\{[^}]*reason="FinalizerRefused"[^}]*\} [1-9]/,
    );
    refuses = false;
    await inTime(clock, () => {
      expect(hosts()).toEqual(['10.0.0.1']);
      expect(ready()).toMatch(/^True\/Ready/);
    });
  });

  it.each(['GatewayUpstream', 'GatewayConnection'] as const)(
    'of a %s keeps its back-off while the message of the denial varies',
    async (kind) => {
      let tries = 0;
      await using scene = await start({
        backoffMs: (failures) => 1000 * 2 ** failures,
        writer: {
          async addFinalizer(asked) {
            if (asked !== kind) return true;
            tries += 1;
            throw new KubeApiError(`the webhook denied request ${tries}`, { status: 403 });
          },
        },
      });
      const { setHost, ready, clock } = scene;
      await eventually(() => expect(ready()).toMatch(/^False\/FinalizerRefused: .*denied request 1/));
      // Each endpoint change requests the finalizer again.
      for (let host = 2; host < 12; host += 1) {
        setHost(`10.0.0.${host}`);
        await clock.advance(100);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect(tries).toBe(1);
      await clock.advance(2000);
      await eventually(() => expect(tries).toBe(2));
      expect(ready()).toMatch(/denied request 1/);
    },
  );

  it('is not delayed by a slow webhook in another namespace', async () => {
    const hostile = Array.from({ length: 20 }, (_, index) =>
      upstreamYaml(`a${index}`).replace('namespace: shop', 'namespace: hostile'),
    );
    const service = `apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: hostile}\nspec: {ports: [{port: 80}]}`;
    let stores: Stores | undefined;
    const asked: string[] = [];
    await using scene = await start({
      more: `---\n${[service, ...hostile].join('\n---\n')}\n---\n${upstreamYaml('late')}`,
      writer: {
        async addFinalizer(kind, object, finalizer, signal) {
          if (object.namespace === 'hostile') {
            asked.push(object.name);
            await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
          }
          if (stores === undefined) throw new KubeApiError('too early');
          return await finalizersOf(stores).addFinalizer(kind, object, finalizer, signal);
        },
      },
    });
    ({ stores } = scene);
    const { clock, hosts } = scene;
    await inTime(clock, () => expect(hosts('shop.late')).toEqual(['10.0.0.1']));
    expect(asked.length).toBeLessThanOrEqual(4);
  });

  it('is reported on the object and its connection if it cannot be added because a webhook is down', async () => {
    await using scene = await start({
      writer: {
        async addFinalizer() {
          throw new KubeApiError('failed calling webhook "validate.example": connection refused', {
            status: 500,
          });
        },
      },
    });
    const { clock, controller, gateway, ready } = scene;
    const words = /FinalizerRefused: .*could not be added: failed calling webhook "validate.example"/;
    await inTime(clock, () => expect(ready()).toMatch(words), 1000);
    await inTime(clock, () => {
      expect(controller.connectionStatuses.get('default')?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'False', reason: 'FinalizerRefused' }),
      );
    });
    expect(controller.events).toContainEqual(expect.stringMatching(words));
    expect(gateway.ids('upstreams')).toEqual([]);
  });

  it('does not block endpoint changes of an existing upstream when the API server denies it later', async () => {
    let refuses = false;
    let stores: Stores | undefined;
    await using scene = await start({
      writer: {
        async addFinalizer(kind, object, finalizer, signal) {
          if (refuses) throw new KubeApiError('denied', { status: 403 });
          if (stores === undefined) throw new KubeApiError('too early');
          return await finalizersOf(stores).addFinalizer(kind, object, finalizer, signal);
        },
      },
    });
    ({ stores } = scene);
    const { clock, ready, hosts, setHost } = scene;
    await inTime(clock, () => expect(hosts()).toEqual(['10.0.0.1']));
    refuses = true;
    change(stores.upstreams, ['shop', 'web'], { finalizers: [] });
    setHost('10.0.0.2');
    await eventually(() => expect(hosts()).toEqual(['10.0.0.2']));
    await eventually(() => expect(ready()).toMatch(/^False\/FinalizerRefused/));
  });
});

describe('a connection that is being deleted', () => {
  const remove = ({ stores }: Scene) =>
    change(stores.connections, ['', 'default'], { deletionTimestamp: deletedAt, generation: 2 });
  const reasonOf = ({ controller }: Scene) =>
    controller.connectionStatuses.get('default')?.conditions?.find(({ type }) => type === 'Ready')?.message;

  it('deletes orphans and waits for a list without upstreams of the operator', async () => {
    await using scene = await start();
    const { gateway, stores, clock, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    const object = stores.upstreams.get('shop', 'web');
    if (object === undefined) throw new Error('no object');
    // The finalizer was removed by hand, so that the upstream remained.
    (stores.upstreams as Store<typeof object>).remove(object);
    gateway.clearRequests();
    remove(scene);
    await inTime(clock, () => {
      const isThere = stores.connections.get('', 'default') !== undefined;
      if (gateway.ids('upstreams').length > 0) expect(isThere, 'released too early').toBe(true);
      expect(isThere).toBe(false);
    });
    expect(gateway.ids('upstreams')).toEqual([]);
    const lists = gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
    expect(lists).toBeGreaterThanOrEqual(3);
  });

  it('accepts no new upstreams', async () => {
    await using scene = await start();
    const { gateway, stores, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    remove(scene);
    const [late] = admit(parseDocuments(upstreamYaml('late'), 'late'), NOW).objects.upstreams;
    const object = builtInCatalog.followedResources.upstreams.transform(late);
    if (object === undefined) throw new Error('no object');
    (stores.upstreams as Store<typeof object>).upsert(object);
    await eventually(() => {
      const accepted = scene.controller.statuses
        .get('shop/late')
        ?.conditions?.find(({ type }) => type === 'Accepted');
      expect(accepted).toMatchObject({
        reason: 'ConnectionNotFound',
        message: expect.stringContaining('is being deleted and accepts no new upstreams'),
      });
    });
    expect(gateway.ids('upstreams')).toEqual([ID]);
    expect(reasonOf(scene)).toMatch(/GatewayUpstream shop\/web uses it/);
  });

  it('waits for an unavailable gateway for at most deletionTimeout', async () => {
    await using scene = await start({ connection: '  deletionTimeout: 5m' });
    const { gateway, stores, clock, controller, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    const object = stores.upstreams.get('shop', 'web');
    if (object === undefined) throw new Error('no object');
    (stores.upstreams as Store<typeof object>).remove(object);
    await gateway.stop();
    change(stores.connections, ['', 'default'], {
      deletionTimestamp: new Date(clock.now()).toISOString(),
      generation: 2,
    });
    const minute = 60_000;
    await inTime(clock, () =>
      expect(reasonOf(scene)).toMatch(
        /cannot check the gateway for remaining upstreams.*deleted 5m after its last GatewayUpstream/,
      ),
    );
    await clock.advance(3 * minute);
    expect(stores.connections.get('', 'default')).toBeDefined();
    await inTime(clock, () => expect(stores.connections.get('', 'default')).toBeUndefined(), minute);
    expect(controller.events).toContainEqual(
      expect.stringMatching(
        /^GatewayConnection \/default Orphaned: .*may still contain upstreams of this operator/,
      ),
    );
  });

  it('waits for the upstream of an object whose finalizer was removed by hand', async () => {
    await using scene = await start();
    const { gateway, stores, clock, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    remove(scene);
    await clock.advance(1000);
    change(stores.upstreams, ['shop', 'web'], { finalizers: [] });
    await inTime(clock, () => expect(reasonOf(scene)).toMatch(/still contains upstreams.*: shop\.web\./));
    await clock.advance(60_000);
    expect(stores.connections.get('', 'default')).toBeDefined();
    const object = stores.upstreams.get('shop', 'web');
    if (object !== undefined) (stores.upstreams as Store<typeof object>).remove(object);
    await inTime(clock, () => expect(stores.connections.get('', 'default')).toBeUndefined());
    expect(gateway.ids('upstreams')).toEqual([]);
  });

  it('waits for a running write', async () => {
    await using scene = await start();
    const { gateway, stores, clock, hosts, setHost } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    await clock.advance(61_000);
    gateway.remove('upstreams', ID);
    using _slow = gateway.addFault({
      fault: { kind: 'delay', delayMs: 2000 },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    gateway.clearRequests();
    setHost('10.0.0.2');
    await eventually(() => expect(gateway.requests.some(({ method }) => method === 'PUT')).toBe(true));
    const object = stores.upstreams.get('shop', 'web');
    if (object !== undefined) (stores.upstreams as Store<typeof object>).remove(object);
    remove(scene);
    await inTime(clock, () => expect(stores.connections.get('', 'default')).toBeUndefined(), 200);
    expect(gateway.requests.some(({ method }) => method === 'DELETE')).toBe(true);
    expect(gateway.ids('upstreams')).toEqual([]);
  });

  it('lists its gateway even if its last GatewayUpstream is deleted after deletionTimeout', async () => {
    await using scene = await start();
    const { gateway, stores, clock, controller, hosts } = scene;
    await eventually(() => expect(hosts()).toEqual(['10.0.0.1']));
    remove(scene);
    await clock.advance(11 * 60_000);
    const labels = { ...operatorLabels, 'gatewayupstream.dev/name': 'gone' };
    const nodes = [{ host: '10.0.0.9', port: 80, weight: 1 }];
    gateway.put('upstreams', 'shop.gone', { nodes, labels });
    change(stores.upstreams, ['shop', 'web'], { deletionTimestamp: deletedAt, generation: 2 });
    await inTime(clock, () => expect(stores.connections.get('', 'default')).toBeUndefined());
    expect(gateway.ids('upstreams')).toEqual([]);
    expect(
      controller.events.filter((event) => event.startsWith('GatewayConnection /default Orphaned')),
    ).toEqual([]);
  });
});

describe('an operator that watches some namespaces', () => {
  it('does not change upstreams of other namespaces', async () => {
    await using scene = await start({ onlyNamespaces: ['other'] });
    const { gateway, stores, clock, controller, hosts } = scene;
    await eventually(() => expect(gateway.requests.length).toBeGreaterThan(0));
    const labels = {
      ...operatorLabels,
      'gatewayupstream.dev/namespace': 'bank',
      'gatewayupstream.dev/name': 'api',
    };
    const object = stores.upstreams.get('shop', 'web');
    if (object !== undefined) (stores.upstreams as Store<typeof object>).remove(object);
    gateway.put('upstreams', 'bank.api', { nodes: [{ host: '10.0.0.9', port: 80, weight: 1 }], labels });
    for (let list = 0; list < 4; list += 1) {
      gateway.clearRequests();
      await inTime(clock, () => expect(gateway.requests.length).toBeGreaterThan(0), 300_000);
    }
    expect(hosts('bank.api')).toEqual(['10.0.0.9']);
    change(stores.connections, ['', 'default'], {
      deletionTimestamp: deletedAt,
      generation: 2,
      finalizers: [CONNECTION_FINALIZER],
    });
    // Another operator watches the other namespaces. Its upstreams block the deletion even after deletionTimeout.
    const message = () =>
      controller.connectionStatuses.get('default')?.conditions?.find(({ type }) => type === 'Ready')?.message;
    await inTime(clock, () => expect(message()).toMatch(/does not watch: bank\.api/));
    await clock.advance(20 * 60_000);
    expect(stores.connections.get('', 'default')).toBeDefined();
    for (const id of gateway.ids('upstreams')) gateway.remove('upstreams', id);
    await inTime(clock, () => expect(stores.connections.get('', 'default')).toBeUndefined(), 5000);
  });
});
