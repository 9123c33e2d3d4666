import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import {
  installCrds,
  installRbac,
  type Operator,
  type OperatorOptions,
  startOperator,
} from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import { startWitness, type Witness } from '../support/witness.ts';
import { createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const cluster = await sharedControlPlane();

/** No test waits for this duration: a replica that leads within a test got the Lease from its predecessor. */
const NEVER_EXPIRES = { leaseDuration: '1h', renewDeadline: '30m', retryPeriod: '500ms' };
/** Long enough for renewals on a busy machine, and short enough to wait for. */
const EXPIRES = { leaseDuration: '10s', renewDeadline: '7s', retryPeriod: '500ms' };
/** The same settings with a clock that runs ten times as fast: 10 s for the Lease, and 6 s instead of a minute to verify writes. */
const FAST = 10;
const EXPIRES_FAST = { leaseDuration: '100s', renewDeadline: '70s', retryPeriod: '500ms' };
/** A long pause between renewals, so that a loss is not noticed by a renewal. */
const SELDOM_RENEWS = { leaseDuration: '60s', renewDeadline: '40s', retryPeriod: '15s' };

interface LeaseSpec {
  readonly holderIdentity: string;
  readonly leaseDurationSeconds: number;
  readonly leaseTransitions: number;
  readonly renewTime: string;
  readonly acquireTime: string;
}

/** A separate namespace for operators, a gateway behind a recording proxy, and one namespace for workloads. */
class Site {
  readonly gateway: StandIn;
  readonly witness: Witness;
  readonly work: Workload;
  readonly #namespace: string;
  readonly #token: string;

  constructor(gateway: StandIn, witness: Witness, work: Workload, namespace: string, token: string) {
    this.gateway = gateway;
    this.witness = witness;
    this.work = work;
    this.#namespace = namespace;
    this.#token = token;
  }

  get leasePath(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${this.#namespace}/leases/gateway-upstream-operator`;
  }

  async start(
    name: string,
    leaderElection: OperatorOptions['leaderElection'] & object,
    options: OperatorOptions = {},
  ): Promise<Operator> {
    const operator = await startOperator(cluster, this.#namespace, this.#token, {
      name,
      requestTimeout: '2s',
      resyncInterval: '1h',
      leaderElection,
      ...options,
    });
    onTestFinished(() => operator[Symbol.asyncDispose]());
    await operator.ready();
    return operator;
  }

  async lease(): Promise<LeaseSpec> {
    const lease = await this.work.get(this.leasePath);
    return (lease?.['spec'] ?? {}) as LeaseSpec;
  }

  async program(name: string, address: string): Promise<void> {
    await this.work.service(name);
    await this.work.endpoints(name, [address]);
    await this.work.upstream(name, {
      connectionRef: { name: this.work.namespace },
      backends: [{ serviceRef: { name, port: 'http' } }],
    });
    await this.holds(name, address);
  }

  holds(name: string, address: string): Promise<void> {
    return eventually(() => expect(this.hosts(name)).toEqual([address]), { timeoutMs: 60_000 });
  }

  hosts(name: string): readonly string[] | undefined {
    return hostsOf(this.gateway, `${this.work.namespace}.${name}`);
  }

  /** The operators in the order of their writes, without repetitions. */
  reigns(): readonly string[] {
    return this.witness
      .writes()
      .map(({ operator }) => operator)
      .filter((operator, index, all) => operator !== all[index - 1]);
  }
}

async function openSite(): Promise<Site> {
  const namespace = await cluster.newNamespace('operator');
  const token = await installRbac(cluster, namespace);
  const gateway = await startStandIn();
  onTestFinished(() => gateway[Symbol.asyncDispose]());
  const witness = await startWitness(gateway.adminUrl);
  onTestFinished(() => witness[Symbol.asyncDispose]());
  const work = createWorkload(cluster, await cluster.newNamespace('apps'));
  // Operators of other tests see this cluster-scoped connection too, but have no Secret of this name.
  await writeSecret(cluster, namespace, namespace, { 'admin-key': gateway.adminKey });
  await work.connection(work.namespace, { adminUrl: witness.url, secret: namespace });
  return new Site(gateway, witness, work, namespace, token);
}

const leads = (operator: Operator) =>
  eventually(() => expect(operator.output()).toContain('"msg":"became the leader"'), { timeoutMs: 60_000 });
const standsBy = (operator: Operator) =>
  eventually(() => expect(operator.output()).toContain('"msg":"standing by"'));

/** The changes that an operator recorded, in the cluster and in gateways, without its Lease. */
const changes = (operator: Operator) =>
  operator
    .output()
    .split('\n')
    .filter((line) => /^sent (POST|PUT|PATCH|DELETE) /.test(line))
    // A permission review is a POST that changes nothing.
    .filter((line) => !/\/leases|\/selfsubjectaccessreviews/.test(line));

/** The hosts of every write to an upstream, in the order in which they reached the gateway. */
function hostsWritten({ witness }: Site): readonly string[] {
  return witness
    .writes()
    .flatMap(
      ({ body }) => (JSON.parse(body) as { readonly nodes: readonly { readonly host: string }[] }).nodes,
    )
    .map(({ host }) => host);
}

const exited = (operator: Operator, code: number) =>
  eventually(() => expect(operator.process.exitCode).toBe(code), { timeoutMs: 60_000 });

describe('several replicas', () => {
  beforeAll(async () => {
    await installCrds(cluster);
  });

  it('write with one leader while the standby replica has listed all kinds', async () => {
    const site = await openSite();
    const first = await site.start('first', NEVER_EXPIRES);
    await leads(first);
    const second = await site.start('second', NEVER_EXPIRES);
    await standsBy(second);
    for (let n = 1; n <= 5; n += 1) await site.program(`s${n}`, `10.1.0.${n}`);
    await eventually(async () =>
      expect(await site.work.condition('s5', 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' }),
    );
    await site.work.remove(site.work.upstreamPath('s5'));
    await eventually(async () => expect(await site.work.get(site.work.upstreamPath('s5'))).toBeUndefined());

    const lease = await site.lease();
    expect(lease).toMatchObject({ leaseDurationSeconds: 3600, leaseTransitions: 0 });
    expect(first.output()).toContain(`"identity":"${lease.holderIdentity}"`);
    await eventually(async () => expect((await site.lease()).renewTime > lease.renewTime).toBe(true));
    expect((await site.lease()).acquireTime).toBe(lease.acquireTime);

    expect(site.reigns()).toEqual(['first']);
    expect(site.witness.seen.filter(({ operator }) => operator !== 'first')).toEqual([]);
    expect(changes(first).length).toBeGreaterThan(10);
    expect(changes(second)).toEqual([]);
    // The standby replica is ready and names the current holder.
    expect(await second.readyz()).toMatchObject({
      status: 200,
      text: expect.stringContaining(
        `[+]lease ok: standby, waiting for ${lease.holderIdentity} to release Lease `,
      ),
    });
    expect(await first.readyz()).toMatchObject({
      status: 200,
      text: expect.stringContaining('[+]lease ok: leader, holds Lease '),
    });
    expect(second.output()).toContain(`"waitsFor":"${lease.holderIdentity} to release Lease `);
  });

  it('hand over at once on SIGTERM, after the write in progress', async () => {
    const site = await openSite();
    const first = await site.start('first', NEVER_EXPIRES);
    await leads(first);
    await site.program('web', '10.1.0.1');
    const second = await site.start('second', NEVER_EXPIRES);
    await standsBy(second);

    using _slow = site.gateway.addFault({
      fault: { kind: 'delay', delayMs: 1500 },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    await site.work.endpoints('web', ['10.1.0.2']);
    await eventually(() => expect(site.witness.writes()).toHaveLength(2));
    const stopped = first.stop();
    await site.work.endpoints('web', ['10.1.0.3']);
    expect(await stopped).toBe(0);
    await leads(second);
    await site.holds('web', '10.1.0.3');

    // The slow write finished before the newer one.
    await eventually(() =>
      expect(site.gateway.requests.every(({ status }) => status !== undefined)).toBe(true),
    );
    expect(site.hosts('web')).toEqual(['10.1.0.3']);
    expect(hostsWritten(site)).toEqual(['10.1.0.1', '10.1.0.2', '10.1.0.3']);
    expect(site.reigns()).toEqual(['first', 'second']);
    expect(site.witness.writes().flatMap(({ besides }) => besides)).toEqual([]);
    expect(await site.lease()).toMatchObject({ leaseTransitions: 1 });

    expect(await second.stop()).toBe(0);
    expect(await site.lease()).toMatchObject({ leaseDurationSeconds: 1 });
    expect((await site.lease()).holderIdentity ?? '').toBe('');
  });

  it('take over from a killed leader, and verify its last writes', async () => {
    const site = await openSite();
    const first = await site.start('first', EXPIRES_FAST);
    await leads(first);
    await site.program('web', '10.1.0.1');
    const second = await site.start(
      'second',
      { ...EXPIRES_FAST, retryPeriod: '5s' },
      { clockRate: FAST, requestTimeout: '20s', resyncInterval: '10h' },
    );
    await standsBy(second);
    await first.kill();
    await site.work.endpoints('web', ['10.1.0.2']);
    await leads(second);
    await site.holds('web', '10.1.0.2');
    expect(await site.lease()).toMatchObject({ leaseTransitions: 1 });

    // Simulates a delayed last write of the killed leader. No other list happens within the hour.
    // Watches have no common order: the first write may precede the endpoints.
    const late = site.witness.writes().find(({ body }) => body.includes('10.1.0.1'));
    const lists = () =>
      site.witness.seen.filter(
        ({ operator, path }) => operator === 'second' && path === '/apisix/admin/upstreams',
      );
    expect(lists()).toHaveLength(1);
    await fetch(new URL(late?.path ?? '', site.gateway.adminUrl), {
      method: 'PUT',
      headers: { 'X-API-KEY': site.gateway.adminKey, 'Content-Type': 'application/json' },
      body: late?.body ?? '',
    });
    expect(site.hosts('web')).toEqual(['10.1.0.1']);
    await eventually(() => expect(site.hosts('web')).toEqual(['10.1.0.2']));
    expect(lists()).toHaveLength(2);
    expect(site.reigns()).toEqual(['first', 'second']);
  }, 240_000);

  it('start no write after a frozen leader wakes up, which exits', async () => {
    const site = await openSite();
    const names = Array.from({ length: 10 }, (_, n) => `s${n}`);
    const first = await site.start('first', EXPIRES);
    await leads(first);
    for (const name of names) await site.program(name, '10.1.0.1');
    await eventually(async () => {
      for (const name of names)
        expect(await site.work.condition(name, 'Ready')).toMatchObject({ status: 'True' });
    });
    const second = await site.start('second', EXPIRES);
    await standsBy(second);

    const written = site.witness.writes().length;
    first.process.kill('SIGSTOP');
    for (const name of names) await site.work.endpoints(name, ['10.1.0.2']);
    await leads(second);
    for (const name of names) await site.holds(name, '10.1.0.2');
    for (const name of names) await site.work.endpoints(name, []);
    for (const name of names) await eventually(() => expect(site.hosts(name)).toEqual([]));

    const before = changes(first);
    first.process.kill('SIGCONT');
    await exited(first, 1);
    expect(first.output()).toContain('"msg":"lost the lease"');
    expect(
      site.witness
        .writes()
        .slice(written)
        .filter(({ operator }) => operator === 'first'),
    ).toEqual([]);
    expect(changes(first)).toEqual(before);
    expect(site.reigns()).toEqual(['first', 'second']);
    for (const name of names) expect(site.hosts(name)).toEqual([]);
  }, 240_000);

  it.each<[string, (work: Workload) => Promise<void>]>([
    ['a PUT', (work) => work.endpoints('web', ['10.1.0.2'])],
    [
      'a finalizer',
      (work) =>
        work.upstream('new', {
          connectionRef: { name: work.namespace },
          backends: [{ serviceRef: { name: 'web', port: 'http' } }],
        }),
    ],
    [
      'a status',
      (work) =>
        work.upstream('wrong', {
          connectionRef: { name: work.namespace },
          backends: [{ serviceRef: { name: 'nowhere', port: 80 } }],
        }),
    ],
  ])('check the Lease immediately before %s, not by a timer', async (_, provoke) => {
    const site = await openSite();
    const only = await site.start('only', SELDOM_RENEWS);
    await leads(only);
    await site.program('web', '10.1.0.1');
    await eventually(async () =>
      expect(await site.work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
    );
    const { renewTime } = await site.lease();
    await eventually(async () => expect((await site.lease()).renewTime > renewTime).toBe(true));
    const before = changes(only);
    only.process.kill('SIGUSR2');
    await eventually(() => expect(only.output()).toContain('the wall clock was set forward'));
    await provoke(site.work);
    await exited(only, 1);
    expect(only.output()).toContain('"msg":"lost the lease"');
    expect(changes(only)).toEqual(before);
    expect(hostsWritten(site)).toEqual(['10.1.0.1']);
  });

  it('lose no change and never have two writers during a rolling update', async () => {
    const site = await openSite();
    const replicas = [await site.start('a', NEVER_EXPIRES)];
    await leads(replicas[0] as Operator);
    replicas.push(await site.start('b', NEVER_EXPIRES));
    await site.program('web', '10.0.0.0');

    const addresses = ['10.0.0.0'];
    let rolled = false;
    const change = async () => {
      const address = `10.0.${addresses.length >> 8}.${addresses.length & 255}`;
      addresses.push(address);
      await site.work.endpoints('web', [address]);
      await site.holds('web', address);
    };
    const changing = (async () => {
      while (!rolled) await change();
      for (let more = 0; more < 10; more += 1) await change();
    })();
    for (const next of ['c', 'd']) {
      replicas.push(await site.start(next, NEVER_EXPIRES));
      const before = addresses.length;
      await eventually(() => expect(addresses.length).toBeGreaterThan(before + 10));
      expect(await replicas.shift()?.stop()).toBe(0);
    }
    rolled = true;
    await changing;

    expect(hostsWritten(site)).toEqual(addresses);
    expect(site.hosts('web')).toEqual([addresses.at(-1)]);
    expect(site.witness.writes().flatMap(({ besides }) => besides)).toEqual([]);
    const reigns = site.reigns();
    expect(reigns[0]).toBe('a');
    expect(['c', 'd']).toContain(reigns.at(-1));
    expect(new Set(reigns).size).toBe(reigns.length);
  }, 240_000);

  it('recreate a deleted Lease only by the leader', async () => {
    const site = await openSite();
    const first = await site.start('first', EXPIRES);
    await leads(first);
    const second = await site.start('second', EXPIRES);
    await standsBy(second);
    for (let round = 1; round <= 3; round += 1) {
      const before = await site.lease();
      await site.work.remove(site.leasePath);
      await eventually(async () => {
        const { holderIdentity, acquireTime, renewTime } = await site.lease();
        expect({ holderIdentity, acquireTime }).toEqual({
          holderIdentity: before.holderIdentity,
          acquireTime: before.acquireTime,
        });
        expect(renewTime > before.renewTime).toBe(true);
      });
    }
    await site.program('web', '10.1.0.1');
    expect(site.reigns()).toEqual(['first']);
    expect(second.output()).not.toContain('"msg":"became the leader"');
  });

  it('exit when the Lease is given to another holder', async () => {
    const site = await openSite();
    const first = await site.start('first', EXPIRES);
    await leads(first);
    await site.work.patch(site.leasePath, { spec: { holderIdentity: 'somebody-else' } });
    await exited(first, 1);
    expect(first.output()).toContain('its holder is now somebody-else');
    expect((await site.lease()).holderIdentity).toBe('somebody-else');
  });

  it('write without a Lease if leader election is off', async () => {
    const site = await openSite();
    const only = await site.start('only', { enabled: false });
    await site.program('web', '10.1.0.1');
    expect(site.reigns()).toEqual(['only']);
    expect(await site.work.get(site.leasePath)).toBeUndefined();
    expect(await only.stop()).toBe(0);
  });
});
