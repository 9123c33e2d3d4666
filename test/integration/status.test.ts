import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CONDITIONS } from '../../src/api/conditions.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { codeBlock } from '../support/code-block.ts';
import { reasonsOf } from '../support/condition-reasons.ts';
import { auditEvents } from '../support/control-plane/audit.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type KstatusObject, kstatus } from '../support/kstatus.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { type ConditionView, createWorkload, type Workload, writeSecret } from '../support/workload.ts';

/** The maximum number of status writes or Events within a few minutes of constant change. */
const HANDFUL = 10;
const CHANGES = 500;
const OBJECTS = 200;

interface EventView {
  readonly metadata: { readonly name: string };
  readonly reason: string;
  readonly note: string;
  /** Absent in Events of the API server itself. */
  readonly regarding?: { readonly kind: string; readonly name: string };
}

interface StatusView {
  readonly endpoints?: Readonly<Record<string, unknown>>;
  readonly excluded?: readonly { readonly address: string; readonly reason: string }[];
  readonly warnings?: readonly {
    readonly reason: string;
    readonly field: string;
    readonly message: string;
  }[];
  readonly conditions: readonly ConditionView[];
}

describe('status', () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let work: Workload;
  let operator: Operator;
  let operatorNamespace: string;
  let token: string;

  const start = async () => {
    operator = await startOperator(cluster, operatorNamespace, token, { requestTimeout: '2s' });
    await operator.ready();
  };
  const object = async (name: string) => {
    const found = await work.get(work.upstreamPath(name));
    return found as unknown as KstatusObject & { readonly status: StatusView };
  };
  const statusOf = async (name: string) => kstatus(await object(name));
  const waitFor = (condition: string, name: string) =>
    cluster.kubectl(['-n', work.namespace, 'wait', `--for=${condition}`, '--timeout=60s', `gwu/${name}`]);
  const simple = async (name: string, spec: object = {}) => {
    await work.upstream(name, { backends: [{ serviceRef: { name, port: 80 } }], ...spec });
  };
  const statusWrites = async (name: string) =>
    (await auditEvents(cluster, operatorNamespace)).filter(
      ({ verb, objectRef }) =>
        verb === 'patch' &&
        objectRef?.resource === 'gatewayupstreams' &&
        objectRef.subresource === 'status' &&
        objectRef.name === name,
    ).length;
  const eventsIn = async (namespace: string) => {
    const { body } = await cluster.request('GET', `/apis/events.k8s.io/v1/namespaces/${namespace}/events`);
    return (body as { readonly items: readonly EventView[] }).items;
  };
  const eventsOf = async (name: string) =>
    (await eventsIn(work.namespace)).filter(({ regarding }) => regarding?.name === name);

  beforeAll(async () => {
    cluster = await startControlPlane({ audit: true });
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('apps'));
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  it('works with kstatus and kubectl wait at every stage', async () => {
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await simple('web');
    expect(await statusOf('web')).toBe('InProgress');
    expect((await object('web')).status.conditions).toMatchObject([
      { type: 'Ready', status: 'Unknown', reason: 'Pending' },
    ]);

    await gateway.stop();
    await start();
    await waitFor('condition=Reconciling', 'web');
    expect(await statusOf('web')).toBe('InProgress');

    await gateway.start();
    await waitFor('condition=Ready', 'web');
    expect(await statusOf('web')).toBe('Current');
    expect(await work.condition('web', 'Reconciling')).toBeUndefined();

    await operator.stop();
    await work.patch(work.upstreamPath('web'), { spec: { retries: 1 } });
    expect(await statusOf('web')).toBe('InProgress');
    await start();
    await waitFor('condition=Ready', 'web');
    expect(await statusOf('web')).toBe('Current');
    expect(gateway.get('upstreams', `${work.namespace}.web`)).toMatchObject({ retries: 1 });

    await simple('elsewhere', { upstreamId: 'somebody-elses' });
    await waitFor('condition=Stalled', 'elsewhere');
    expect(await statusOf('elsewhere')).toBe('Failed');

    await fetch(`${gateway.adminUrl}/apisix/admin/routes/r1`, {
      method: 'PUT',
      headers: { 'X-API-KEY': gateway.adminKey },
      body: JSON.stringify({ uri: '/r1', upstream_id: `${work.namespace}.web` }),
    });
    await work.remove(work.upstreamPath('web'));
    await waitFor('jsonpath={.status.conditions[?(@.type=="Ready")].reason}=InUse', 'web');
    expect(await statusOf('web')).toBe('Terminating');
    await work.patch(work.upstreamPath('web'), { spec: { deletionPolicy: 'Orphan' } });
    await waitFor('delete', 'web');
  });

  it('lists excluded endpoints with reasons, also in columns', async () => {
    await work.service('shop');
    await work.endpoints('shop', [
      '10.2.0.1',
      { address: '10.2.0.2', ready: false, serving: false },
      { address: '10.2.0.3', ready: false, serving: true, terminating: true },
    ]);
    await simple('shop');
    await waitFor('condition=Ready', 'shop');
    expect((await object('shop')).status).toMatchObject({
      endpoints: { summary: '1/3', ready: 1, draining: 0, excluded: 2, held: 0 },
      excluded: [
        { address: '10.2.0.2:8080', reason: 'NotReady' },
        { address: '10.2.0.3:8080', reason: 'Terminating' },
      ],
    });
    const rows = async (args: readonly string[]) =>
      (await cluster.kubectl(['get', ...args])).split('\n').map((line) => line.trim().split(/\s+/));
    const [head, row] = await rows(['-n', work.namespace, 'gwu', 'shop', '-o', 'wide']);
    expect(head).toEqual(['NAME', 'CONNECTION', 'UPSTREAM-ID', 'ENDPOINTS', 'READY', 'REASON', 'AGE']);
    expect(row?.slice(0, -1)).toEqual(['shop', 'default', `${work.namespace}.shop`, '1/3', 'True', 'Ready']);
    const [gatewayHead, gatewayRow] = await rows(['gwc', 'default', '-o', 'wide']);
    expect(gatewayHead).toEqual(['NAME', 'TYPE', 'VERSION', 'UPSTREAMS', 'READY', 'REASON', 'AGE']);
    expect(gatewayRow?.slice(0, 3)).toEqual(['default', 'APISIX', '3.18.0']);
    expect(gatewayRow?.slice(4, 6)).toEqual(['True', 'Ready']);
  });

  it('warns about approximate weights until they are exact', async () => {
    await work.service('zoned');
    const inZone = (zone: string, count: number, third: number) =>
      Array.from({ length: count }, (_, n) => ({ address: `10.9.${third}.${n}`, zone, ready: true }));
    const many = [...inZone('near', 200, 1), ...inZone('far', 200, 2)];
    await work.endpoints('zoned', many);
    const zones = [
      { zone: 'near', weight: 100 },
      { zone: 'far', weight: 1 },
    ];
    await simple('zoned', { endpoints: { zones } });
    await waitFor('condition=Ready', 'zoned');
    const { status } = await object('zoned');
    expect(status.warnings).toEqual([
      {
        reason: 'WeightsApproximate',
        field: 'spec.endpoints.zones',
        message: expect.stringContaining(
          'The zones of spec.backends[0] receive their weights only approximately',
        ),
      },
    ]);
    expect(await statusOf('zoned')).toBe('Current');
    await work.endpoints('zoned', many.slice(180, 220));
    await eventually(async () => expect((await object('zoned')).status.warnings).toBeUndefined());
  });

  it('names the nodes kept by the removal guard', async () => {
    await work.service('lost');
    await work.endpoints('lost', ['10.2.1.1', '10.2.1.2']);
    await simple('lost');
    await waitFor('condition=Ready', 'lost');
    await work.endpoints('lost', [{ address: '10.2.1.1', ready: false, serving: false }]);
    await waitFor('condition=RemovalHeld', 'lost');
    expect((await object('lost')).status).toMatchObject({
      endpoints: { summary: '0/2', ready: 0, draining: 0, excluded: 0, held: 2 },
      excluded: [
        { address: '10.2.1.1:8080', reason: 'Held' },
        { address: '10.2.1.2:8080', reason: 'Held' },
      ],
    });
  });

  it(`is written a handful of times for ${CHANGES} endpoint changes in about 10 s`, async () => {
    await work.service('busy');
    await work.endpoints('busy', ['10.3.0.1']);
    await simple('busy');
    await waitFor('condition=Ready', 'busy');
    const before = await statusWrites('busy');
    expect(before).toBeGreaterThan(0);
    const address = (n: number) => `10.3.${1 + (n >> 8)}.${n & 255}`;
    // An endless rolling update. Removed endpoints were terminating, so the removal guard does not act.
    for (let n = 1; n <= CHANGES; n += 1) {
      const going = { address: address(n - 1), ready: false, serving: false, terminating: true };
      await work.endpoints('busy', ['10.3.0.1', address(n), going]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await eventually(() => {
      expect(gateway.get('upstreams', `${work.namespace}.busy`)).toMatchObject({
        nodes: [{ host: '10.3.0.1' }, { host: address(CHANGES) }],
      });
    });
    await eventually(async () =>
      expect((await object('busy')).status).toMatchObject({
        endpoints: { summary: '2/3' },
        excluded: [{ address: `${address(CHANGES - 1)}:8080`, reason: 'Terminating' }],
      }),
    );
    expect((await statusWrites('busy')) - before).toBeLessThanOrEqual(HANDFUL);
    expect((await eventsOf('busy')).map(({ reason }) => reason)).toEqual(['Ready']);
  });

  it(`is written a handful of times for ${CHANGES} changes that flap between ready and not`, async () => {
    await work.service('flapping');
    await work.endpoints('flapping', ['10.3.9.1']);
    await simple('flapping', { removalGuard: { maxRemovalPercent: 0 } });
    await waitFor('condition=Ready', 'flapping');
    const before = await statusWrites('flapping');
    for (let n = 1; n <= CHANGES; n += 1) {
      await work.endpoints('flapping', [{ address: '10.3.9.1', ready: n % 2 === 0 }]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await eventually(async () => {
      const { status } = await object('flapping');
      expect(status.endpoints?.['summary']).toBe('1/1');
      expect(status.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', reason: 'Ready' }));
      expect(status.conditions.map(({ type }) => type)).not.toContain('RemovalHeld');
    });
    expect((await statusWrites('flapping')) - before).toBeLessThanOrEqual(2 * HANDFUL);
    expect((await eventsOf('flapping')).length).toBeLessThanOrEqual(HANDFUL);
  });

  it(`reports an outage of a gateway with ${OBJECTS} objects in a handful of Events`, async () => {
    await using failing = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'failing', { 'admin-key': failing.adminKey });
    await work.connection('failing', { adminUrl: failing.adminUrl, secret: 'failing' });
    for (let n = 0; n < OBJECTS; n += 1) {
      await work.upstream(`many-${n}`, {
        connectionRef: { name: 'failing' },
        backends: [{ serviceRef: { name: 'busy', port: 80 } }],
      });
    }
    const count = async (reason: string) => {
      const table = await cluster.kubectl(['-n', work.namespace, 'get', 'gwu', '-o', 'wide', '--no-headers']);
      return table.split('\n').filter((line) => line.startsWith('many-') && line.includes(` ${reason} `))
        .length;
    };
    const all = async (reason: string) => {
      await eventually(async () => expect(await count(reason)).toBe(OBJECTS), {
        intervalMs: 500,
        timeoutMs: 60_000,
      });
    };
    await all('Ready');
    const events = async () =>
      [...(await eventsIn(work.namespace)), ...(await eventsIn('default'))].filter(
        ({ regarding }) => regarding?.name === 'failing' || regarding?.name.startsWith('many-') === true,
      );
    const before = await events();
    await failing.stop();
    await all('GatewayUnavailable');
    await failing.start();
    await all('Ready');
    const key = 'another-key-0123456789';
    failing.setAdminKey(key);
    await work.patch(work.upstreamPath('many-0'), { spec: { retries: 1 } });
    await all('Unauthorized');
    await writeSecret(cluster, operatorNamespace, 'failing', { 'admin-key': key });
    await all('Ready');
    const known = new Set(before.map(({ metadata }) => metadata.name));
    const told = (await events()).filter(({ metadata }) => !known.has(metadata.name));
    expect(told.map(({ reason }) => reason)).toEqual(
      expect.arrayContaining(['GatewayUnavailable', 'Unauthorized']),
    );
    expect(told.length).toBeLessThanOrEqual(HANDFUL);
    expect(new Set(told.map(({ regarding }) => regarding?.kind))).toEqual(new Set(['GatewayConnection']));
  }, 300_000);

  it('shortens and escapes hostile messages of a gateway', async () => {
    const words = `${'\u{1f600}'.repeat(400)}\u202e\u0000${'<b>'.repeat(2000)}`;
    using _refusal = gateway.addFault({
      match: ({ method, path }) => method === 'PUT' && path.endsWith('.hostile'),
      fault: { kind: 'answer', status: 400, body: JSON.stringify({ error_msg: words }) },
    });
    await work.service('hostile');
    await simple('hostile');
    await waitFor('condition=Stalled', 'hostile');
    const message = (await work.condition('hostile', 'Ready'))?.message ?? '';
    expect(message).toContain('\u{1f600}');
    expect(message.length).toBeLessThanOrEqual(1024);
    expect(message).not.toContain('\ufffd');
    const [event] = await eventually(async () => {
      const found = await eventsOf('hostile');
      expect(found.map(({ reason }) => reason)).toEqual(['Rejected']);
      return found;
    });
    expect(Buffer.byteLength(event?.note ?? '')).toBeLessThanOrEqual(1024);
    expect(event?.note).not.toContain('\ufffd');
  });

  it('uses only documented condition reasons', async () => {
    for (const [kind, plural] of [
      ['GatewayUpstream', 'gatewayupstreams'],
      ['GatewayConnection', 'gatewayconnections'],
    ] as const satisfies readonly (readonly [keyof typeof CONDITIONS, string])[]) {
      const { body } = await cluster.request('GET', `/apis/gatewayupstream.dev/v1alpha1/${plural}`);
      const { items } = body as { readonly items: readonly { readonly status: StatusView }[] };
      expect(items.length).toBeGreaterThan(0);
      for (const { status } of items) {
        for (const { type, status: is, reason } of status.conditions) {
          expect(reasonsOf(kind, type, is), `${kind} ${type}=${is}`).toContain(reason);
        }
      }
    }
  });

  it('works with the Argo CD command in the docs', async () => {
    const file = join(cluster.dir, 'health.yaml');
    await writeFile(file, codeBlock('argocd.md', 'yaml'));
    await cluster.request('POST', '/api/v1/namespaces', { metadata: { name: 'argocd' } });
    await cluster.request('POST', '/api/v1/namespaces/argocd/configmaps', {
      metadata: { name: 'argocd-cm' },
    });
    const [kubectl, ...args] = codeBlock('argocd.md', 'sh').trim().replace('health.yaml', file).split(' ');
    expect(kubectl).toBe('kubectl');
    expect(await cluster.kubectl(args)).toContain('configmap/argocd-cm patched');
  });
});
