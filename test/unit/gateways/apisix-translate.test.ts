import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalForm, toAdmin, toObserved } from '../../../src/gateways/apisix/translate.ts';
import { workerForm } from '../../../src/gateways/apisix/worker-form.ts';
import type { HealthCheck, LoadBalancing, Upstream } from '../../../src/model/upstream.ts';

const upstream: Upstream = {
  id: 'u1',
  labels: {},
  nodes: [],
  scheme: 'HTTP',
  loadBalancing: { type: 'RoundRobin' },
};
const node = { host: '10.0.0.1', port: 80, weight: 1, priority: 0 };
const ACTIVE: HealthCheck['active'] = {
  type: 'HTTPS',
  timeoutMs: 1500,
  concurrency: 10,
  method: 'HEAD',
  path: '/healthz',
  body: '',
  verifyCertificate: false,
  healthy: { intervalSeconds: 2, statuses: [200], successes: 2 },
  unhealthy: { intervalSeconds: 1, statuses: [500], httpFailures: 5, tcpFailures: 2, timeouts: 3 },
};

/** `ACTIVE` in the format of APISIX. */
const SENT = {
  type: 'https',
  timeout: 1.5,
  concurrency: 10,
  http_method: 'HEAD',
  http_path: '/healthz',
  http_req_body: '',
  https_verify_certificate: false,
  healthy: { interval: 2, http_statuses: [200], successes: 2 },
  unhealthy: { interval: 1, http_statuses: [500], http_failures: 5, tcp_failures: 2, timeouts: 3 },
};

describe('toAdmin writes', () => {
  it.each<[string, Partial<Upstream>, object]>([
    ['a minimal upstream', {}, {}],
    ['labels', { labels: { a: 'b', 'x/y': '1' } }, { labels: { a: 'b', 'x/y': '1' } }],
    ['a node', { nodes: [node] }, { nodes: [{ host: '10.0.0.1', port: 80, weight: 1 }] }],
    [
      'a priority that is not the default',
      { nodes: [{ ...node, priority: 2 }] },
      { nodes: [{ host: '10.0.0.1', port: 80, weight: 1, priority: 2 }] },
    ],
    [
      'the mark of a backend',
      { nodes: [{ ...node, backendMark: '0a1b2c3d' }] },
      {
        nodes: [{ host: '10.0.0.1', port: 80, weight: 1, metadata: { gwu: '0a1b2c3d' } }],
      },
    ],
    [
      'an IPv6 node',
      { nodes: [{ ...node, host: 'fd00::1' }] },
      { nodes: [{ host: '[fd00::1]', port: 80, weight: 1 }] },
    ],
    [
      'a name',
      { nodes: [{ ...node, host: 'a.example', weight: 0 }] },
      { nodes: [{ host: 'a.example', port: 80, weight: 0 }] },
    ],
    [
      'timeouts in seconds',
      { timeouts: { connectMs: 1500, sendMs: 1, readMs: 60_000 } },
      { timeout: { connect: 1.5, send: 0.001, read: 60 } },
    ],
    ['zero retries', { retries: 0 }, { retries: 0 }],
    ['retries', { retries: 3 }, { retries: 3 }],
    ['the retry timeout in seconds', { retryTimeoutMs: 1500 }, { retry_timeout: 1.5 }],
    ['the host of the node', { hostHeader: { type: 'Node' } }, { pass_host: 'node' }],
    [
      'another host',
      { hostHeader: { type: 'Rewrite', value: 'shop.example:81' } },
      { pass_host: 'rewrite', upstream_host: 'shop.example:81' },
    ],
    [
      'kept connections',
      { keepalive: { size: 4, idleTimeoutMs: 8500, requests: 16 } },
      { keepalive_pool: { size: 4, idle_timeout: 8.5, requests: 16 } },
    ],
    ['a description', { description: 'ours' }, { desc: 'ours' }],
    ['TLS without a certificate', { tls: { verify: true } }, { tls: { verify: true } }],
    [
      'TLS with a certificate',
      { tls: { verify: false, clientCertificate: { certificate: 'C', key: 'K' } } },
      { tls: { verify: false, client_cert: 'C', client_key: 'K' } },
    ],
    ['raw fields', { overrides: { name: 'shop', x: { y: 1 } } }, { name: 'shop', x: { y: 1 } }],
    ['no override of a modeled field', { overrides: { type: 'ewma', nodes: [1] } }, {}],
    [
      'health checks with every default written out',
      { healthCheck: { active: ACTIVE } },
      {
        checks: {
          active: SENT,
        },
      },
    ],
    [
      'health checks with all that is optional',
      {
        healthCheck: {
          active: { ...ACTIVE, host: 'h', port: 81, headers: ['A: b'] },
          passive: {
            type: 'TCP',
            healthy: { statuses: [201], successes: 0 },
            unhealthy: { statuses: [503], httpFailures: 1, tcpFailures: 0, timeouts: 2 },
          },
        },
      },
      {
        checks: {
          active: { ...SENT, host: 'h', port: 81, req_headers: ['A: b'] },
          passive: {
            type: 'tcp',
            healthy: { http_statuses: [201], successes: 0 },
            unhealthy: { http_statuses: [503], http_failures: 1, tcp_failures: 0, timeouts: 2 },
          },
        },
      },
    ],
  ])('%s', (_, fields, expected) => {
    expect(toAdmin({ ...upstream, ...fields })).toStrictEqual({
      type: 'roundrobin',
      scheme: 'http',
      nodes: [],
      labels: {},
      ...expected,
    });
  });

  it.each([
    ['HTTP', 'http'],
    ['HTTPS', 'https'],
    ['GRPC', 'grpc'],
    ['GRPCS', 'grpcs'],
    ['TCP', 'tcp'],
    ['TLS', 'tls'],
    ['UDP', 'udp'],
  ] as const)('scheme %s', (scheme, expected) => {
    expect(toAdmin({ ...upstream, scheme })).toMatchObject({ scheme: expected });
  });

  it.each<[LoadBalancing, object]>([
    [{ type: 'RoundRobin' }, { type: 'roundrobin' }],
    [{ type: 'EWMA' }, { type: 'ewma' }],
    [{ type: 'LeastConn' }, { type: 'least_conn' }],
    [
      { type: 'ConsistentHash', hashOn: 'Vars', key: 'remote_addr' },
      { type: 'chash', hash_on: 'vars', key: 'remote_addr' },
    ],
    [
      { type: 'ConsistentHash', hashOn: 'Header', key: 'X-User' },
      { type: 'chash', hash_on: 'header', key: 'X-User' },
    ],
    [
      { type: 'ConsistentHash', hashOn: 'Cookie', key: 'sid' },
      { type: 'chash', hash_on: 'cookie', key: 'sid' },
    ],
    [
      { type: 'ConsistentHash', hashOn: 'Consumer' },
      { type: 'chash', hash_on: 'consumer' },
    ],
    [
      { type: 'ConsistentHash', hashOn: 'VarsCombinations', key: '$host$uri' },
      { type: 'chash', hash_on: 'vars_combinations', key: '$host$uri' },
    ],
  ])('%o', (loadBalancing, expected) => {
    const { scheme: _, nodes: __, labels: ___, ...sent } = toAdmin({ ...upstream, loadBalancing });
    expect(sent).toStrictEqual(expected);
  });
});

/** The form that APISIX up to 3.13 stores, from its source. */
function withDefaults(sent: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const nodes = sent['nodes'] as readonly object[];
  return {
    hash_on: 'vars',
    pass_host: 'pass',
    ...sent,
    nodes: nodes.map((each) => ({ priority: 0, ...each })),
  };
}

const stored = {
  type: 'roundrobin',
  scheme: 'http',
  nodes: [
    { host: '10.0.0.1', port: 80, weight: 1 },
    { host: '[fd00::1]', port: 8080, weight: 2, priority: 1 },
  ],
  labels: { a: 'b', c: 'd' },
  timeout: { connect: 6, send: 6, read: 6 },
};
const canonical = canonicalForm(stored);

describe('the canonical form does not change', () => {
  it.each<[string, Record<string, unknown>]>([
    ['with fields that the server adds', { ...stored, id: 'u1', create_time: 1, update_time: 2 }],
    ['with an id that is a number', { ...stored, id: 1 }],
    ['with every default stored', withDefaults(stored)],
    ['with every default omitted', { nodes: stored.nodes, labels: stored.labels, timeout: stored.timeout }],
    ['with nodes in another order', { ...stored, nodes: stored.nodes.toReversed() }],
    [
      'with the keys in another order',
      {
        timeout: { read: 6, send: 6, connect: 6 },
        labels: { c: 'd', a: 'b' },
        nodes: [
          { weight: 1, port: 80, host: '10.0.0.1' },
          { priority: 1, weight: 2, port: 8080, host: '[fd00::1]' },
        ],
        scheme: 'http',
        type: 'roundrobin',
      },
    ],
    [
      'with numbers written otherwise',
      { ...stored, timeout: JSON.parse('{"connect":6.0,"send":6e0,"read":6.000}') as unknown },
    ],
  ])('%s', (_, value) => {
    expect(canonicalForm(value)).toBe(canonical);
  });

  it.each<[string, unknown, unknown]>([
    [
      'for both forms of nodes',
      { 'a:80': 1, '[::1]:81': 2 },
      [
        { host: 'a', port: 80, weight: 1 },
        { host: '[::1]', port: 81, weight: 2 },
      ],
    ],
    ['for no nodes in both forms', {}, []],
    [
      'for nodes of one address in another order',
      [
        { host: 'a', port: 1, weight: 1 },
        { host: 'a', port: 1, weight: 2 },
      ],
      [
        { host: 'a', port: 1, weight: 2 },
        { host: 'a', port: 1, weight: 1 },
      ],
    ],
  ])('%s', (_, one, other) => {
    expect(canonicalForm({ nodes: one })).toBe(canonicalForm({ nodes: other }));
  });

  it('if the gateway returns the private key encrypted', () => {
    const tls = { verify: false, client_cert: 'C' };
    expect(canonicalForm({ ...stored, tls: { ...tls, client_key: 'encrypted' } })).toBe(
      canonicalForm({ ...stored, tls: { ...tls, client_key: 'K' } }),
    );
  });

  it.each([undefined, {}, []])('if no labels are stored as %j', (labels) => {
    expect(canonicalForm({ nodes: [], ...(labels && { labels }) })).toBe(canonicalForm(toAdmin(upstream)));
  });
});

describe('the canonical form changes', () => {
  const [first, second] = stored.nodes;

  it.each<[string, Record<string, unknown>]>([
    ['with an unknown field', { ...stored, retry_timeout: 5 }],
    ['with a description', { ...stored, desc: 'mine' }],
    ['with a name', { ...stored, name: 'mine' }],
    ['with health checks', { ...stored, checks: { active: {} } }],
    ['with another type', { ...stored, type: 'ewma' }],
    ['with an invalid type', { ...stored, type: 'roundrobinx' }],
    ['with another scheme', { ...stored, scheme: 'https' }],
    ['with hash_on that is not the default', { ...stored, hash_on: 'header' }],
    ['with pass_host that is not the default', { ...stored, pass_host: 'node' }],
    ['with retries', { ...stored, retries: 0 }],
    ['with a null', { ...stored, retries: null }],
    ['with another label', { ...stored, labels: { ...stored.labels, e: 'f' } }],
    ['with a label removed', { ...stored, labels: { a: 'b' } }],
    ['with another timeout', { ...stored, timeout: { ...stored.timeout, read: 6.001 } }],
    ['without timeouts', { ...stored, timeout: undefined }],
    ['without nodes', { ...stored, nodes: [] }],
    ['without the field nodes', { ...stored, nodes: undefined }],
    ['with invalid nodes', { ...stored, nodes: 'a:1' }],
    ['with a node removed', { ...stored, nodes: [first] }],
    ['with a node twice', { ...stored, nodes: [first, first, second] }],
    ['with an invalid node', { ...stored, nodes: [first, second, null] }],
    ['with another weight', { ...stored, nodes: [{ ...first, weight: 2 }, second] }],
    ['with an invalid weight', { ...stored, nodes: [{ ...first, weight: '1' }, second] }],
    ['with another priority', { ...stored, nodes: [{ ...first, priority: -1 }, second] }],
    ['with another port', { ...stored, nodes: [{ ...first, port: 81 }, second] }],
    // The gateway uses port 80 anyway, but a write would change its content.
    ['without a port', { ...stored, nodes: [{ host: '10.0.0.1', weight: 1 }, second] }],
    ['with node metadata', { ...stored, nodes: [{ ...first, metadata: { zone: 'a' } }, second] }],
  ])('%s', (_, value) => {
    expect(canonicalForm(value)).not.toBe(canonical);
  });

  it('if only names of Object.prototype differ', () => {
    const odd = JSON.parse('{"nodes":[],"labels":{"__proto__":"x","constructor":"y"},"__proto__":{"a":1}}');
    const text = canonicalForm(odd as Record<string, unknown>);
    expect(text).toContain('"__proto__":{"a":1}');
    expect(text).toContain('"__proto__":"x"');
    expect(text).toContain('"constructor":"y"');
  });
});

describe('the mark of a backend in the metadata of a node', () => {
  const KEY = 'gwu';
  const plain = { host: '10.0.0.1', port: 80, weight: 1 };
  const canonicalOf = (fields: object) => canonicalForm({ nodes: [{ ...plain, ...fields }] });
  const marked = canonicalOf({ metadata: { [KEY]: '0a1b2c3d' } });

  it('is part of the canonical form', () => {
    expect(marked).toBe(
      canonicalForm(toAdmin({ ...upstream, nodes: [{ ...node, backendMark: '0a1b2c3d' }] })).replace(
        ',"labels":{}',
        '',
      ),
    );
    expect(canonicalOf({ metadata: { [KEY]: '0a1b2c3d' }, priority: 0 })).toBe(marked);
    expect(marked).toBe(
      `{"nodes":[{"host":"10.0.0.1","metadata":{"${KEY}":"0a1b2c3d"},"port":80,"priority":0,"weight":1}]}`,
    );
  });

  it.each<[string, object]>([
    ['no mark', {}],
    ['empty metadata', { metadata: {} }],
    ['another mark', { metadata: { [KEY]: '0a1b2c3e' } }],
    ['a mark that is not text', { metadata: { [KEY]: 1 } }],
    ['more metadata', { metadata: { [KEY]: '0a1b2c3d', zone: 'a' } }],
    ['another field', { metadata: { [KEY]: '0a1b2c3d' }, zone: 'a' }],
  ])('differs from %s', (_, fields) => {
    expect(canonicalOf(fields)).not.toBe(marked);
    for (const name of Object.keys(fields)) expect(canonicalOf(fields)).toContain(`"${name}":`);
  });

  it.each<[unknown, string | undefined]>([
    [{ [KEY]: '0a1b2c3d', zone: 'a' }, '0a1b2c3d'],
    [{ zone: 'a' }, undefined],
    [{ [KEY]: 1 }, undefined],
    ['text', undefined],
    [null, undefined],
  ])('is read from metadata %j', (metadata, expected) => {
    expect(toObserved('u1', { nodes: [{ ...plain, metadata }] }).nodes[0]?.backendMark).toBe(expected);
  });
});

describe('toObserved', () => {
  it('reads the upstream from the server', () => {
    const observed = toObserved('u1', { ...stored, id: 'u1', create_time: 1_700_000_000, update_time: 2 });
    expect(observed).toStrictEqual({
      id: 'u1',
      labels: { a: 'b', c: 'd' },
      nodes: [node, { host: 'fd00::1', port: 8080, weight: 2, priority: 1 }],
      createTime: 1_700_000_000,
      canonical,
    });
  });

  it.each<[unknown, readonly object[]]>([
    [undefined, []],
    [null, []],
    ['a:1', []],
    [[], []],
    [{}, []],
    [{ a: 1 }, [{ host: 'a', port: 80, weight: 1, priority: 0 }]],
    [{ '[::1]': 1 }, [{ host: '::1', port: 80, weight: 1, priority: 0 }]],
    [{ '[fd00::1]:443': 1 }, [{ host: 'fd00::1', port: 443, weight: 1, priority: 0 }]],
    [
      { 'b:2': 1, 'a:10': 1, 'a:9': 1 },
      [
        { host: 'a', port: 9, weight: 1, priority: 0 },
        { host: 'a', port: 10, weight: 1, priority: 0 },
        { host: 'b', port: 2, weight: 1, priority: 0 },
      ],
    ],
    [[{ host: 'a', weight: 1 }], [{ host: 'a', port: 80, weight: 1, priority: 0 }]],
    [[null, { weight: '1' }], Array(2).fill({ host: '', port: 80, weight: 0, priority: 0 })],
  ])('reads nodes %j', (nodes, expected) => {
    expect(toObserved('u1', { nodes }).nodes).toStrictEqual(expected);
  });

  it.each<[unknown, Record<string, string>]>([
    [undefined, {}],
    [[], {}],
    ['text', {}],
    [{ a: 'b', n: 1, o: {}, z: null }, { a: 'b' }],
  ])('reads labels %j', (labels, expected) => {
    expect(toObserved('u1', { labels, create_time: 'no number' })).toMatchObject({ labels: expected });
    expect(toObserved('u1', { labels, create_time: 'no number' })).not.toHaveProperty('createTime');
  });
});

it('an upstream reads back as it was written, with or without stored defaults, from the Admin API and from a worker', () => {
  const desired = fc.record(
    {
      id: fc.constant('u1'),
      labels: fc.dictionary(fc.string(), fc.string()),
      nodes: fc.uniqueArray(
        fc.record({
          host: fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()),
          port: fc.integer({ min: 1, max: 65_535 }),
          weight: fc.nat(),
          priority: fc.integer(),
        }),
        { selector: ({ host, port }) => `${host} ${port}` },
      ),
      scheme: fc.constantFrom('HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS', 'UDP'),
      loadBalancing: fc.oneof(
        fc.record({ type: fc.constantFrom('RoundRobin', 'EWMA', 'LeastConn') }),
        fc.record({
          type: fc.constant('ConsistentHash' as const),
          hashOn: fc.constantFrom('Vars', 'Header', 'Cookie', 'Consumer', 'VarsCombinations'),
          key: fc.string(),
        }),
      ),
      timeouts: fc.record({ connectMs: fc.nat(), sendMs: fc.nat(), readMs: fc.nat() }),
      retries: fc.nat(),
    },
    { requiredKeys: ['id', 'labels', 'nodes', 'scheme', 'loadBalancing'] },
  ) satisfies fc.Arbitrary<Upstream>;
  fc.assert(
    fc.property(desired, (each) => {
      const sent = JSON.parse(JSON.stringify(toAdmin(each))) as Record<string, unknown>;
      for (const value of [sent, withDefaults(sent)]) {
        const observed = toObserved('u1', { ...value, id: 'u1', create_time: 1, update_time: 1 });
        expect(observed.canonical).toBe(canonicalForm(toAdmin(each)));
        expect(observed.labels).toEqual(each.labels);
        expect(new Set(observed.nodes)).toEqual(new Set(each.nodes));
        const worker = withDefaults({ ...value, id: 'u1', create_time: 1, update_time: 1 });
        const shown = workerForm(JSON.parse(observed.canonical) as Record<string, unknown>);
        for (const runtime of [{}, { nodes_ref: worker['nodes'], original_nodes: [], parent: {} }]) {
          expect(workerForm({ ...worker, ...runtime })).toBe(shown);
        }
        expect(workerForm({ ...worker, retries: (each.retries ?? 0) + 1 })).not.toBe(shown);
      }
    }),
  );
});
