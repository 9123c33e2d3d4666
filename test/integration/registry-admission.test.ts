import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { NAMESPACE_PLACEHOLDER as NAMESPACE } from '../../src/api/service-pattern.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { installCrds } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { GROUP_PATH } from '../support/workload.ts';

const cluster = await sharedControlPlane();

type Kind = 'ServiceRegistry' | 'GatewayUpstream' | 'GatewayConnection';
type Spec = Readonly<Record<string, unknown>>;

interface Given {
  readonly name: string;
  readonly kind: Kind;
  readonly spec: Spec;
}

const consulSection = { servers: ['http://consul.example.com:8500'] };
const nacosSection = { servers: ['http://nacos.example.com:8848'] };

const registry = (name: string, fields: Spec): Given => ({
  name,
  kind: 'ServiceRegistry',
  spec: { type: 'Consul', consul: consulSection, ...fields },
});
const nacos = (name: string, fields: Spec): Given => ({
  name,
  kind: 'ServiceRegistry',
  spec: { type: 'Nacos', nacos: { ...nacosSection, ...fields } },
});
const zookeeper = (name: string, fields: Spec): Given => ({
  name,
  kind: 'ServiceRegistry',
  spec: { type: 'ZooKeeper', zookeeper: { servers: ['zookeeper.example.com:2181'], ...fields } },
});
const etcd = (name: string, fields: Spec): Given => ({
  name,
  kind: 'ServiceRegistry',
  spec: { type: 'Etcd', etcd: { servers: ['http://etcd:2379'], format: 'JSON', ...fields } },
});
const services = (...patterns: readonly string[]): Given =>
  registry(`services ${patterns.join(' ')}`, { tenantPolicy: { services: patterns } });
const backend = (name: string, fields: Spec): Given => ({
  name,
  kind: 'GatewayUpstream',
  spec: { backends: [{ registryRef: { name: 'vms' }, service: 'web', ...fields }] },
});
const allowing = (name: string, allowedRegistries: unknown): Given => ({
  name,
  kind: 'GatewayConnection',
  spec: {
    type: 'APISIX',
    apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'admin' } },
    allowedRegistries,
  },
});

const long = (length: number) => 'a'.repeat(length);
const times = <T>(count: number, value: T): readonly T[] => Array.from({ length: count }, () => value);
const keys = (count: number, value: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`key-${n}`, value]));

const WRONG: readonly (readonly [Given, ...string[]])[] = [
  [registry('another type', { type: 'Kubernetes' }), 'Unsupported value: "Kubernetes"'],
  [registry('no section', { consul: null }), 'consul is required with type Consul'],
  [registry('two sections', { nacos: nacosSection }), 'nacos is required with type Nacos and not allowed'],
  [registry('no server', { consul: { servers: [] } }), 'spec.consul.servers'],
  [registry('credentials in a URL', { consul: { servers: ['http://a:b@c'] } }), 'spec.consul.servers[0]'],
  [registry('the same server twice', { consul: { servers: times(2, 'http://a') } }), 'Duplicate value'],
  [registry('vanishedHold', { vanishedHold: '2h' }), 'must be a duration from 0s to 1h'],
  [registry('no namespace name', { allowedNamespaces: { names: ['A'] } }), 'must be the name of a namespace'],
  [
    registry('an address without a prefix', { addresses: { deny: ['10.0.0.1'] } }),
    'must be a range in CIDR notation',
  ],
  [registry('names', { addresses: { names: 'Yes' } }), 'Unsupported value: "Yes"'],
  [services('('), 'must be a regular expression for service names'],
  [services('a{2,1}'), 'must be a regular expression for service names'],
  [services('(?i)web'), 'must be a regular expression for service names'],
  [services('a b'), 'must be a regular expression for service names'],
  [services(`$${'{other}'}`), 'must be a regular expression for service names'],
  [services(`[${NAMESPACE}]`), 'must be a regular expression for service names'],
  [services(''), 'must be a regular expression for service names'],
  [services(long(257)), 'Too long'],
  [services(...times(33, 'a')), 'must have at most 32 items'],
  [nacos('a group', { groups: ['a b'] }), 'spec.nacos.groups[0]'],
  [nacos('a user without a password', { usernameSecretRef: { name: 'a' } }), 'passwordSecretRef'],
  [zookeeper('TLS', { tls: { insecureSkipVerify: true } }), 'tls is not supported for ZooKeeper: remove it'],
  [zookeeper('a URL', { servers: ['zookeeper://a:2181'] }), 'spec.zookeeper.servers[0]'],
  [zookeeper('a connection string', { servers: ['a:2181,b:2181/chroot'] }), 'spec.zookeeper.servers[0]'],
  [zookeeper('the same server twice', { servers: ['a:2181', 'a:2181'] }), 'Duplicate value'],
  [zookeeper('a path that leads up', { path: '/services/../secrets' }), 'spec.zookeeper.path'],
  [zookeeper('a relative path', { path: 'services' }), 'spec.zookeeper.path'],
  [zookeeper('a password without a user', { passwordSecretRef: { name: 'a' } }), 'usernameSecretRef'],
  [zookeeper('another format', { format: 'JSON' }), 'Unsupported value: "JSON"'],
  [etcd('no format', { format: null }), 'spec.etcd.format: Required value'],
  [etcd('another format', { format: 'Text' }), 'Unsupported value: "Text"'],
  [etcd('a prefix with a space', { prefix: 'a b' }), 'spec.etcd.prefix'],
  [etcd('a user without a password', { usernameSecretRef: { name: 'a' } }), 'passwordSecretRef'],
  [allowing('a name', ['VMS']), 'must be the name of a ServiceRegistry'],
  [allowing('the same name twice', ['vms', 'vms']), 'Duplicate value'],
  [backend('no service', { service: null }), 'a backend with registryRef must set service'],
  [backend('an empty service', { service: '' }), 'spec.backends[0].service'],
  [backend('addressing', { addressing: { mode: 'Pod' } }), 'must not set addressing'],
  [backend('a Service as well', { serviceRef: { name: 'web', port: 80 } }), 'exactly one of serviceRef'],
  [backend('two sections', { consul: {}, nacos: {} }), 'at most one of consul, nacos, eureka and etcd'],
  [backend('too many keys', { metadata: keys(17, ['a']) }), 'must have at most 16 items'],
  [backend('no value', { metadata: { a: [] } }), 'should have at least 1 items'],
  [backend('too many values', { metadata: { a: times(17, 'a') } }), 'must have at most 16 items'],
  [backend('a long key', { metadata: { [long(129)]: ['a'] } }), 'at most 128 characters'],
  [backend('a long value', { metadata: { a: [long(257)] } }), 'Too long'],
  [backend('weights', { weights: 'None' }), 'Unsupported value: "None"'],
  [backend('no key for the port', { portFrom: {} }), 'portFrom.metadata: Required value'],
  [backend('an empty key for the port', { portFrom: { metadata: '' } }), 'portFrom.metadata'],
  [backend('a tag', { consul: { tags: [] } }), 'spec.backends[0].consul.tags'],
  ...['service', 'metadata', 'weights', 'portFrom', 'consul', 'nacos', 'eureka', 'etcd'].map(
    (field): readonly [Given, string] => {
      const value = { service: 'web', metadata: { a: ['b'] }, weights: 'Equal', portFrom: { metadata: 'a' } };
      return [
        {
          name: `${field} without registryRef`,
          kind: 'GatewayUpstream',
          spec: {
            backends: [
              {
                serviceRef: { name: 'web', port: 80 },
                [field]: (value as Record<string, unknown>)[field] ?? {},
              },
            ],
          },
        },
        `${field} requires registryRef: add registryRef, or remove ${field}`,
      ];
    },
  ),
];

const RIGHT: readonly Given[] = [
  registry('as little as possible', {}),
  nacos('Nacos', {}),
  zookeeper('ZooKeeper', {}),
  zookeeper('everything of ZooKeeper', {
    servers: ['zk-1.example.com:2181', '10.0.0.1', '[2001:db8::1]:2181'],
    usernameSecretRef: { name: 'a' },
    passwordSecretRef: { name: 'a', key: 'b' },
    path: '/production/services_1.x',
    format: 'DubboInterface',
  }),
  etcd('etcd', {}),
  etcd('etcd without a prefix', { prefix: '' }),
  registry('the largest limits', {
    consul: { servers: Array.from({ length: 16 }, (_, n) => `https://consul-${n}.example.com:8501/path`) },
    limits: { concurrentQueries: 1000, requestsPerSecond: 10_000, servicesPerNamespace: 100_000 },
    vanishedHold: '1h',
    pollInterval: '1m',
    requestTimeout: '60s',
    tenantPolicy: { services: times(32, long(256)) },
    addresses: { allow: times(64, '::/0'), deny: times(64, '10.0.0.0/8'), names: 'Allow' },
  }),
  services(),
  services(
    `^${NAMESPACE}-.+$`,
    `(${NAMESPACE}|shared)-[a-z]{1,20}?`,
    'providers:com.example.[A-Z]\\w+:1\\.0:.*',
  ),
  allowing('no registry', []),
  allowing(
    '64 registries',
    Array.from({ length: 64 }, (_, n) => `registry-${n}.example`),
  ),
  backend('as little as possible', {}),
  backend('everything', {
    service: long(512),
    metadata: keys(16, times(16, long(256))),
    weights: 'Equal',
    portFrom: { metadata: long(128) },
    consul: { tags: times(16, 'a'), healthy: 'PassingOrWarning', address: 'Wan' },
    weight: 100,
  }),
  backend('an empty value', {
    metadata: { [long(128)]: [''] },
    nacos: { group: 'A.b:c_d-e', clusters: ['a'] },
  }),
  {
    name: '16 backends with everything',
    kind: 'GatewayUpstream',
    spec: {
      backends: times(16, {
        registryRef: { name: long(63) },
        service: 'providers:com.example.Cart:1.0:shop',
        metadata: keys(16, times(16, 'a')),
        portFrom: { metadata: 'port' },
      }),
    },
  },
];

const PATHS: Readonly<Record<Kind, string>> = {
  ServiceRegistry: `${GROUP_PATH}/serviceregistries`,
  GatewayUpstream: `${GROUP_PATH}/namespaces/default/gatewayupstreams`,
  GatewayConnection: `${GROUP_PATH}/gatewayconnections`,
};

/** The API server's response to a dry-run creation. */
async function create(kind: Kind, spec: unknown) {
  const { status, body } = await cluster.request('POST', `${PATHS[kind]}?dryRun=All&fieldValidation=Ignore`, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind,
    metadata: { name: 'admission' },
    spec,
  });
  const { message = '', spec: stored } = body as { readonly message?: string; readonly spec?: unknown };
  if (status !== 201 && status !== 422 && status !== 400) throw new Error(`${status} ${message}`);
  return { accepted: status === 201, message, stored };
}

/** The spec as the operator reads it. */
function program(kind: Kind, spec: unknown) {
  const { serviceRegistry, gatewayUpstream, gatewayConnection } = builtInCatalog.transforms;
  const transforms = {
    ServiceRegistry: serviceRegistry,
    GatewayUpstream: gatewayUpstream,
    GatewayConnection: gatewayConnection,
  };
  const parsed = transforms[kind]?.({
    metadata: { name: 'admission', uid: 'b2c8f1f0', namespace: 'default' },
    spec,
  })?.spec;
  if (parsed === undefined) throw new Error('the object was not read');
  return parsed;
}

beforeAll(async () => {
  await installCrds(cluster);
});

describe('an invalid spec', () => {
  it.each(WRONG.map(([given, ...says]) => ({ ...given, says })))(
    'is rejected: $kind: $name',
    async ({ kind, spec, says }) => {
      const { accepted, message } = await create(kind, spec);
      expect(accepted).toBe(false);
      for (const part of says) expect(message).toContain(part);
      // The API server drops null fields, so the operator never sees them.
      expect(program(kind, withoutNull(spec)).ok).toBe(false);
    },
  );
});

describe('a valid spec', () => {
  it.each(RIGHT)('is accepted: $kind: $name', async ({ kind, spec }) => {
    const { message, stored } = await create(kind, spec);
    expect(message).toBe('');
    const read = program(kind, stored);
    expect(read).toMatchObject({ ok: true });
    expect(read).toEqual(program(kind, spec));
  });

  it('of a registry has secure defaults', async () => {
    const { stored } = await create('ServiceRegistry', {
      type: 'Consul',
      consul: consulSection,
      addresses: {},
    });
    expect(stored).toMatchObject({
      vanishedHold: '90s',
      addresses: { names: 'Deny' },
      limits: { concurrentQueries: 100 },
    });
    expect(stored).not.toHaveProperty('allowedNamespaces');
  });
});

function withoutNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNull);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (one === null ? [] : [[key, withoutNull(one)]])),
  );
}

const pattern = fc.oneof(
  fc.constantFrom('web', `${NAMESPACE}-.*`, `(${NAMESPACE})?`, 'a{1,2}', '[a-z:@]+'),
  fc
    .array(fc.constantFrom(NAMESPACE, ...'^$|()?:*+{}[]a-z12,.@/~ ', '\\d', '(?:', '$'), { maxLength: 6 })
    .map((parts) => parts.join('')),
);

const optional = { requiredKeys: [] };
/** Mostly the first value. */
const mostly = <T>(right: T, ...others: readonly T[]) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant(right) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );

const choices = {
  metadata: fc.dictionary(
    mostly('a', 'b', long(128), long(129), ''),
    fc.array(fc.constantFrom('', 'a'), { minLength: 1, maxLength: 2 }),
    { maxKeys: 2 },
  ),
  weights: mostly('Registry', 'Equal', 'equal'),
  portFrom: fc.record({ metadata: mostly('port', '') }),
  consul: fc.record({ tags: fc.array(mostly('a', ''), { minLength: 1, maxLength: 2 }) }, optional),
  weight: mostly(0, 1, 100, 101),
};
const someBackend = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record(
      {
        registryRef: fc.record({ name: mostly('vms', 'a.b', 'A') }),
        service: mostly('web', '', 'a b:@'),
        ...choices,
      },
      { requiredKeys: ['registryRef', 'service'] },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.record(
      {
        ...choices,
        registryRef: fc.constant({ name: 'vms' }),
        serviceRef: fc.constant({ name: 'web', port: 80 }),
        service: fc.constant('web'),
        nacos: fc.record({ group: mostly('A', 'a b') }, optional),
        eureka: fc.record({ port: mostly('Secure', 'secure') }, optional),
        etcd: fc.record({ scheme: mostly('grpc', 'GRPC', '') }, optional),
      },
      optional,
    ),
  },
);

const sections = {
  consul: fc.constant(consulSection),
  nacos: fc.constant(nacosSection),
  eureka: fc.record(
    {
      servers: fc.constant(['http://eureka:8761/eureka']),
      usernameSecretRef: fc.constant({ name: 'eureka' }),
      passwordSecretRef: fc.constant({ name: 'eureka' }),
    },
    { requiredKeys: ['servers'] },
  ),
  zookeeper: fc.record(
    {
      servers: fc.constant(['zookeeper:2181']),
      tls: mostly({}, { serverName: 'a' }),
      path: mostly('/services', '/', '/a/'),
      format: mostly('Curator', 'DubboInterface', 'curator'),
    },
    { requiredKeys: ['servers'] },
  ),
  etcd: fc.record(
    {
      servers: fc.constant(['http://etcd:2379']),
      format: mostly('Kratos', 'JSON', 'HostPort', 'Text'),
      prefix: mostly('/services', '', 'a b', 'x'.repeat(257)),
      passwordSecretRef: fc.constant({ name: 'etcd' }),
      usernameSecretRef: fc.constant({ name: 'etcd' }),
    },
    { requiredKeys: ['servers', 'format'] },
  ),
};
const registryFields = {
  vanishedHold: fc.constantFrom('0s', '90s', '61m'),
  tenantPolicy: fc.record({ services: fc.array(pattern, { maxLength: 2 }) }, { requiredKeys: [] }),
  addresses: fc.record(
    {
      allow: fc.array(fc.constantFrom('10.0.0.0/8', '::/0', '10.0.0.0/33'), { maxLength: 2 }),
      names: fc.constantFrom('Deny', 'Allow'),
    },
    optional,
  ),
};
const ofOneType = <Name extends keyof typeof sections>(type: string, section: Name) =>
  fc.record(
    { ...registryFields, type: fc.constant(type), [section]: sections[section] },
    { requiredKeys: ['type', section] as never },
  );
const someRegistry = fc.oneof(
  ofOneType('Consul', 'consul'),
  ofOneType('Nacos', 'nacos'),
  ofOneType('Eureka', 'eureka'),
  ofOneType('Etcd', 'etcd'),
  ofOneType('ZooKeeper', 'zookeeper'),
  fc.record(
    {
      ...registryFields,
      ...sections,
      type: fc.constantFrom('Consul', 'Nacos', 'Eureka', 'Etcd', 'ZooKeeper'),
    },
    { requiredKeys: ['type'] },
  ),
);

describe('the API server and the operator accept the same', () => {
  it.each([
    ['ServiceRegistry', someRegistry],
    ['GatewayUpstream', fc.record({ backends: fc.array(someBackend, { minLength: 1, maxLength: 2 }) })],
  ] as const)('%s', async (kind, specs) => {
    let taken = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(specs, async (spec) => {
        const { accepted, message, stored } = await create(kind, spec);
        const own = program(kind, accepted ? stored : spec);
        expect({ ok: own.ok, says: own.ok ? message : '' }).toEqual({ ok: accepted, says: '' });
        if (accepted) {
          expect(own).toEqual(program(kind, spec));
          taken += 1;
        } else refused += 1;
      }),
      { numRuns: 400 },
    );
    expect(Math.min(taken, refused)).toBeGreaterThan(10);
  });
});
