import { describe, expect, it } from 'vitest';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import { createPermissionMonitor, describeMissing, type Permission } from '../../../src/kube/permissions.ts';
import type { KubeTransport, SendRequest } from '../../../src/kube/transport.ts';
import type { Logger } from '../../../src/runtime/logger.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';

type Answer = { readonly allowed: boolean; readonly evaluationError?: string } | KubeApiError;

const role = { kind: 'ClusterRole', name: 'operator' } as const;
const slices: Permission = {
  verb: 'watch',
  group: 'discovery.k8s.io',
  resource: 'endpointslices',
  affects: 'everything',
  grantedBy: role,
};
const events: Permission = {
  verb: 'create',
  group: 'events.k8s.io',
  resource: 'events',
  affects: 'connections',
  grantedBy: role,
};
const inShop: Permission = {
  verb: 'list',
  group: '',
  resource: 'services',
  namespace: 'shop',
  affects: 'everything',
  grantedBy: { kind: 'Role', name: 'operator', namespace: 'shop' },
};
const lease: Permission = {
  verb: 'update',
  group: 'coordination.k8s.io',
  resource: 'leases',
  namespace: 'own',
  name: 'lease',
  affects: 'connections',
  grantedBy: { kind: 'Role', name: 'operator', namespace: 'own' },
};

const grants: Permission = {
  verb: 'list',
  group: 'gateway.networking.k8s.io',
  resource: 'referencegrants',
  affects: 'references',
  optional: true,
  grantedBy: role,
};

function setUp(permissions: readonly Permission[]) {
  const clock = createFakeClock();
  const answers = new Map<string, Answer>();
  const discovery = new Map<string, object>();
  const asked: SendRequest[] = [];
  const lines: string[] = [];
  const write = (level: string) => (_: object, message: string) => void lines.push(`${level} ${message}`);
  const log: Logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => log,
  };
  const transport: KubeTransport = {
    async send(request) {
      asked.push(request);
      await Promise.resolve();
      const { resourceAttributes } = (request.body as { spec: { resourceAttributes: Permission } }).spec;
      const answer = answers.get(resourceAttributes.resource) ?? { allowed: true };
      if (answer instanceof KubeApiError) throw answer;
      return { status: answer };
    },
    async get(path) {
      await Promise.resolve();
      const found = discovery.get(path);
      if (found === undefined) throw new KubeApiError('the API server answered 404', { status: 404 });
      if (found instanceof KubeApiError) throw found;
      return found;
    },
    watch: () => {
      throw new Error('nothing is watched');
    },
    close: () => undefined,
  };
  const monitor = createPermissionMonitor({ transport, permissions, clock, log, intervalMs: 30_000 });
  let changes = 0;
  monitor.onChange(() => {
    changes += 1;
  });
  const stop = new AbortController();
  const ended = monitor.run(stop.signal);
  return {
    clock,
    answers,
    discovery,
    asked,
    lines,
    monitor,
    changes: () => changes,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
      expect(clock.pending).toBe(0);
    },
  };
}

describe('describeMissing', () => {
  it('groups permissions by role', () => {
    expect(describeMissing([slices, events, inShop, lease])).toBe(
      'ClusterRole operator lacks: watch endpointslices.discovery.k8s.io, create events.events.k8s.io; Role shop/operator lacks: list services; Role own/operator lacks: update leases.coordination.k8s.io lease',
    );
  });

  it('includes the subresource', () => {
    expect(describeMissing([{ ...slices, verb: 'patch', subresource: 'status' }])).toBe(
      'ClusterRole operator lacks: patch endpointslices.discovery.k8s.io/status',
    );
  });
});

describe('permission monitor', () => {
  it('reviews each needed permission at startup and at every interval', async () => {
    await using test = setUp([slices, lease]);
    await settle();
    expect(test.asked.map(({ body }) => (body as { spec: object }).spec)).toEqual([
      { resourceAttributes: { verb: 'watch', group: 'discovery.k8s.io', resource: 'endpointslices' } },
      {
        resourceAttributes: {
          verb: 'update',
          group: 'coordination.k8s.io',
          resource: 'leases',
          namespace: 'own',
          name: 'lease',
        },
      },
    ]);
    await test.clock.advance(29_999);
    expect(test.asked).toHaveLength(2);
    await test.clock.advance(1);
    expect(test.asked).toHaveLength(4);
    expect(test.monitor.problem()).toBeUndefined();
    expect(test.lines).toEqual([]);
    expect(test.changes()).toBe(0);
  });

  it('logs a missing permission once, and once that it is granted again', async () => {
    await using test = setUp([slices, events]);
    test.answers.set('endpointslices', { allowed: false });
    await settle();
    const words = 'ClusterRole operator lacks: watch endpointslices.discovery.k8s.io';
    expect(test.monitor.problem()).toBe(words);
    await test.clock.advance(60_000);
    expect(test.lines).toEqual([`warn ${words}`]);
    expect(test.changes()).toBe(1);
    test.answers.delete('endpointslices');
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBeUndefined();
    expect(test.lines).toEqual([
      `warn ${words}`,
      'info granted again: watch endpointslices.discovery.k8s.io',
    ]);
    expect(test.changes()).toBe(2);
  });

  it('reports only relevant permissions on a GatewayUpstream, and all on a GatewayConnection', async () => {
    await using test = setUp([slices, events, inShop, lease]);
    for (const resource of ['events', 'services', 'leases']) test.answers.set(resource, { allowed: false });
    await settle();
    const { lacking } = test.monitor;
    expect(lacking('GatewayUpstream', 'blog')).toBeUndefined();
    expect(lacking('GatewayUpstream', 'shop')).toContain(
      `${describeMissing([inShop])}. Run \`gateway-upstream-operator install\``,
    );
    expect(lacking('GatewayConnection', '')).toContain(describeMissing([events, inShop, lease]));
    test.answers.set('endpointslices', { allowed: false });
    await test.clock.advance(30_000);
    expect(lacking('GatewayUpstream', 'blog')).toContain(describeMissing([slices]));
  });

  it('reports a missing permission for Secrets only on objects that refer to a Secret in that namespace', async () => {
    await using test = setUp([{ ...inShop, resource: 'secrets', affects: 'certificates' }]);
    test.answers.set('secrets', { allowed: false });
    await settle();
    const { lacking } = test.monitor;
    expect(
      lacking('GatewayUpstream', 'shop', { referred: [], certificate: true, registry: false }),
    ).toContain('secrets');
    expect(lacking('GatewayUpstream', 'shop')).toBeUndefined();
    expect(
      lacking('GatewayUpstream', 'blog', { referred: ['shop'], certificate: true, registry: false }),
    ).toBeUndefined();
    expect(lacking('GatewayConnection', '')).toContain('secrets');
  });

  it('reports a missing permission for ServiceRegistries only on objects that refer to one', async () => {
    await using test = setUp([{ ...events, affects: 'registries' }]);
    test.answers.set('events', { allowed: false });
    await settle();
    const { lacking } = test.monitor;
    expect(lacking('GatewayUpstream', 'shop')).toBeUndefined();
    expect(
      lacking('GatewayUpstream', 'shop', { referred: [], certificate: false, registry: true }),
    ).toContain('events');
    expect(lacking('GatewayUpstreamSet', '')).toBeUndefined();
    expect(lacking('ServiceRegistry', '')).toContain('events');
  });

  it('reports a missing permission to create GatewayUpstreams only on sets and connections', async () => {
    await using test = setUp([{ ...events, verb: 'create', affects: 'sets' }, lease]);
    for (const resource of ['events', 'leases']) test.answers.set(resource, { allowed: false });
    await settle();
    const { lacking } = test.monitor;
    expect(lacking('GatewayUpstream', 'shop')).toBeUndefined();
    expect(lacking('GatewayUpstreamSet', '')).toContain('create events');
    expect(lacking('GatewayUpstreamSet', '')).not.toContain('leases');
    expect(lacking('GatewayConnection', '')).toContain('create events');
  });

  it('reports a missing permission for ReferenceGrants only on objects that refer to another namespace', async () => {
    const inBlog = { ...inShop, namespace: 'blog' };
    await using test = setUp([{ ...grants, affects: 'references', namespace: 'blog' }, inBlog]);
    test.discovery.set('/apis/gateway.networking.k8s.io', { versions: [{ version: 'v1' }] });
    test.discovery.set('/apis/gateway.networking.k8s.io/v1', { resources: [{ name: 'referencegrants' }] });
    test.answers.set('referencegrants', { allowed: false });
    await settle();
    const { lacking } = test.monitor;
    expect(lacking('GatewayUpstream', 'blog')).toBeUndefined();
    expect(
      lacking('GatewayUpstream', 'shop', { referred: ['other'], certificate: false, registry: false }),
    ).toBeUndefined();
    expect(
      lacking('GatewayUpstream', 'shop', { referred: ['blog'], certificate: false, registry: false }),
    ).toContain('list referencegrants');
    test.answers.set('services', { allowed: false });
    await test.clock.advance(30_000);
    // A missing permission for Services of that namespace is relevant too.
    expect(
      lacking('GatewayUpstream', 'shop', { referred: ['blog'], certificate: false, registry: false }),
    ).toContain('list services');
    expect(lacking('GatewayUpstream', 'shop')).toBeUndefined();
  });

  it('does not need a permission for an optional kind until the kind is installed', async () => {
    await using test = setUp([grants]);
    const words = describeMissing([grants]);
    test.answers.set('referencegrants', { allowed: false });
    await settle();
    expect(test.monitor.problem()).toBeUndefined();
    test.discovery.set('/apis/gateway.networking.k8s.io', {
      versions: [{ version: 'v1' }, { version: 'v1beta1' }],
    });
    test.discovery.set('/apis/gateway.networking.k8s.io/v1', { resources: [{ name: 'gateways' }] });
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBeUndefined();
    // If discovery fails, the previous result stays.
    test.discovery.set(
      '/apis/gateway.networking.k8s.io/v1beta1',
      new KubeApiError('the API server answered 503', { status: 503 }),
    );
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBeUndefined();
    test.discovery.set('/apis/gateway.networking.k8s.io/v1beta1', {
      resources: [{ name: 'referencegrants' }],
    });
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBe(words);
    expect(test.monitor.lacking('GatewayUpstream', 'shop')).toBeUndefined();
    expect(
      test.monitor.lacking('GatewayUpstream', 'shop', {
        referred: ['blog'],
        certificate: false,
        registry: false,
      }),
    ).toContain(words);
    test.discovery.clear();
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBeUndefined();
  });

  it.each<[string, Answer]>([
    ['is unreachable', new KubeApiError('the API server could not be reached')],
    ['is overloaded', new KubeApiError('the API server answered 429', { status: 429 })],
    ['reports an evaluation error', { allowed: false, evaluationError: 'webhook: timeout' }],
  ])('keeps the last result if the API server %s', async (_, answer) => {
    await using test = setUp([slices, events]);
    test.answers.set('endpointslices', answer);
    test.answers.set('events', { allowed: false });
    await settle();
    expect(test.monitor.problem()).toBe(describeMissing([events]));
    test.answers.set('endpointslices', { allowed: false });
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBe(describeMissing([slices, events]));
    // A missing permission stays missing until a review succeeds.
    test.answers.set('endpointslices', answer);
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBe(describeMissing([slices, events]));
    expect(test.lines).toHaveLength(2);
  });

  it.each([
    [401, "the API server rejected the operator's credentials (401)"],
    [403, 'the API server denied the permission review (403)'],
  ])('distinguishes a review that fails with %i from a missing permission', async (status, words) => {
    await using test = setUp([slices, events]);
    for (const resource of ['endpointslices', 'events']) {
      test.answers.set(resource, new KubeApiError(`answered ${status}`, { status }));
    }
    await settle();
    expect(test.monitor.problem()).toContain(words);
    expect(test.monitor.lacking('GatewayConnection', '')).toBeUndefined();
    expect(test.changes()).toBe(0);
    await test.clock.advance(30_000);
    expect(test.lines).toHaveLength(1);
    test.answers.clear();
    await test.clock.advance(30_000);
    expect(test.monitor.problem()).toBeUndefined();
    expect(test.lines.at(-1)).toBe('info the API server answers permission reviews again');
  });

  it('reviews immediately after a denied request, and only once for many denied requests', async () => {
    await using test = setUp([slices]);
    await settle();
    await test.clock.advance(10_000);
    expect(test.asked).toHaveLength(1);
    test.answers.set('endpointslices', { allowed: false });
    for (let n = 0; n < 100; n += 1) test.monitor.refused('/api/v1/services');
    await settle();
    expect(test.asked).toHaveLength(2);
    expect(test.monitor.problem()).toBeDefined();
    // A request that is denied after the review triggers another one, but only after 2 s.
    test.monitor.refused('/api/v1/services');
    await settle();
    expect(test.asked).toHaveLength(2);
    await test.clock.advance(2000);
    expect(test.asked).toHaveLength(3);
    await test.clock.advance(29_999);
    expect(test.asked).toHaveLength(3);
  });

  it('does not start a review because a review was denied', async () => {
    await using test = setUp([slices]);
    await settle();
    await test.clock.advance(5000);
    for (const { path } of test.asked) test.monitor.refused(path);
    await test.clock.advance(10_000);
    expect(test.asked).toHaveLength(1);
  });
});
