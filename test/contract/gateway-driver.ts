import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { withNodesOf } from '../../src/decide/diff.ts';
import type { GatewayDriver } from '../../src/gateways/driver.ts';
import { GatewayRejectedError, UpstreamInUseError } from '../../src/model/errors.ts';
import type { KeyPair } from '../../src/model/key-pair.ts';
import type { OwnerMark } from '../../src/model/ownership.ts';
import type {
  Failures,
  HashOn,
  HealthCheck,
  HostHeader,
  LoadBalancing,
  ProbeType,
  Scheme,
  Upstream,
  UpstreamNode,
} from '../../src/model/upstream.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { inParallel } from '../support/in-parallel.ts';
import { type PullHarness, testConfirmations } from './gateway-confirmation.ts';

/** A gateway with a driver under test. The suite changes only its own upstreams. */
export interface GatewayHarness extends AsyncDisposable {
  readonly driver: GatewayDriver;
  /** Changes the upstream like another client, without the driver, so that it differs from `upstream`. */
  tamper(upstream: Upstream): Promise<void>;
  /** Present for a pull-type gateway. */
  readonly pull?: PullHarness;
  /** Creates a reference to the upstream, and resolves when the gateway knows it. Disposing removes it. */
  refer(upstream: Upstream): Promise<AsyncDisposable>;
}

/** Limits for a real gateway, which should not receive thousands of writes. */
export interface ConformanceOptions {
  readonly name: string;
  readonly create: () => Promise<GatewayHarness>;
  /** The data planes fetch their configuration. */
  readonly isPull?: boolean;
  /** The format says that nodes keep their `backendMark`. */
  readonly keepsBackendMarks?: boolean;
  /** The number of random upstreams. Default: 200. */
  readonly randomUpstreams?: number;
  /** The maximum number of listed upstreams. Default: 600. */
  readonly mostUpstreams?: number;
}

const SCHEMES: readonly Scheme[] = ['HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS', 'UDP'];
const LOAD_BALANCINGS: readonly LoadBalancing[] = [
  { type: 'RoundRobin' },
  { type: 'EWMA' },
  { type: 'LeastConn' },
  { type: 'ConsistentHash', hashOn: 'Vars', key: 'remote_addr' },
  { type: 'ConsistentHash', hashOn: 'Vars', key: 'arg_user' },
  { type: 'ConsistentHash', hashOn: 'Header', key: 'X-User' },
  { type: 'ConsistentHash', hashOn: 'Cookie', key: 'session' },
  { type: 'ConsistentHash', hashOn: 'Consumer' },
  { type: 'ConsistentHash', hashOn: 'VarsCombinations', key: '$remote_addr$request_uri' },
];
const HOSTS_IN_ORDER = [
  '10.0.0.1',
  '10.0.0.10',
  '10.0.0.9',
  '2001:db8::1',
  'a.example',
  'fd00::a:1',
] as const;

const nodes: fc.Arbitrary<readonly UpstreamNode[]> = fc
  .uniqueArray(
    fc.record({
      host: fc.constantFrom(...HOSTS_IN_ORDER),
      port: fc.oneof(fc.constantFrom(1, 80, 443, 65_535), fc.integer({ min: 1, max: 65_535 })),
      weight: fc.nat(10_000),
      priority: fc.integer({ min: 0, max: 3 }),
    }),
    { selector: ({ host, port }) => `${host} ${port}`, maxLength: 12 },
  )
  .map((list) =>
    list.toSorted(
      (a, b) => HOSTS_IN_ORDER.indexOf(a.host) - HOSTS_IN_ORDER.indexOf(b.host) || a.port - b.port,
    ),
  );

const timeoutMs = fc.oneof(
  fc.constantFrom(1, 1000, 6000, 86_400_000),
  fc.integer({ min: 1, max: 86_400_000 }),
);

const count = fc.integer({ min: 1, max: 254 });
const statuses = fc.constantFrom([200], [200, 302], [500, 429]);
const probeType = fc.constantFrom<ProbeType>('HTTP', 'HTTPS', 'TCP');

const healthCheck: fc.Arbitrary<HealthCheck> = fc.record(
  {
    active: fc.record(
      {
        type: probeType,
        timeoutMs,
        concurrency: count,
        method: fc.constantFrom('GET', 'POST'),
        path: fc.constantFrom('/', '/healthz?deep=1'),
        body: fc.constantFrom('', 'ping'),
        host: fc.constant('a.example'),
        port: fc.constantFrom(1, 65_535),
        headers: fc.constantFrom(['User-Agent: probe'], ['A: b', 'C: d']),
        verifyCertificate: fc.boolean(),
        healthy: fc.record({ intervalSeconds: count, statuses, successes: count }),
        unhealthy: fc.record({
          intervalSeconds: count,
          statuses,
          httpFailures: count,
          tcpFailures: count,
          timeouts: count,
        }),
      },
      {
        requiredKeys: [
          'type',
          'timeoutMs',
          'concurrency',
          'method',
          'path',
          'body',
          'verifyCertificate',
          'healthy',
          'unhealthy',
        ],
      },
    ),
    passive: fc.record({
      type: probeType,
      healthy: fc.record({ statuses, successes: fc.nat(254) }),
      unhealthy: fc.record({
        statuses,
        httpFailures: fc.nat(254),
        tcpFailures: fc.nat(254),
        timeouts: fc.nat(254),
      }),
    }),
  },
  { requiredKeys: ['active'] },
);

const KEY_PAIRS: readonly KeyPair[] = ['one', 'other'].map((commonName) => {
  const { certPem: certificate, keyPem: key } = createCertificateAuthority().issue({
    commonName,
    hosts: [`${commonName}.example`],
    usage: 'client',
  });
  return { certificate, key };
});

/** An arbitrary upstream that the newest version of a gateway accepts. */
export const upstreamWith = (id: string): fc.Arbitrary<Upstream> =>
  fc.record(
    {
      id: fc.constant(id),
      labels: fc.dictionary(
        fc.stringMatching(/^[a-z][a-z0-9./_-]{0,40}$/),
        fc.oneof(
          fc.stringMatching(/^[a-zA-Z0-9._-]{1,63}$/),
          fc.constantFrom('1', 'true', 'null', 'é', '"\\'),
        ),
        { maxKeys: 6 },
      ),
      nodes,
      scheme: fc.constantFrom(...SCHEMES),
      loadBalancing: fc.constantFrom(...LOAD_BALANCINGS),
      timeouts: fc.record({ connectMs: timeoutMs, sendMs: timeoutMs, readMs: timeoutMs }),
      retries: fc.nat(10),
      retryTimeoutMs: fc.constantFrom(0, 1, 1500, 60_000),
      hostHeader: fc.constantFrom<HostHeader>(
        { type: 'Node' },
        { type: 'Rewrite', value: 'a.example' },
        { type: 'Rewrite', value: 'a.example:8080' },
      ),
      keepalive: fc.record({ size: fc.constantFrom(1, 320), idleTimeoutMs: timeoutMs, requests: count }),
      healthCheck,
      tls: fc.record(
        { verify: fc.boolean(), clientCertificate: fc.constantFrom(...KEY_PAIRS) },
        { requiredKeys: ['verify'] },
      ),
      description: fc.constantFrom('', 'ours', 'é'.repeat(256)),
    },
    { requiredKeys: ['id', 'labels', 'nodes', 'scheme', 'loadBalancing'] },
  );

/** The contract of every driver in `src/gateways/driver.ts`, on an exclusive or shared gateway. */
export function testGatewayDriver(options: ConformanceOptions): void {
  const { randomUpstreams = 200, mostUpstreams = 600 } = options;
  const prefix = `conformance-${Math.random().toString(36).slice(2, 10)}`;

  describe(`${options.name} as a gateway driver`, () => {
    const unused = new AbortController().signal;
    const made = new Set<string>();
    let harness: GatewayHarness;
    let driver: GatewayDriver;

    beforeAll(async () => {
      harness = await options.create();
      driver = harness.driver;
    });

    afterEach(async () => {
      await inParallel([...made], (id) => driver.delete(id, { references: 'ignore' }, unused));
      made.clear();
    });

    afterAll(async () => {
      driver.close();
      await harness[Symbol.asyncDispose]();
    });

    function upstream(name: string, fields: Partial<Omit<Upstream, 'id'>> = {}): Upstream {
      const id = `${prefix}.${name}`;
      made.add(id);
      return {
        id,
        labels: { suite: prefix },
        nodes: [node('10.0.0.1')],
        scheme: 'HTTP',
        loadBalancing: { type: 'RoundRobin' },
        ...fields,
      };
    }

    /** The suite's upstreams in the gateway. */
    async function listOurs() {
      const { upstreams } = await driver.list(unused);
      return [...upstreams.values()].filter(({ id }) => id.startsWith(`${prefix}.`));
    }

    /** Writes an upstream, and checks every way to read it. */
    async function expectKept(desired: Upstream) {
      const put = await driver.put(desired, unused);
      const { id, owner, labels, nodes: desiredNodes } = desired;
      expect(put).toMatchObject({ id, canonical: driver.canonical(desired) });
      expect(put.owner).toEqual(owner);
      expect(put.labels).toEqual(labels);
      expect(put.nodes).toEqual(desiredNodes);
      expect(await driver.get(id, unused)).toEqual(put);
      expect((await driver.list(unused)).upstreams.get(id)).toEqual(put);
      return put;
    }

    it('answers a check', async () => {
      const info = await driver.check(unused);
      expect((await driver.list(unused)).info).toEqual(info);
    });

    it('returns undefined for an upstream that was never written', async () => {
      const { id } = upstream('never');
      expect(await driver.get(id, unused)).toBeUndefined();
      expect((await driver.list(unused)).upstreams.has(id)).toBe(false);
    });

    it('creates an upstream, accepts the same write again, and replaces all of it with the next', async () => {
      const first = upstream('life', {
        timeouts: { connectMs: 1500, sendMs: 6000, readMs: 6000 },
        retries: 2,
        labels: { suite: prefix, old: 'yes' },
      });
      const created = await expectKept(first);
      expect(await expectKept(first)).toEqual(created);
      const second = upstream('life', { nodes: [node('10.0.0.2', { weight: 7 })] });
      expect(driver.canonical(second)).not.toBe(driver.canonical(first));
      await expectKept(second);
      expect(await listOurs()).toHaveLength(1);
    });

    it('keeps the creation time across updates', async () => {
      const { createTime } = await driver.put(upstream('age'), unused);
      expect(createTime).toBeGreaterThan(1_700_000_000);
      const updated = await driver.put(upstream('age', { nodes: [] }), unused);
      expect(updated.createTime).toBe(createTime);
    });

    it('reads back any desired upstream', async () => {
      const { id } = upstream('random');
      await fc.assert(
        fc.asyncProperty(upstreamWith(id), async (desired) => {
          const put = await driver.put(desired, unused);
          expect(put.canonical).toBe(driver.canonical(desired));
          expect(put.labels).toEqual(desired.labels);
          expect(put.nodes).toEqual(desired.nodes);
          const got = await driver.get(id, unused);
          expect(got?.canonical).toBe(put.canonical);
          expect((await driver.list(unused)).upstreams.get(id)).toEqual(got);
        }),
        { numRuns: randomUpstreams },
      );
    });

    it('distinguishes any two upstreams that a gateway distinguishes', async () => {
      const { id } = upstream('apart');
      await fc.assert(
        fc.asyncProperty(upstreamWith(id), upstreamWith(id), async (one, other) => {
          expect(driver.canonical(one) === driver.canonical(other)).toBe(
            canonicalByHand(one) === canonicalByHand(other),
          );
        }),
      );
    });

    it.each(LOAD_BALANCINGS)('keeps load balancing %o', async (loadBalancing) => {
      await expectKept(upstream('balanced', { loadBalancing }));
    });

    it.each(SCHEMES)('keeps scheme %s', async (scheme) => {
      await expectKept(upstream('scheme', { scheme }));
    });

    it('keeps an upstream without nodes, and empties one that had some', async () => {
      await expectKept(upstream('empty', { nodes: [] }));
      await expectKept(upstream('empty', { nodes: [node('10.0.0.1'), node('10.0.0.2')] }));
      await expectKept(upstream('empty', { nodes: [] }));
    });

    it('keeps IPv6 nodes without brackets, weights of 0 and priorities', async () => {
      await expectKept(
        upstream('nodes', {
          nodes: [
            node('10.0.0.1', { port: 65_535, weight: 0 }),
            node('2001:db8::1', { port: 1, priority: 2 }),
            node('fd00::1', { weight: 10_000 }),
            node('name.example'),
          ],
        }),
      );
    });

    const itKeepsMarks = options.keepsBackendMarks === true ? it : undefined;
    itKeepsMarks?.('keeps the backend mark of each node', async () => {
      const marks = ['0a1b2c3d', '0a1b2c3d:1,4e5f6a7b:2', undefined];
      const marked = marks.map((backendMark, index) =>
        node(`10.0.0.${index + 1}`, backendMark === undefined ? {} : { backendMark }),
      );
      const owner = { ...mark('web'), backends: 'c0ffee00' };
      const desired = upstream('marks', { owner, nodes: marked });
      expect(driver.canonical({ ...desired, owner: mark('web') })).not.toBe(driver.canonical(desired));
      const { canonical } = await expectKept(desired);
      for (const change of [{}, { backendMark: 'ffffffff' }]) {
        const nodes = [node('10.0.0.1', change), ...marked.slice(1)];
        expect(driver.canonical({ ...desired, nodes })).not.toBe(canonical);
      }
      const answered = await driver.putNodes(desired.id, marked.slice(1), unused);
      expect(answered?.nodes).toEqual(marked.slice(1));
    });

    it('keeps labels unchanged', async () => {
      const labels = {
        'example.com/name': 'a'.repeat(64),
        'a.b/c-d_e': '0',
        UPPER: 'Case.Kept',
        constructor: 'x',
        '9': 'number',
      };
      await expectKept(upstream('labels', { labels }));
    });

    it('keeps 2,000 nodes', async () => {
      const many = Array.from({ length: 2000 }, (_, index) => node('10.1.2.3', { port: 1000 + index }));
      const { canonical } = await expectKept(upstream('wide', { nodes: many }));
      expect(canonical).toBe(driver.canonical(upstream('wide', { nodes: many.toReversed() })));
    });

    it('shows changes of another client until the next write', async () => {
      const desired = upstream('drift');
      const { canonical, createTime } = await driver.put(desired, unused);
      await harness.tamper(desired);
      const drifted = await driver.get(desired.id, unused);
      expect(drifted?.canonical).not.toBe(canonical);
      expect((await driver.list(unused)).upstreams.get(desired.id)).toEqual(drifted);
      expect(await expectKept(desired)).toMatchObject({ canonical, createTime });
    });

    it('replaces only the nodes, also after a change of another client', async () => {
      const desired = upstream('shared', {
        retries: 2,
        labels: { suite: prefix, owner: 'them' },
        nodes: [node('10.0.0.1'), node('10.0.0.2')],
      });
      const { createTime } = await driver.put(desired, unused);
      await harness.tamper(desired);
      const tampered = await driver.get(desired.id, unused);
      for (const nodes of [
        [node('10.0.0.3', { weight: 7 }), node('fd00::1', { priority: 1 })],
        [],
        [node('a.example')],
      ]) {
        const answered = await driver.putNodes(desired.id, nodes, unused);
        expect(answered).toMatchObject({ labels: desired.labels, createTime, nodes });
        const wanted = driver.canonical({ ...desired, nodes });
        expect(answered?.canonical).toBe(withNodesOf(wanted, tampered?.canonical ?? ''));
        expect(await driver.get(desired.id, unused)).toEqual(answered);
      }
    });

    it('creates no upstream for a write of nodes', async () => {
      const { id } = upstream('missing');
      expect(await driver.putNodes(id, [node('10.0.0.1')], unused)).toBeUndefined();
      expect(await driver.get(id, unused)).toBeUndefined();
    });

    it('writes only the ownership mark of an upstream', async () => {
      const desired = upstream('marked', {
        owner: mark('web'),
        nodes: [node('10.0.0.1'), node('10.0.0.2')],
        retries: 2,
      });
      const { createTime, nodes, labels } = await driver.put(desired, unused);
      const owner = mark('api', true);
      const answered = await driver.mark(desired.id, owner, unused);
      expect(answered).toMatchObject({ owner, labels, nodes, createTime });
      expect(answered?.canonical).toBe(driver.canonical({ ...desired, owner }));
      expect(await driver.get(desired.id, unused)).toEqual(answered);
    });

    it('creates no upstream for a write of the mark', async () => {
      const { id } = upstream('missing');
      expect(await driver.mark(id, mark('web'), unused)).toBeUndefined();
      expect(await driver.get(id, unused)).toBeUndefined();
    });

    it('keeps the ownership mark unchanged, and returns none if none was written', async () => {
      await expectKept(upstream('owned', { owner: mark('n'.repeat(64)) }));
      await expectKept(upstream('owned', { owner: mark('é.Web_1', true) }));
      await expectKept(upstream('owned'));
    });

    it('checks that the key may write, without writing', async () => {
      const before = [...(await driver.list(unused)).upstreams];
      await driver.checkWrite(unused);
      expect([...(await driver.list(unused)).upstreams]).toEqual(before);
    });

    it('deletes an upstream, and treats a missing one as deleted', async () => {
      const { id } = await driver.put(upstream('gone'), unused);
      for (const references of ['respect', 'respect', 'ignore'] as const) {
        await driver.delete(id, { references }, unused);
        expect(await driver.get(id, unused)).toBeUndefined();
        expect(await listOurs()).toEqual([]);
      }
    });

    it('keeps an upstream while it is referred to, names the reference, and deletes it afterwards', async () => {
      const desired = upstream('used');
      await driver.put(desired, unused);
      {
        await using _referrer = await harness.refer(desired);
        const deletion = driver.delete(desired.id, { references: 'respect' }, unused);
        await expect(deletion).rejects.toThrow(UpstreamInUseError);
        await expect(deletion).rejects.toThrow(/\[.+\] is still using it now/);
        expect(await driver.get(desired.id, unused)).toBeDefined();
      }
      // A gateway may notice the removal of the reference a little later.
      await eventually(() => driver.delete(desired.id, { references: 'respect' }, unused));
      expect(await driver.get(desired.id, unused)).toBeUndefined();
    });

    it('deletes an upstream that is referred to if references are ignored', async () => {
      const desired = upstream('forced');
      await driver.put(desired, unused);
      await using _referrer = await harness.refer(desired);
      await driver.delete(desired.id, { references: 'ignore' }, unused);
      expect(await driver.get(desired.id, unused)).toBeUndefined();
      await driver.delete(desired.id, { references: 'respect' }, unused);
    });

    it.each([0, 1, 25, mostUpstreams])('lists %i upstreams, each as a get shows it', async (count) => {
      const desired = Array.from({ length: count }, (_, index) =>
        upstream(`list-${index}`, { nodes: [node('10.0.0.1', { port: 1 + index })] }),
      );
      await inParallel(desired, (each) => driver.put(each, unused));
      const listed = await listOurs();
      const canonicals = new Map(listed.map(({ id, canonical }) => [id, canonical]));
      expect(canonicals).toEqual(new Map(desired.map((each) => [each.id, driver.canonical(each)])));
      const last = desired.at(-1);
      if (last !== undefined) {
        expect(listed.find(({ id }) => id === last.id)).toEqual(await driver.get(last.id, unused));
      }
    });

    it('does not mix concurrent writes', async () => {
      const desired = Array.from({ length: 40 }, (_, index) =>
        upstream(`side-${index}`, { labels: { suite: prefix, number: String(index) } }),
      );
      const written = await Promise.all(desired.map((each) => driver.put(each, unused)));
      expect(written.map(({ id, canonical }) => [id, canonical])).toEqual(
        desired.map((each) => [each.id, driver.canonical(each)]),
      );
      expect(await listOurs()).toHaveLength(40);
    });

    describe.each<[string, (desired: Upstream, signal: AbortSignal) => Promise<unknown>]>([
      ['get', ({ id }, signal) => driver.get(id, signal)],
      ['list', (_, signal) => driver.list(signal)],
      ['put', (desired, signal) => driver.put(desired, signal)],
      ['putNodes', ({ id, nodes }, signal) => driver.putNodes(id, nodes, signal)],
      ['mark', ({ id }, signal) => driver.mark(id, mark('web'), signal)],
      ['checkWrite', (_, signal) => driver.checkWrite(signal)],
      ['delete', ({ id }, signal) => driver.delete(id, { references: 'respect' }, signal)],
      ['check', (_, signal) => driver.check(signal)],
    ])('%s', (name, call) => {
      it('rejects with the reason of its signal, before and during the call', async () => {
        const desired = upstream(`aborted-${name}`);
        const before = new Error('aborted before');
        await expect(call(desired, AbortSignal.abort(before))).rejects.toBe(before);
        expect(await driver.get(desired.id, unused)).toBeUndefined();

        const after = new Error('aborted after');
        const controller = new AbortController();
        const pending = call(desired, controller.signal);
        controller.abort(after);
        await expect(pending).rejects.toBe(after);
      });
    });

    it.each(['', '.', '..', 'a/b', 'a%2Fb', 'a b', 'a?b', 'a#b', 'é', 'a\n', '../routes/r', 'x'.repeat(65)])(
      'rejects %j as an id',
      async (id) => {
        const desired = { ...upstream('valid'), id };
        await expect(driver.get(id, unused)).rejects.toThrow(GatewayRejectedError);
        await expect(driver.put(desired, unused)).rejects.toThrow(GatewayRejectedError);
        await expect(driver.putNodes(id, [], unused)).rejects.toThrow(GatewayRejectedError);
        await expect(driver.mark(id, mark('web'), unused)).rejects.toThrow(GatewayRejectedError);
        for (const references of ['respect', 'ignore'] as const) {
          await expect(driver.delete(id, { references }, unused)).rejects.toThrow(GatewayRejectedError);
        }
      },
    );

    if (options.isPull === true) {
      testConfirmations(() => {
        if (harness.pull === undefined) throw new Error('a pull-type gateway needs harness.pull');
        const withHosts = (name: string, hosts: readonly string[]) =>
          upstream(name, { nodes: hosts.map((host) => node(host)) });
        return { driver, pull: harness.pull, upstream: withHosts };
      });
    } else {
      it('confirms a write with its response', () => {
        expect(driver.confirmations).toBeUndefined();
      });
    }

    it('accepts every valid character and length of an id', async () => {
      const shortest = `${prefix}.`;
      const longest = `${prefix}.Az09-_.`.padEnd(64, 'x');
      for (const id of [shortest, longest]) {
        made.add(id);
        await expectKept({ ...upstream('id'), id });
      }
      expect((await listOurs()).map(({ id }) => id).toSorted()).toEqual([shortest, longest].toSorted());
    });
  });
}

/** The ownership mark for an object of this name. */
function mark(name: string, retain = false): OwnerMark {
  return { operator: 'suite', cluster: 'c', connection: 'default', namespace: 'shop', name, retain };
}

function node(host: string, fields: Partial<Omit<UpstreamNode, 'host'>> = {}): UpstreamNode {
  return { host, port: 80, weight: 1, priority: 0, ...fields };
}

/** A form for the comparison of two upstreams, independent of a driver's wire format. */
function canonicalByHand({ labels, nodes, loadBalancing, ...rest }: Upstream): string {
  const hash: readonly [HashOn, string | undefined] | undefined =
    loadBalancing.type === 'ConsistentHash' ? [loadBalancing.hashOn, loadBalancing.key] : undefined;
  return JSON.stringify([
    Object.keys(labels)
      .toSorted()
      .map((name) => [name, labels[name]]),
    nodes.map(({ host, port, weight, priority }) => [host, port, weight, priority]),
    [loadBalancing.type, hash],
    rest.scheme,
    rest.timeouts && [rest.timeouts.connectMs, rest.timeouts.sendMs, rest.timeouts.readMs],
    [rest.retries, rest.retryTimeoutMs],
    rest.hostHeader,
    rest.keepalive && [rest.keepalive.size, rest.keepalive.idleTimeoutMs, rest.keepalive.requests],
    rest.healthCheck && healthCheckByHand(rest.healthCheck),
    rest.tls && [rest.tls.verify, rest.tls.clientCertificate?.certificate],
    rest.description,
  ]);
}

function healthCheckByHand({ active, passive }: HealthCheck): unknown {
  const failures = ({ statuses: seen, httpFailures, tcpFailures, timeouts }: Failures) => [
    ...[seen, httpFailures, tcpFailures, timeouts],
  ];
  return [
    [active.type, active.timeoutMs, active.concurrency, active.host, active.port],
    [active.method, active.path, active.body, active.headers, active.verifyCertificate],
    [active.healthy.intervalSeconds, active.healthy.statuses, active.healthy.successes],
    [active.unhealthy.intervalSeconds, ...failures(active.unhealthy)],
    passive && [passive.type, passive.healthy.statuses, passive.healthy.successes],
    passive && failures(passive.unhealthy),
  ];
}
