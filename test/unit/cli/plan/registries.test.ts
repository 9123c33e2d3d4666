import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtInCatalog } from '../../../../src/catalog.ts';
import { planResources, storesOf as planStoresOf } from '../../../../src/cli/plan/kinds.ts';
import { makePlan } from '../../../../src/cli/plan/make-plan.ts';
import { PlanError } from '../../../../src/cli/plan/plan-error.ts';
import type { Plan } from '../../../../src/cli/plan/planned.ts';
import {
  askRegistries,
  parseAnswers,
  type RegistryAnswers,
  registryReferences,
} from '../../../../src/cli/plan/registry-answers.ts';
import { planExitCode, renderPlan } from '../../../../src/cli/plan/render.ts';
import { admit, gatewayFormat, storesOf } from '../../../support/catalog.ts';
import { ownerLabels } from '../../../support/owner-labels.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const { canonical, listed, read } = gatewayFormat('APISIX');
const group = 'gatewayupstream.dev/v1alpha1';
const TOKEN = 'token-of-the-test';
const types = builtInCatalog.registryTypes;

/** An instance as Consul lists it. */
const entry = (address: string, port = 8080, more: object = {}, status = 'passing') => ({
  Node: { Node: 'vm', Address: '10.0.0.100' },
  Service: { ID: `${address}-${port}`, Service: 'web', Address: address, Port: port, ...more },
  Checks: [{ CheckID: 'alive', Status: status }],
});
/** An instance as Nacos lists it. */
const host = (ip: string, more: object = {}) => ({
  ...{ ip, port: 8080, weight: 1, healthy: true, enabled: true, ...more },
});

const connection = {
  apiVersion: group,
  kind: 'GatewayConnection',
  metadata: { name: 'default' },
  spec: {
    type: 'APISIX',
    apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } },
    allowedNamespaces: { all: true },
    allowedRegistries: ['vms', 'cloud'],
  },
};
const registry = (name: string, spec: object) => ({
  apiVersion: group,
  kind: 'ServiceRegistry',
  metadata: { name },
  spec: { allowedNamespaces: { all: true }, ...spec },
});
const consul = (servers: readonly string[], spec: object = {}) =>
  registry('vms', {
    type: 'Consul',
    consul: { servers, tokenSecretRef: { name: 'consul' } },
    requestTimeout: '500ms',
    ...spec,
  });
const nacos = registry('cloud', { type: 'Nacos', nacos: { servers: ['http://127.0.0.1:1'] } });
const secret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'consul', namespace: 'operator' },
  stringData: { token: TOKEN },
};
const upstream = (name: string, ...backends: readonly object[]) => ({
  apiVersion: group,
  kind: 'GatewayUpstream',
  metadata: { namespace: 'shop', name },
  spec: { backends },
});
const ofConsul = (service: string, more: object = {}) => ({ registryRef: { name: 'vms' }, service, ...more });
const ofNacos = (service: string, more: object = {}) => ({
  registryRef: { name: 'cloud' },
  service,
  ...more,
});

function stores(objects: readonly object[]) {
  const documents = [connection, ...objects].map((value, index) => ({
    where: `document ${index + 1}`,
    value,
  }));
  return storesOf(admit(documents, NOW).objects);
}

function planOf(
  given: ReturnType<typeof stores>,
  registries: RegistryAnswers,
  held: readonly object[] = [],
): Plan {
  return makePlan({
    catalog: builtInCatalog,
    stores: given,
    onlyNamespaces: [],
    clusterId: 'c1',
    gateways: new Map([
      [
        'default',
        { kind: 'listed', canonical, read, info: {}, upstreams: listed({ list: held, total: held.length }) },
      ],
    ]),
    registries,
    only: [],
    now: NOW,
  });
}

const nodesOf = ({ upstreams }: Plan, name: string) =>
  upstreams
    .find(({ object }) => object.name === name)
    ?.nodes.map(({ node, why }) => `${node.host}:${node.port} weight ${node.weight} (${why})`);
const upstreamOf = ({ upstreams }: Plan, name: string) =>
  upstreams.find(({ object }) => object.name === name);

describe('a plan that asks a registry', () => {
  let server: Server;
  let url: string;
  let services: Record<string, readonly object[]>;
  let requests: string[];

  beforeEach(async () => {
    services = {};
    requests = [];
    server = createServer(({ url: path = '', headers }, response) => {
      // The source also probes the registry itself.
      if (path.startsWith('/v1/health/service/') && !path.includes('probe')) requests.push(path);
      if (headers['x-consul-token'] !== TOKEN) {
        response.writeHead(403).end('ACL not found');
        return;
      }
      const service = decodeURIComponent(new URL(path, url).pathname.split('/').at(-1) ?? '');
      response.writeHead(200, { 'content-type': 'application/json', 'x-consul-index': '7' });
      response.end(JSON.stringify(services[service] ?? []));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  async function asked(...objects: readonly object[]): Promise<Plan> {
    const given = stores(objects);
    const refs = registryReferences(given);
    const answers = await askRegistries(
      { types, stores: given, refs, operatorNamespace: 'operator' },
      new AbortController().signal,
    );
    return planOf(given, answers);
  }

  it('shows the nodes of the instances, and asks once for each service', async () => {
    services['web'] = [
      entry('10.0.0.1', 8080, { Tags: ['v1'] }),
      entry('10.0.0.1', 8081, { Tags: ['v2'] }),
      entry('10.0.0.2', 8080, {}, 'critical'),
    ];
    const plan = await asked(
      consul([url]),
      secret,
      upstream('all', ofConsul('web')),
      upstream('v2', ofConsul('web', { consul: { tags: ['v2'] } })),
    );
    expect(nodesOf(plan, 'all')).toEqual([
      '10.0.0.1:8080 weight 1 (ready in service web of ServiceRegistry vms)',
      '10.0.0.1:8081 weight 1 (ready in service web of ServiceRegistry vms)',
    ]);
    expect(nodesOf(plan, 'v2')).toEqual([
      '10.0.0.1:8081 weight 1 (ready in service web of ServiceRegistry vms)',
    ]);
    expect(requests).toEqual(['/v1/health/service/web']);
    expect(plan.registries).toEqual([{ registry: 'vms', known: true }]);
    expect(planExitCode(plan)).toBe(2);
  });

  it('asks hundreds of services, within the limit of concurrent queries', async () => {
    const names = Array.from({ length: 300 }, (_, index) => `s${index}`);
    for (const name of names) services[name] = [entry('10.0.0.1')];
    const plan = await asked(
      consul([url], { limits: { concurrentQueries: 3 }, requestTimeout: '10s' }),
      secret,
      ...names.map((name) => upstream(name, ofConsul(name))),
    );
    expect(plan.summary).toMatchObject({ create: 300, unknown: 0 });
    expect(requests).toHaveLength(300);
  });

  it('shows that the service is unknown if the registry has no instance of it', async () => {
    const plan = await asked(consul([url]), secret, upstream('web', ofConsul('web')));
    expect(upstreamOf(plan, 'web')).toMatchObject({
      action: 'None',
      conditions: [{ type: 'ResolvedRefs', reason: 'ServiceUnknownToRegistry' }],
    });
    expect(planExitCode(plan)).toBe(0);
  });

  it('uses the second server if the first one is down', async () => {
    services['web'] = [entry('10.0.0.1')];
    const plan = await asked(consul(['http://127.0.0.1:1', url]), secret, upstream('web', ofConsul('web')));
    expect(upstreamOf(plan, 'web')).toMatchObject({ action: 'Create' });
  });

  it.each([
    ['is down', () => [consul(['http://127.0.0.1:1']), secret], '127.0.0.1:1 '],
    [
      'rejects the token',
      () => [consul([url]), { ...secret, stringData: { token: 'another-token' } }],
      'rejected the token (403)',
    ],
    ['has no Secret', () => [consul([url])], 'Secret operator/consul does not exist'],
  ])('is incomplete if the registry %s', async (_, objects, problem) => {
    const plan = await asked(
      ...objects(),
      upstream('web', ofConsul('web')),
      upstream('api', ofConsul('api')),
      upstream('fixed', { serviceRef: { name: 'fixed', port: 80 } }),
    );
    expect(plan.summary).toMatchObject({ unknown: 2, none: 1 });
    expect(upstreamOf(plan, 'web')).toMatchObject({
      action: 'Unknown',
      nodes: [],
      fields: [],
      why: 'No complete answer of ServiceRegistry vms',
      conditions: [{ type: 'ResolvedRefs', status: 'Unknown', reason: 'SourceUnavailable' }],
    });
    expect(plan.registries).toMatchObject([
      { registry: 'vms', known: false, message: expect.stringContaining(problem) },
    ]);
    expect(plan.registries[0]?.message).toContain('(and 1 more of the 2 services in use)');
    expect(planExitCode(plan)).toBe(1);
    const text = renderPlan(plan, 'text', false);
    expect(text).toContain('! ServiceRegistry vms gave no complete answer for service ');
    expect(text + JSON.stringify(plan)).not.toMatch(/token-of-the-test|another-token/);
  });

  it('asks only for services that the object may use', async () => {
    const limited = consul([url], { tenantPolicy: { services: [`^$${'{namespace}'}-.+$`] } });
    const plan = await asked(
      limited,
      secret,
      upstream('web', ofConsul('web')),
      upstream('own', ofConsul('shop-a')),
    );
    expect(requests).toEqual(['/v1/health/service/shop-a']);
    expect(upstreamOf(plan, 'web')).toMatchObject({
      action: 'None',
      conditions: [{ type: 'ResolvedRefs', reason: 'RegistryServiceNotAllowed' }],
    });
  });

  it.each([
    ['that does not allow the namespace', { allowedNamespaces: { names: ['blog'] } }, 'vms'],
    ['that the GatewayConnection does not allow', {}, 'others'],
  ])('does not ask a registry %s', async (_, spec, name) => {
    const { metadata, ...rest } = consul([url], spec);
    const plan = await asked(
      { ...rest, metadata: { ...metadata, name } },
      secret,
      upstream('web', { registryRef: { name }, service: 'web' }),
    );
    expect(requests).toEqual([]);
    expect(upstreamOf(plan, 'web')).toMatchObject({
      conditions: [{ type: 'ResolvedRefs', reason: 'RegistryNotAllowed' }],
    });
    expect(planExitCode(plan)).toBe(0);
  });

  it('is complete if a ServiceRegistry does not exist, because run would change nothing either', async () => {
    const plan = await asked(upstream('web', ofConsul('web')));
    expect(upstreamOf(plan, 'web')).toMatchObject({
      action: 'None',
      conditions: [{ type: 'ResolvedRefs', status: 'Unknown', reason: 'RegistryNotFound' }],
    });
    expect(plan.registries).toEqual([]);
    expect(planExitCode(plan)).toBe(0);
  });

  it('asks nothing if the operator does not watch ServiceRegistries', async () => {
    const resources = planResources(builtInCatalog, { watchRegistries: false });
    const documents = [connection, consul([url]), secret, upstream('web', ofConsul('web'))];
    const given = planStoresOf(
      resources,
      admit(
        documents.map((value, index) => ({ where: `${index}`, value })),
        NOW,
      ).objects,
    );
    const refs = registryReferences(given);
    expect(refs).toEqual([]);
    expect(
      upstreamOf(planOf(given, parseAnswers({ types, stores: given, refs }, {}, 'none')), 'web'),
    ).toMatchObject({
      action: 'None',
      conditions: [{ type: 'ResolvedRefs', status: 'Unknown' }],
    });
  });

  it('stops when it is interrupted', async () => {
    const given = stores([
      consul(['http://127.0.0.1:1'], { requestTimeout: '60s' }),
      secret,
      upstream('web', ofConsul('web')),
    ]);
    const stop = new AbortController();
    stop.abort(new Error('stopped by SIGTERM'));
    const asking = askRegistries(
      { types, stores: given, refs: registryReferences(given), operatorNamespace: 'operator' },
      stop.signal,
    );
    await expect(asking).rejects.toThrow('stopped by SIGTERM');
  });
});

describe('a plan with the services of a file', () => {
  const objects = [consul(['http://127.0.0.1:1']), nacos];
  const saved = (state: unknown, ...upstreams: readonly object[]): Plan => {
    const given = stores([...objects, ...upstreams]);
    const refs = registryReferences(given);
    return planOf(given, parseAnswers({ types, stores: given, refs }, state, 'services.yaml'));
  };

  it('reads answers of Consul, with the options of the backend', () => {
    const state = {
      vms: {
        web: [
          entry('10.0.0.1', 8080, { Tags: ['v1'] }),
          entry('', 8080),
          entry('10.0.0.3', 1, {}, 'warning'),
        ],
      },
    };
    const plan = saved(
      state,
      upstream('all', ofConsul('web')),
      upstream('v1', ofConsul('web', { consul: { tags: ['v1'] } })),
      upstream('warned', ofConsul('web', { consul: { healthy: 'PassingOrWarning' } })),
    );
    const places = (name: string) =>
      upstreamOf(plan, name)?.nodes.map(({ node }) => `${node.host}:${node.port}`);
    expect(places('all')).toEqual(['10.0.0.1:8080', '10.0.0.100:8080']);
    expect(places('v1')).toEqual(['10.0.0.1:8080']);
    expect(places('warned')).toEqual(['10.0.0.1:8080', '10.0.0.100:8080', '10.0.0.3:1']);
    expect(planExitCode(plan)).toBe(2);
  });

  it('explains why a node is removed', () => {
    const given = stores([...objects, upstream('web', ofConsul('web', { metadata: { version: ['2'] } }))]);
    const web = [
      entry('10.0.0.1', 8080, { Meta: { version: '2' } }),
      entry('10.0.0.2', 8080, { Meta: { version: '2' } }, 'critical'),
      entry('10.0.0.3', 8080, { Meta: { version: '1' } }),
      {
        ...entry('10.0.0.4', 8080, { Meta: { version: '2' } }),
        Checks: [{ CheckID: '_node_maintenance', Status: 'critical' }],
      },
    ];
    const refs = registryReferences(given);
    const answers = parseAnswers({ types, stores: given, refs }, { vms: { web } }, 'services.yaml');
    const owner = { cluster: 'c1', connection: 'default', namespace: 'shop', name: 'web' };
    const value = {
      id: 'shop.web',
      type: 'roundrobin',
      scheme: 'http',
      nodes: [
        ...['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'].map((of) => ({
          host: of,
          port: 8080,
          weight: 1,
        })),
        { host: '10.0.0.1', port: 8081, weight: 1 },
      ],
      labels: ownerLabels(owner, { orphan: false }),
    };
    const plan = planOf(given, answers, [{ key: '/apisix/upstreams/shop.web', value }]);
    const why = (place: string) =>
      upstreamOf(plan, 'web')?.nodes.find(({ node }) => `${node.host}:${node.port}` === place)?.why ??
      upstreamOf(plan, 'web')?.held?.nodes.find((node) => `${node.host}:${node.port}` === place)?.why;
    const service = 'service web of ServiceRegistry vms';
    expect(why('10.0.0.2:8080')).toBe(`not ready in ${service}`);
    expect(why('10.0.0.3:8080')).toBe(`listed by ${service}, but excluded by metadata, address or weight 0`);
    expect(why('10.0.0.4:8080')).toBe(`out of service in ${service}`);
    expect(why('10.0.0.1:8081')).toBe(`not listed by ${service}`);
  });

  it.each([
    ['v3', { code: 0, message: 'success', data: [host('10.0.0.1')] }],
    ['v2', { code: 0, message: 'success', data: { hosts: [host('10.0.0.1')] } }],
    ['v1', { hosts: [host('10.0.0.1')], valid: true }],
    ['the hosts alone', [host('10.0.0.1')]],
  ])('reads an answer of Nacos: %s', (_, answer) => {
    const plan = saved({ cloud: { web: answer } }, upstream('web', ofNacos('web')));
    expect(upstreamOf(plan, 'web')).toMatchObject({
      action: 'Create',
      nodes: [{ node: { host: '10.0.0.1' } }],
    });
  });

  it('finds a service of another group of Nacos under GROUP@@SERVICE', () => {
    const state = { cloud: { web: [host('10.0.0.1')], 'blue@@web': [host('10.0.0.2')] } };
    const plan = saved(state, upstream('blue', ofNacos('web', { nacos: { group: 'blue' } })));
    expect(upstreamOf(plan, 'blue')).toMatchObject({ nodes: [{ node: { host: '10.0.0.2' } }] });
  });

  it('treats a service that is not in the file as unknown, and an empty one as a service without instances', () => {
    const plan = saved(
      { vms: { empty: [] } },
      upstream('lost', ofConsul('lost')),
      upstream('empty', ofConsul('empty')),
    );
    expect(upstreamOf(plan, 'lost')).toMatchObject({ action: 'Unknown' });
    expect(upstreamOf(plan, 'empty')).toMatchObject({
      action: 'None',
      conditions: [{ reason: 'ServiceUnknownToRegistry' }],
    });
    expect(plan.registries).toEqual([
      {
        registry: 'vms',
        known: false,
        message:
          'services.yaml contains no answer of ServiceRegistry vms for service lost: add it, or an empty one if the service has no instances',
      },
    ]);
    expect(planExitCode(plan)).toBe(1);
  });

  it.each([
    ['a list', [], 'services.yaml contains no services: expected a mapping of ServiceRegistry names'],
    ['an unknown registry', { other: {} }, 'services of ServiceRegistry other, which does not exist'],
    ['a list of services', { vms: [] }, 'services.yaml, ServiceRegistry vms: expected a mapping of services'],
    [
      'an answer of another form',
      { vms: { web: { hosts: [] } } },
      'services.yaml, ServiceRegistry vms, service web: expected the answer to GET /v1/health/service/NAME',
    ],
  ])('rejects %s', (_, state, message) => {
    const plan = () => saved(state, upstream('web', ofConsul('web')));
    expect(plan).toThrow(PlanError);
    expect(plan).toThrow(message);
  });
});
