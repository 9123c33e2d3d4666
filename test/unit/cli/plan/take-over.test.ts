import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { builtInCatalog } from '../../../../src/catalog.ts';
import type { GatewayListing } from '../../../../src/cli/plan/planned.ts';
import { parseDocuments } from '../../../../src/cli/plan/read-files.ts';
import { renderTakeOvers } from '../../../../src/cli/plan/render.ts';
import { type TakeOver, takeOvers } from '../../../../src/cli/plan/take-over.ts';
import { backendTargets } from '../../../../src/decide/backends.ts';
import { buildUpstream } from '../../../../src/decide/build-upstream.ts';
import { toAdmin } from '../../../../src/gateways/apisix/translate.ts';
import { createKubernetesSource } from '../../../../src/sources/kubernetes/source.ts';
import { combineSources } from '../../../../src/sources/sources.ts';
import { admit, gatewayFormat, gatewayUpstreamSpec, storesOf } from '../../../support/catalog.ts';
import { ownerLabels } from '../../../support/owner-labels.ts';

const group = 'gatewayupstream.dev/v1alpha1';
const { canonical, listed, read } = gatewayFormat('APISIX');
const POLICY = { upstreamIds: 'Any', adoption: 'Allow', staticAddresses: 'Allow', overrides: 'Allow' };

const connection = (tenantPolicy: object, name: string, allowedRegistries: readonly string[] = []) => ({
  apiVersion: group,
  kind: 'GatewayConnection',
  metadata: { name },
  spec: {
    type: 'APISIX',
    apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } },
    allowedNamespaces: { all: true },
    allowedRegistries,
    tenantPolicy,
  },
});
const service = (name: string, addresses: readonly string[], namespace = 'shop') => [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: { ports: [{ name: 'http', port: 80 }] },
  },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  },
];
const nodes = (...hosts: readonly string[]) => hosts.map((host) => ({ host, port: 8080, weight: 1 }));

interface Given {
  readonly objects?: readonly object[];
  /** By id, in the format of APISIX. */
  readonly held: Readonly<Record<string, object>>;
  readonly namespace?: string;
  readonly policy?: object;
  readonly connectionName?: string;
  readonly connectionRegistries?: readonly string[];
  /** The values of --registry. */
  readonly registries?: readonly string[];
}

function stores({
  objects = [],
  policy = POLICY,
  connectionName = 'default',
  connectionRegistries,
}: Omit<Given, 'held'>) {
  const all = [
    connection(policy, connectionName, connectionRegistries),
    ...service('web', ['10.0.0.1', '10.0.0.2']),
    ...objects,
  ];
  const documents = all.map((value, index) => ({ where: `${index}`, value }));
  return storesOf(admit(documents, Date.parse('2026-01-01T12:00:00Z')).objects);
}

function listing(held: Given['held']): GatewayListing {
  const list = Object.entries(held).map(([id, value]) => ({
    key: `/apisix/upstreams/${id}`,
    value: { id, ...value },
  }));
  return { kind: 'listed', canonical, read, info: {}, upstreams: listed({ list, total: list.length }) };
}

function all(given: Given): readonly TakeOver[] {
  const gateways = new Map([[given.connectionName ?? 'default', listing(given.held)]]);
  const { namespace, registries = [] } = given;
  return takeOvers({ catalog: builtInCatalog, stores: stores(given), gateways, namespace, registries });
}

function only(given: Given): TakeOver {
  const [entry, ...others] = all(given);
  expect(others).toEqual([]);
  if (entry === undefined) throw new Error('nothing');
  return entry;
}

describe('takeOvers', () => {
  it('refers to the Service whose endpoints match the nodes', () => {
    expect(only({ held: { cms: { type: 'roundrobin', nodes: nodes('10.0.0.2', '10.0.0.1') } } })).toEqual({
      connection: 'default',
      upstreamId: 'cms',
      notes: [],
      manifest: {
        apiVersion: group,
        kind: 'GatewayUpstream',
        metadata: { name: 'cms', namespace: 'shop' },
        spec: {
          upstreamId: 'cms',
          adoptionPolicy: 'IfUnowned',
          backends: [{ serviceRef: { name: 'web', port: 'http' } }],
        },
      },
    });
  });

  it('refers to the service name of APISIX discovery, even if the Service does not exist', () => {
    const held = { cms: { service_name: 'blog/cms:http', discovery_type: 'kubernetes', retries: 1 } };
    expect(only({ held })).toMatchObject({
      notes: [],
      manifest: {
        metadata: { namespace: 'blog' },
        spec: { backends: [{ serviceName: 'blog/cms:http' }], retries: 1 },
      },
    });
    expect(only({ held, namespace: 'shop' }).notes).toEqual(['Needs a ReferenceGrant in namespace blog']);
  });

  const registry = (name: string, spec: object) => ({
    apiVersion: group,
    kind: 'ServiceRegistry',
    metadata: { name },
    spec: { allowedNamespaces: { all: true }, ...spec },
  });
  const consul = (name: string) =>
    registry(name, { type: 'Consul', consul: { servers: ['http://consul:8500'] } });
  const nacos = (name: string, namespaceId?: string) =>
    registry(name, { type: 'Nacos', nacos: { servers: ['http://nacos:8848'], namespaceId } });
  const EQUAL = 'APISIX ignores the weights in Consul, so weights is Equal. Remove it to use them';

  it('refers to the ServiceRegistry for an upstream that APISIX discovers in Consul', () => {
    const held = { cms: { service_name: 'cms', discovery_type: 'consul', type: 'roundrobin', retries: 1 } };
    const objects = [consul('vms'), nacos('cloud')];
    expect(only({ held, objects, connectionRegistries: ['vms'] })).toMatchObject({
      notes: [EQUAL],
      manifest: {
        metadata: { namespace: 'default' },
        spec: {
          backends: [{ registryRef: { name: 'vms' }, service: 'cms', weights: 'Equal' }],
          retries: 1,
        },
      },
    });
  });

  it('maps the namespace and the group of an upstream that APISIX discovers in Nacos', () => {
    const objects = [nacos('cloud'), nacos('blue', 'blue-id'), consul('vms')];
    const discovered = (args: object, more: object = {}) =>
      only({
        held: { cms: { service_name: 'cms', discovery_type: 'nacos', discovery_args: args, ...more } },
        objects,
        connectionRegistries: ['cloud', 'blue'],
      });
    expect(discovered({})).toMatchObject({
      notes: [],
      manifest: { spec: { backends: [{ registryRef: { name: 'cloud' }, service: 'cms' }] } },
    });
    expect(discovered({ namespace_id: 'blue-id', group_name: 'g' })).toMatchObject({
      notes: [],
      manifest: {
        spec: { backends: [{ registryRef: { name: 'blue' }, service: 'cms', nacos: { group: 'g' } }] },
      },
    });
    expect(discovered({ namespace_id: 'green' })).toMatchObject({
      notes: [
        'Needs a ServiceRegistry of type Nacos with namespaceId green: create it, and correct registryRef',
      ],
      manifest: { spec: { backends: [{ registryRef: { name: 'nacos' } }] } },
    });
    expect(discovered({ metadata: { version: 'v1' } }, { scheme: 'grpc' }).notes).toEqual([
      expect.stringContaining('portFrom: {metadata: gRPC_port}'),
      'APISIX ignores these discovery_args for Nacos: metadata. To filter instances, set metadata in the backend',
    ]);
  });

  it('refers to the ServiceRegistry for an upstream that APISIX discovers in Eureka', () => {
    const held = { cms: { service_name: 'CMS', discovery_type: 'eureka', discovery_args: { a: 1 } } };
    const objects = [
      consul('vms'),
      registry('apps', { type: 'Eureka', eureka: { servers: ['http://eureka:8761/eureka'] } }),
    ];
    expect(only({ held, objects, connectionRegistries: ['apps'] })).toMatchObject({
      notes: [
        expect.stringContaining('eureka: {port: Secure}'),
        'APISIX ignores these discovery_args for Eureka: a. To filter instances, set metadata in the backend',
      ],
      manifest: { spec: { backends: [{ registryRef: { name: 'apps' }, service: 'CMS' }] } },
    });
  });

  it('does not guess which of several ServiceRegistries the gateway uses', () => {
    const held = { cms: { service_name: 'cms', discovery_type: 'consul' } };
    const objects = [consul('b'), consul('a')];
    expect(only({ held, objects })).toMatchObject({
      notes: [
        'It uses service cms of a registry of type Consul, and several ServiceRegistries fit (a, b): name one of them with --registry',
      ],
    });
    expect(only({ held, objects }).manifest).toBeUndefined();
    const uses = (name: string) => ({ spec: { backends: [{ registryRef: { name } }] } });
    expect(only({ held, objects, registries: ['b'] }).manifest).toMatchObject(uses('b'));
    expect(only({ held, objects, connectionRegistries: ['a'] }).manifest).toMatchObject(uses('a'));
  });

  it('notes a service name with the id of a registry', () => {
    const held = { cms: { service_name: 'west/cms', discovery_type: 'consul' } };
    const entry = only({ held, objects: [consul('west')], connectionRegistries: ['west'] });
    expect(entry.manifest).toMatchObject({ spec: { backends: [{ service: 'cms' }] } });
    expect(entry.notes).toEqual([
      EQUAL,
      'service_name names the service cms of registry west: check that registryRef refers to that registry',
    ]);
  });

  it('notes what the ServiceRegistry and the GatewayConnection do not allow', () => {
    const held = { cms: { service_name: 'cms', discovery_type: 'consul' } };
    const { metadata, ...rest } = consul('vms');
    const closed = { ...rest, metadata, spec: { ...rest.spec, allowedNamespaces: { names: ['blog'] } } };
    const entry = only({ held, objects: [closed], connectionRegistries: ['vms'] });
    expect(entry.notes).toEqual([EQUAL, expect.stringContaining('does not allow namespace default')]);
    expect(only({ held, objects: [consul('vms')] }).notes).toEqual([
      EQUAL,
      expect.stringContaining('does not allow ServiceRegistry vms'),
    ]);
  });

  it('uses the requested namespace', () => {
    const entry = only({ held: { cms: { nodes: nodes('10.0.0.1', '10.0.0.2') } }, namespace: 'blog' });
    expect(entry.manifest).toMatchObject({
      metadata: { namespace: 'blog' },
      spec: { backends: [{ serviceRef: { name: 'web', namespace: 'shop', port: 'http' } }] },
    });
    expect(entry.notes).toEqual(['Needs a ReferenceGrant in namespace shop']);
  });

  it.each([
    ['more than the endpoints of a Service', nodes('10.0.0.1', '10.0.0.2', '10.0.0.3'), []],
    ['fewer than the endpoints of a Service', nodes('10.0.0.1'), []],
    [
      'of different weights',
      [
        { host: '10.0.0.1', port: 8080, weight: 1 },
        { host: '10.0.0.2', port: 8080, weight: 3 },
      ],
      [],
    ],
    [
      'the endpoints of two Services',
      nodes('10.0.0.1', '10.0.0.2'),
      service('other', ['10.0.0.1', '10.0.0.2']),
    ],
  ])('uses static addresses if the nodes are %s', (_, held, objects) => {
    const entry = only({ held: { cms: { nodes: held } }, objects });
    expect(entry.manifest).toMatchObject({
      metadata: { namespace: 'default' },
      spec: { backends: [{ addresses: held.map((node) => ({ ...node, priority: 0 })) }] },
    });
    expect(entry.notes).toHaveLength(1);
  });

  it('keeps the proportions of weights that are too large for the spec', () => {
    const held = { cms: { nodes: { 'a.example:80': 300, 'b.example:80': 100 } } };
    const entry = only({ held });
    expect(entry.manifest).toMatchObject({
      spec: {
        backends: [
          {
            addresses: [
              { host: 'a.example', weight: 3 },
              { host: 'b.example', weight: 1 },
            ],
          },
        ],
      },
    });
    expect(entry.notes).toContain(
      'These nodes would change: ~ a.example:80 weight 300 -> 3, ~ b.example:80 weight 100 -> 1',
    );
  });

  it('lists the fields that it cannot express and those that would change', () => {
    const entry = only({
      held: {
        cms: {
          type: 'roundrobinx',
          key: 'remote_addr',
          nodes: nodes('10.0.0.1', '10.0.0.2'),
          retries: 'many',
          name: 'cms',
          tls: { client_cert: 'PEM', client_key: 'hush', verify: true },
          timeout: { connect: 1.5, send: 6, read: 6 },
          labels: { team: 'a', spaced: 'a b' },
        },
      },
    });
    expect(entry.manifest?.spec).toEqual({
      upstreamId: 'cms',
      adoptionPolicy: 'IfUnowned',
      backends: [{ serviceRef: { name: 'web', port: 'http' } }],
      tls: { verify: true },
      timeouts: { connect: '1500ms', send: '6s', read: '6s' },
      apisix: { overrides: { name: 'cms' } },
    });
    expect(entry.notes).toEqual([
      'A GatewayUpstream cannot express these fields. Remove them from the upstream before the take-over: key, labels, retries, tls.client_cert, type',
    ]);
  });

  it.each([
    ['no nodes', { nodes: [] }, 'It has no nodes'],
    [
      'another discovery',
      { service_name: 'CMS', discovery_type: 'tars' },
      'It uses service discovery (discovery_type, service_name)',
    ],
    [
      'discovery of another cluster',
      { service_name: 'x/shop/web:http', discovery_type: 'kubernetes' },
      'It uses service discovery (',
    ],
    [
      'an invalid node',
      { nodes: [{ host: 'a b', port: 1, weight: 1 }] },
      'It cannot be expressed as a GatewayUpstream: backends.0.addresses.0.host',
    ],
  ])('generates no object for an upstream with %s', (_, held, note) => {
    const entry = only({ held: { cms: held } });
    expect(entry.manifest).toBeUndefined();
    expect(entry.notes.join()).toContain(note);
  });

  it('ignores upstreams that have an owner or are used by a GatewayUpstream', () => {
    const owner = { cluster: 'c9', connection: 'x', namespace: 'y', name: 'z' };
    const wanting = {
      apiVersion: group,
      kind: 'GatewayUpstream',
      metadata: { namespace: 'shop', name: 'web' },
      spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }] },
    };
    const held = {
      theirs: { nodes: [], labels: ownerLabels(owner, { orphan: false }) },
      'shop.web': { nodes: [] },
    };
    expect(all({ held, objects: [wanting] })).toEqual([]);
  });

  it('notes what the GatewayConnection does not allow', () => {
    const entry = only({ held: { cms: { nodes: nodes('10.0.0.1', '10.0.0.2') } }, policy: {} });
    expect(entry.notes).toEqual([
      expect.stringContaining('set spec.tenantPolicy.upstreamIds to Any'),
      expect.stringContaining('set spec.tenantPolicy.adoption to Allow'),
    ]);
  });

  it('generates a unique name and sets connectionRef for other connections than default', () => {
    const held = Object.fromEntries(
      ['A_b', 'a.b', '...'].map((id) => [id, { nodes: nodes('10.0.0.1', '10.0.0.2') }]),
    );
    const entries = all({ held, connectionName: 'edge' });
    expect(entries.map(({ manifest }) => manifest?.metadata.name)).toEqual(['upstream', 'a-b', 'a-b-2']);
    expect(entries[0]?.manifest?.spec).toMatchObject({ connectionRef: { name: 'edge' } });
  });

  it('prints YAML that kubectl reads correctly for any upstream', () => {
    const text = renderTakeOvers(
      all({
        held: {
          cms: {
            nodes: nodes('10.0.0.1', '10.0.0.2'),
            labels: { a: 'yes', b: '012', c: '1:30' },
            desc: 'a: b\n# c',
          },
          bad: { service_name: 'x\n---\nkind: Secret', discovery_type: 'dns' },
        },
      }),
      new Map([['west', { kind: 'failed', message: 'down\n---\nkind: Secret' }]]),
    );
    expect(parseDocuments(text, 'output').map(({ value }) => value)).toMatchObject([
      {
        kind: 'GatewayUpstream',
        spec: { labels: { a: 'yes', b: '012', c: '1:30' }, description: 'a: b\n# c' },
      },
    ]);
    expect(parse(text)).toMatchObject({ spec: { labels: { a: 'yes', b: '012' } } });
    expect(text).toContain('# GatewayConnection west: down\\u000a---');
    expect(text).toContain('# Upstream bad of GatewayConnection default cannot be taken over\n');
  });

  it('reproduces the upstream of any valid spec', () => {
    const cluster = stores({});
    const source = combineSources({ Kubernetes: createKubernetesSource(cluster) });
    const desiredOf = (spec: unknown) => {
      const parsed = gatewayUpstreamSpec.parse(spec);
      const backends = backendTargets(parsed, 'shop').map((target) =>
        target.kind === 'addresses' ? { target } : { target, found: source.read(target.ref) },
      );
      return buildUpstream(parsed, { id: 'u', section: 'apisix' }, backends).upstream;
    };
    fc.assert(
      fc.property(specs, (spec) => {
        const desired = desiredOf(spec);
        const gateways = new Map([['default', listing({ u: toAdmin(desired) })]]);
        const [entry] = takeOvers({
          catalog: builtInCatalog,
          stores: cluster,
          gateways,
          namespace: undefined,
        });
        const { manifest, notes = [] } = entry ?? {};
        expect(notes.filter((note) => !note.startsWith('Its nodes do not match'))).toEqual([]);
        expect(canonical(desiredOf(manifest?.spec))).toBe(canonical(desired));
      }),
      { numRuns: 300 },
    );
  });
});

const duration = (least: number, most: number) =>
  fc.oneof(
    fc.integer({ min: Math.max(1, least), max: most }).map((ms) => `${ms}ms`),
    fc.integer({ min: Math.ceil(least / 1000), max: Math.floor(most / 1000) }).map((s) => `${s}s`),
    fc.constantFrom('1m30s', '1.5s', '2.301s'),
  );
const attempt = duration(1000, 86_400_000);
const word = fc.stringMatching(/^[A-Za-z0-9_.-]{1,20}$/);
const count = fc.integer({ min: 1, max: 254 });
const statuses = fc.uniqueArray(fc.integer({ min: 200, max: 599 }), { minLength: 1, maxLength: 5 });
const seconds = fc.integer({ min: 1, max: 3600 }).map((s) => `${s}s`);
const probe = fc.constantFrom('HTTP', 'HTTPS', 'TCP');
const failures = { statuses, httpFailures: count, tcpFailures: count, timeouts: count };
const optional = { requiredKeys: [] };

const specs = fc
  .record(
    {
      backends: fc.oneof(
        fc.constant([{ serviceRef: { name: 'web', port: 80 } }]),
        fc
          .uniqueArray(
            fc.record({
              host: fc.constantFrom('192.0.2.1', 'a.example', '2001:db8::1'),
              port: fc.integer({ min: 1, max: 65_535 }),
              weight: fc.integer({ min: 1, max: 100 }),
              priority: fc.integer({ min: -100, max: 100 }),
            }),
            { selector: ({ host, port }) => `${host} ${port}`, minLength: 1, maxLength: 6 },
          )
          .map((addresses) => [{ addresses }]),
      ),
      loadBalancing: fc.constantFrom(
        { type: 'EWMA' },
        { type: 'LeastConn' },
        { type: 'ConsistentHash', key: 'remote_addr' },
        { type: 'ConsistentHash', hashOn: 'Header', key: 'X-User' },
        { type: 'ConsistentHash', hashOn: 'Consumer' },
        { type: 'ConsistentHash', hashOn: 'VarsCombinations', key: '$host$uri' },
      ),
      scheme: fc.constantFrom('HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS'),
      hostHeader: fc.oneof(
        fc.constantFrom({ type: 'Pass' }, { type: 'Node' }),
        word.map((value) => ({ type: 'Rewrite', value })),
      ),
      timeouts: fc.record({ connect: attempt, send: attempt, read: attempt }, optional),
      retries: fc.nat(1000),
      retryTimeout: duration(0, 86_400_000),
      keepalive: fc.record({ size: count, idleTimeout: duration(0, 86_400_000), requests: count }, optional),
      healthCheck: fc.record(
        {
          active: fc.record(
            {
              type: probe,
              timeout: duration(1, 3_600_000),
              concurrency: count,
              method: fc.constantFrom('GET', 'HEAD'),
              path: word.map((path) => `/${path}`),
              host: word,
              port: count,
              headers: fc.array(
                word.map((value) => `X-Probe: ${value}`),
                { minLength: 1, maxLength: 3 },
              ),
              body: fc.string({ maxLength: 20 }),
              verifyCertificate: fc.boolean(),
              healthy: fc.record({ interval: seconds, statuses, successes: count }, optional),
              unhealthy: fc.record({ interval: seconds, ...failures }, optional),
            },
            optional,
          ),
          passive: fc.record(
            {
              type: probe,
              healthy: fc.record({ statuses, successes: fc.nat(254) }, optional),
              unhealthy: fc.record(failures, optional),
            },
            optional,
          ),
        },
        { requiredKeys: ['active'] },
      ),
      tls: fc.record({ verify: fc.boolean() }),
      labels: fc.dictionary(word, word, { maxKeys: 4 }),
      description: fc.string({ maxLength: 40 }),
      apisix: fc.record({ overrides: fc.dictionary(fc.constantFrom('name', 'x_new'), word, { minKeys: 1 }) }),
    },
    { requiredKeys: ['backends'] },
  )
  .filter((spec) => gatewayUpstreamSpec.safeParse(spec).success);
