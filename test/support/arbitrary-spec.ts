import fc from 'fast-check';
import type { Discovered } from '../../src/model/discovered.ts';
import type { Endpoint } from '../../src/model/endpoint.ts';

/** Generators for specs of GatewayUpstreams with all fields. */

const optional = { requiredKeys: [] };
const SEPARATORS = '-._';
const LOWER = 'abcxyz0189';
const LETTERS = `${LOWER}ABCXYZ`;
/** Texts that every free-text field must accept. */
const ANY = `${LETTERS} "\\\n\t\u0000<%\u00e9\u4e16\u{1f600}`;
const VISIBLE = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index)).join('');

/** Mostly short, sometimes of the maximum length. */
const textOf = (characters: string, minLength: number, maxLength: number) => {
  const unit = fc.constantFrom(...characters);
  return fc.oneof(
    { weight: 20, arbitrary: fc.string({ unit, minLength, maxLength }) },
    { weight: 1, arbitrary: unit.map((character) => character.repeat(maxLength)) },
  );
};

/** At most `maxLength` characters of `inner`, with `outer` at both ends. */
const textWithin = (outer: string, inner: string, maxLength: number) =>
  fc
    .tuple(textOf(outer, 1, 1), textOf(inner, 0, maxLength - 2), textOf(outer, 1, 1))
    .map(([first, middle, last]) => (middle === '' ? first : `${first}${middle}${last}`));

const label = textWithin(LOWER, `${LOWER}-`, 20);
const subdomain = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));
const portNumber = fc.oneof(fc.constantFrom(1, 80, 65_535), fc.integer({ min: 1, max: 65_535 }));
const portName = fc.constantFrom('http', 'h2c', 'a', 'a-name-of-15-ch');

/** A duration of about `ms` milliseconds, in an arbitrary notation. */
const spelled = (ms: number) =>
  fc.constantFrom(
    `${ms}ms`,
    `${ms / 1000}s`,
    `${Math.floor(ms / 60_000)}m${(ms % 60_000) / 1000}s`,
    `${Math.floor(ms / 3_600_000)}h${ms % 3_600_000}ms`,
  );
const duration = (minMs: number, maxMs: number) =>
  fc
    .oneof(fc.constantFrom(minMs, maxMs), fc.integer({ min: minMs, max: maxMs }))
    .chain(spelled)
    .filter((text) => text.length <= 20);
const DAY_MS = 86_400_000;
const wholeSeconds = fc.oneof(
  fc.integer({ min: 1, max: 86_400 }).map((seconds) => `${seconds}s`),
  fc.constantFrom('1m30s', '24h', '23h59m60s'),
);

const ipv4 = fc.ipV4();
const ipv6 = fc.oneof(fc.ipV6(), fc.constantFrom('::', '::1', 'fd00::1', '::ffff:192.0.2.1', 'FD00::A'));
const dnsName = fc
  .tuple(
    textWithin(`${LETTERS}_`, `${LETTERS}_${SEPARATORS}`, 40),
    fc.constantFrom('.example', '.Example.com', '.corp.example'),
  )
  .map(([name, domain]) => `${name}${domain}`);

const staticAddress = fc.record(
  {
    host: fc.oneof(ipv4, ipv6, dnsName),
    port: portNumber,
    weight: fc.integer({ min: 0, max: 100 }),
    priority: fc.integer({ min: -100, max: 100 }),
  },
  { requiredKeys: ['host', 'port'] },
);

const nodeSelector = fc.record(
  {
    matchLabels: fc.dictionary(label, label, { maxKeys: 8 }),
    matchExpressions: fc.array(
      fc.oneof(
        fc.record({
          key: label,
          operator: fc.constantFrom('In', 'NotIn'),
          values: fc.array(label, { minLength: 1, maxLength: 3 }),
        }),
        fc.record({ key: label, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
      ),
      { maxLength: 4 },
    ),
  },
  optional,
);
const addressing = fc.oneof(
  fc.record({ mode: fc.constantFrom('Pod', 'LoadBalancer', 'ClusterIP') }),
  fc.record(
    {
      mode: fc.constant('Node'),
      nodeAddressType: fc.constantFrom('InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS', 'ExternalDNS'),
      nodeSelector,
    },
    { requiredKeys: ['mode'] },
  ),
  fc.record(
    { mode: fc.constant('DNS'), dnsSuffix: fc.oneof(fc.constantFrom('', 'svc.cluster.local'), subdomain) },
    { requiredKeys: ['mode'] },
  ),
);

const weight = fc.oneof(fc.constantFrom(0, 1, 100), fc.integer({ min: 0, max: 100 }));
const backend = fc.oneof(
  fc.record(
    {
      serviceRef: fc.record(
        {
          name: label.filter((name) => /^[a-z]/.test(name)),
          namespace: label,
          port: fc.oneof(portNumber, portName),
        },
        { requiredKeys: ['name', 'port'] },
      ),
      weight,
      addressing,
    },
    { requiredKeys: ['serviceRef'] },
  ),
  fc.record(
    {
      serviceName: fc
        .tuple(label, label, fc.oneof(portName, portNumber.map(String)))
        .map(([namespace, name, port]) => `${namespace}/${name}:${port}`),
      weight,
      addressing,
    },
    { requiredKeys: ['serviceName'] },
  ),
  fc.record(
    { addresses: fc.array(staticAddress, { minLength: 1, maxLength: 6 }), weight },
    { requiredKeys: ['addresses'] },
  ),
);

const loadBalancing = fc.oneof(
  fc.record({ type: fc.constantFrom('RoundRobin', 'EWMA', 'LeastConn') }, optional),
  fc.record(
    {
      type: fc.constant('ConsistentHash'),
      hashOn: fc.constant('Vars'),
      key: fc.oneof(
        fc.constantFrom('uri', 'server_name', 'server_addr', 'request_uri', 'remote_port', 'remote_addr'),
        fc.constantFrom('query_string', 'host', 'hostname', 'mqtt_client_id'),
        textOf(`${LETTERS}_-`, 1, 30).map((name) => `arg_${name}`),
      ),
    },
    { requiredKeys: ['type', 'key'] },
  ),
  fc.record({
    type: fc.constant('ConsistentHash'),
    hashOn: fc.constantFrom('Header', 'Cookie'),
    key: textOf(`${LETTERS}_-`, 1, 256),
  }),
  fc.record({
    type: fc.constant('ConsistentHash'),
    hashOn: fc.constantFrom('VarsCombinations', 'Consumer'),
    key: textOf(VISIBLE, 1, 256),
  }),
  fc.constant({ type: 'ConsistentHash', hashOn: 'Consumer' }),
);

const headerHost = textOf(`${LETTERS}._:[]-`, 1, 253);
const hostHeader = fc.oneof(
  fc.record({ type: fc.constantFrom('Pass', 'Node') }, optional),
  fc.record({ type: fc.constant('Rewrite'), value: headerHost }),
);

const statuses = fc.uniqueArray(fc.integer({ min: 200, max: 599 }), { minLength: 1, maxLength: 64 });
const inARow = (min: number) => fc.integer({ min, max: 254 });
const probeType = fc.constantFrom('HTTP', 'HTTPS', 'TCP');
const failures = (min: number) => ({
  statuses,
  httpFailures: inARow(min),
  tcpFailures: inARow(min),
  timeouts: inARow(min),
});
const healthCheck = fc.record(
  {
    active: fc.record(
      {
        type: probeType,
        timeout: duration(1, 3_600_000),
        concurrency: fc.integer({ min: 1, max: 1000 }),
        method: fc.constantFrom(
          ...['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'CONNECT', 'TRACE', 'PURGE'],
        ),
        path: textOf(VISIBLE, 0, 100).map((rest) => `/${rest}`),
        host: headerHost,
        port: portNumber,
        headers: fc.array(
          fc
            .tuple(
              textOf(`${LETTERS}!#$%&*+.^_\`|~-`, 1, 20),
              fc.constantFrom(':', ': '),
              textOf(`${VISIBLE} `, 0, 30),
            )
            .map((parts) => parts.join('')),
          { minLength: 1, maxLength: 16 },
        ),
        body: textOf(ANY, 0, 4096),
        verifyCertificate: fc.boolean(),
        healthy: fc.record({ interval: wholeSeconds, statuses, successes: inARow(1) }, optional),
        unhealthy: fc.record({ interval: wholeSeconds, ...failures(1) }, optional),
      },
      optional,
    ),
    passive: fc.record(
      {
        type: probeType,
        healthy: fc.record({ statuses, successes: inARow(0) }, optional),
        unhealthy: fc.record(failures(0), optional),
      },
      optional,
    ),
  },
  { requiredKeys: ['active'] },
);

const labels = fc.dictionary(
  textOf(VISIBLE, 1, 128).filter((key) => !key.startsWith('gatewayupstream.dev/')),
  textOf(VISIBLE, 1, 256),
  { maxKeys: 32 },
);

/** APISIX fields without a field in the spec. */
const overrides = fc.record(
  {
    name: textOf(ANY, 1, 256),
    discovery_args: fc.record({ namespace_id: label, group_name: label }, optional),
  },
  optional,
);

const common = {
  connectionRef: fc.record({ name: subdomain }),
  upstreamId: textWithin(LETTERS, `${LETTERS}${SEPARATORS}`, 64),
  backends: fc.oneof(
    { weight: 20, arbitrary: fc.array(backend, { minLength: 1, maxLength: 3 }) },
    { weight: 1, arbitrary: fc.array(backend, { minLength: 16, maxLength: 16 }) },
  ),
  endpoints: fc.record(
    {
      family: fc.constantFrom('IPv4', 'IPv6'),
      drain: fc.constantFrom('Remove', 'ZeroWeight'),
      zones: fc.uniqueArray(
        fc.record(
          {
            zone: label,
            priority: fc.integer({ min: -100, max: 100 }),
            weight: fc.integer({ min: 0, max: 100 }),
          },
          { requiredKeys: ['zone'] },
        ),
        { minLength: 1, maxLength: 6, selector: ({ zone }) => zone },
      ),
    },
    optional,
  ),
  removalGuard: fc.record(
    {
      maxRemovalPercent: fc.integer({ min: 0, max: 100 }),
      holdFor: duration(0, DAY_MS),
      whenExpired: fc.constantFrom('Clear', 'Hold'),
    },
    optional,
  ),
  syncPolicy: fc.constantFrom('Sync', 'UpsertOnly', 'Observe'),
  deletionTimeout: duration(0, 7 * DAY_MS),
};
const object = {
  ...common,
  manage: fc.constant('Object'),
  loadBalancing,
  scheme: fc.constantFrom('HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS', 'UDP'),
  hostHeader,
  timeouts: fc.record(
    { connect: duration(1, DAY_MS), send: duration(1, DAY_MS), read: duration(1, DAY_MS) },
    optional,
  ),
  retries: fc.integer({ min: 0, max: 1000 }),
  retryTimeout: duration(0, DAY_MS),
  keepalive: fc.record(
    {
      size: fc.integer({ min: 1, max: 100_000 }),
      idleTimeout: duration(0, DAY_MS),
      requests: fc.integer({ min: 1, max: 1_000_000_000 }),
    },
    optional,
  ),
  healthCheck,
  tls: fc.record(
    { clientCertificateSecretRef: fc.record({ name: subdomain }), verify: fc.boolean() },
    optional,
  ),
  labels,
  description: textOf(ANY, 0, 256),
  apisix: fc.record({ overrides }, optional),
  adoptionPolicy: fc.constantFrom('Never', 'IfUnowned'),
  deletionPolicy: fc.constantFrom('Delete', 'Orphan', 'Force'),
};
const nodesAlone = {
  ...common,
  manage: fc.constant('Nodes'),
  adoptionPolicy: fc.constant('Never'),
  deletionPolicy: fc.constantFrom('Delete', 'Orphan'),
};

/** A valid `spec`, which `gatewayUpstreamSpec` must accept. */
export const validSpec: fc.Arbitrary<Readonly<Record<string, unknown>>> = fc.oneof(
  { weight: 20, arbitrary: fc.record(object, { requiredKeys: ['backends'] }) },
  { weight: 1, arbitrary: fc.record(nodesAlone, { requiredKeys: ['backends', 'manage'] }) },
);

/** Values that are invalid for most fields. */
const junk = fc.oneof(
  fc.constantFrom<unknown>('', ' ', '0', 'a b', '\u{1f600}', '../..', null, true, [], {}, [[]], [null], {
    '': 0,
  }),
  fc.constantFrom<unknown>(-1, 0, 0.5, 101, 65_536, 2 ** 31, 2 ** 53, 1e300),
  fc.constantFrom<unknown>('constructor', '__proto__', 'a'.repeat(5000), 'x'.repeat(65)),
  textOf(`${ANY}:/${SEPARATORS}`, 0, 10),
  fc.jsonValue({ maxDepth: 2 }),
);
const fieldName = fc.oneof(
  fc.constantFrom('nodes', 'type', 'name', 'id', 'port', '', '__proto__', 'constructor', 'weight', 'healthy'),
  textOf(LETTERS, 1, 5),
);

type Mutation = (value: unknown) => unknown;
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  junk.map((value) => () => value),
  fc.tuple(fieldName, junk).map(([name, value]) => (before: unknown) => {
    if (Array.isArray(before)) return [...before, value];
    return typeof before === 'object' && before !== null
      ? { ...before, ...Object.fromEntries([[name, value]]) }
      : { [name]: before };
  }),
  fc.constant((before: unknown) => (Array.isArray(before) ? [...before, ...before] : [before])),
  fc.constant(() => undefined),
);

/** A valid spec with some values replaced, added, repeated or removed. It is usually invalid. */
export const brokenSpec: fc.Arbitrary<unknown> = fc
  .tuple(
    validSpec,
    fc.array(fc.tuple(fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), mutation), {
      minLength: 1,
      maxLength: 3,
    }),
  )
  .map(([spec, mutations]) =>
    mutations.reduce<unknown>((value, [route, mutate]) => mutatedAt(value, route, mutate), spec),
  );

/** `value` with a mutation at `route`, where each step selects an existing member. */
function mutatedAt(value: unknown, route: readonly number[], mutate: Mutation): unknown {
  const [step, ...rest] = route;
  if (step === undefined || typeof value !== 'object' || value === null) return mutate(value);
  const members = Object.entries(value);
  const chosen = members[step % Math.max(1, members.length)];
  if (chosen === undefined) return mutate(value);
  const [name, member] = chosen;
  const changed = mutatedAt(member, rest, mutate);
  if (Array.isArray(value)) return value.with(Number(name), changed);
  return Object.fromEntries(
    members.flatMap((entry) =>
      entry[0] !== name ? [entry] : changed === undefined ? [] : [[name, changed]],
    ),
  );
}

const endpoint: fc.Arbitrary<Endpoint> = fc
  .record({
    address: fc.oneof(
      ipv4.map((address) => ({ address, family: 'IPv4' as const })),
      ipv6.map((address) => ({ address: address.toLowerCase(), family: 'IPv6' as const })),
    ),
    port: portNumber,
    ready: fc.boolean(),
    serving: fc.boolean(),
    terminating: fc.boolean(),
  })
  .map(({ address, ...rest }) => ({ ...address, ...rest }));

/** The possible answers for a Service. */
export const discovered: fc.Arbitrary<Discovered> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      state: fc.constant('known' as const),
      endpoints: fc.array(endpoint, { maxLength: 12 }),
      preferredFamily: fc.constantFrom('IPv4' as const, 'IPv6' as const),
      basis: fc.constant(''),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constant<Discovered>({
      state: 'absent',
      reason: 'ServiceNotFound',
      message: 'there is none',
    }),
  },
);
