import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { connectionPath, createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const cluster = await sharedControlPlane();

interface Held {
  readonly nodes: readonly { readonly host: string }[] | Readonly<Record<string, number>>;
  readonly [field: string]: unknown;
}

describe('foreign upstreams', () => {
  const connection = 'taking-over';
  let operator: Operator;
  let gateway: StandIn;
  let shop: Workload;
  /** The content of each upstream after each request, in order. */
  const states = new Map<string, Held[]>();

  const held = (id: string) => gateway.get('upstreams', id) as Held | undefined;
  const hosts = ({ nodes }: Held) =>
    Array.isArray(nodes) ? nodes.map(({ host }: { readonly host: string }) => host) : Object.keys(nodes);
  const admin = async (method: string, path: string, body: object) => {
    const response = await fetch(`${gateway.adminUrl}/apisix/admin/upstreams/${path}`, {
      method,
      headers: { 'X-API-KEY': gateway.adminKey },
      body: JSON.stringify(body),
    });
    expect([200, 201]).toContain(response.status);
  };
  const watch = (id: string) => void states.set(id, []);
  const writesTo = (id: string) =>
    gateway.requests
      .filter(({ method, path }) => method !== 'GET' && path.startsWith(`/apisix/admin/upstreams/${id}`))
      .map(({ method, path }) => `${method} ${path.replace('/apisix/admin/upstreams/', '')}`);
  const upstream = (name: string, upstreamId: string, spec: object) =>
    shop.upstream(name, {
      connectionRef: { name: connection },
      upstreamId,
      backends: [{ serviceRef: { name, port: 80 } }],
      ...spec,
    });
  const programmed = (name: string, status: string, reason: string) =>
    eventually(async () => {
      const condition = await shop.condition(name, 'Programmed');
      expect(condition).toMatchObject({ status, reason });
      return condition?.message;
    });
  const events = async (name: string) =>
    await cluster.kubectl([
      '-n',
      shop.namespace,
      'get',
      'events',
      '--field-selector',
      `involvedObject.name=${name}`,
    ]);
  const service = async (name: string, ...addresses: readonly string[]) => {
    await shop.service(name);
    await shop.endpoints(name, addresses);
  };
  const adoption = (value: 'Allow' | 'Deny') =>
    shop.patch(connectionPath(connection), { spec: { tenantPolicy: { adoption: value } } });
  /** Waits until the operator has listed the gateway twice, so it has seen all earlier changes. */
  const swept = async () => {
    const lists = () =>
      gateway.requests.filter(({ method, path }) => method === 'GET' && path === '/apisix/admin/upstreams')
        .length;
    const before = lists();
    await eventually(() => expect(lists()).toBeGreaterThan(before + 1));
  };

  beforeAll(async () => {
    await installCrds(cluster);
    const namespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, namespace);
    gateway = await startStandIn({
      observer: {
        arrived: () => undefined,
        carryingOut: () => undefined,
        carriedOut: () => {
          for (const [id, seen] of states) {
            const now = held(id);
            if (now !== undefined) seen.push(now);
          }
        },
        ended: () => undefined,
      },
    });
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    shop = createWorkload(cluster, await cluster.newNamespace('shop'));
    await shop.connection(connection, {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { tenantPolicy: { upstreamIds: 'Any', adoption: 'Allow' } },
    });
    operator = await startOperator(cluster, namespace, token, { resyncInterval: '1s' });
    await operator.ready();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
  });

  it('keep the fields that their owner changes while their nodes follow the Service', async () => {
    await service('web', '10.6.0.1', '10.6.0.2');
    await admin('PUT', 'tf-web', {
      type: 'roundrobin',
      nodes: { '10.6.0.1:8080': 1 },
      labels: { by: 'terraform' },
    });
    watch('tf-web');
    await upstream('web', 'tf-web', { manage: 'Nodes' });
    await programmed('web', 'True', 'Programmed');
    // The response of the gateway if both write at the same moment.
    using _overtaken = gateway.addFault({
      fault: { kind: 'answer', status: 503, body: '{"error_msg":"value changed before overwritten"}' },
      match: ({ method, path }) => method === 'PATCH' && path.endsWith('tf-web/nodes'),
      times: 2,
    });
    for (let round = 1; round <= 20; round += 1) {
      const addresses = [`10.6.${round}.1`, `10.6.${round}.2`];
      await Promise.all([
        admin('PATCH', 'tf-web', { retries: round, desc: `round ${round}` }),
        shop.endpoints('web', addresses),
      ]);
      await eventually(() => expect(hosts(held('tf-web') as Held)).toEqual(addresses));
    }
    await programmed('web', 'True', 'Programmed');
    expect(gateway.requests.filter(({ status }) => status === 503)).toHaveLength(2);
    const seen = states.get('tf-web') ?? [];
    expect(seen.filter((state) => hosts(state).length === 0)).toEqual([]);
    expect(seen.filter(({ labels }) => JSON.stringify(labels) !== '{"by":"terraform"}')).toEqual([]);
    // The last value of the owner was never overwritten.
    const retries = seen.map((state) => Number(state['retries'] ?? 0));
    expect(retries).toEqual(retries.toSorted((a, b) => a - b));
    const status = (await shop.get(shop.upstreamPath('web')))?.['status'];
    expect(status).not.toHaveProperty('upstreamCreateTime');
  });

  it('are written only to repair their nodes', async () => {
    gateway.clearRequests();
    await admin('PATCH', 'tf-web', { retries: 99 });
    await swept();
    expect(writesTo('tf-web')).toEqual(['PATCH tf-web']);
    expect(await events('web')).not.toContain('Repaired');
    await admin('PATCH', 'tf-web/nodes', [{ host: '10.66.0.1', port: 1, weight: 1 }]);
    await eventually(() => expect(hosts(held('tf-web') as Held)).toEqual(['10.6.20.1', '10.6.20.2']));
    expect(writesTo('tf-web')).toEqual(['PATCH tf-web', 'PATCH tf-web/nodes', 'PATCH tf-web/nodes']);
    await eventually(async () =>
      expect(await events('web')).toContain('Another client changed the nodes of upstream tf-web'),
    );
  });

  it('do not change when the object is deleted or no longer allowed', async () => {
    await adoption('Deny');
    await eventually(async () =>
      expect(await shop.condition('web', 'Accepted')).toMatchObject({
        status: 'False',
        reason: 'AdoptionDenied',
      }),
    );
    const before = held('tf-web');
    gateway.clearRequests();
    await shop.endpoints('web', ['10.6.77.1']);
    await swept();
    await adoption('Allow');
    await eventually(() => expect(hosts(held('tf-web') as Held)).toEqual(['10.6.77.1']));
    expect(writesTo('tf-web')).toEqual(['PATCH tf-web/nodes']);
    expect({ ...held('tf-web'), nodes: 0, update_time: 0 }).toEqual({ ...before, nodes: 0, update_time: 0 });
    await shop.remove(shop.upstreamPath('web'));
    await eventually(async () => expect(await shop.get(shop.upstreamPath('web'))).toBeUndefined());
    await swept();
    expect(writesTo('tf-web')).toEqual(['PATCH tf-web/nodes']);
    expect(await events('web')).toContain('Upstream tf-web stays in the gateway: manage is Nodes');
  });

  it('can appear later, and do not lose all their nodes at first', async () => {
    await service('late');
    await upstream('late', 'tf-late', { manage: 'Nodes' });
    await programmed('late', 'False', 'UpstreamNotFound');
    gateway.clearRequests();
    await admin('PUT', 'tf-late', { nodes: { '10.6.0.9:80': 1 } });
    expect(await programmed('late', 'False', 'NotOwned')).toContain('would lose all its nodes');
    expect(writesTo('tf-late')).toEqual(['PUT tf-late']);
    await shop.endpoints('late', ['10.6.0.8']);
    await programmed('late', 'True', 'Programmed');
    expect(held('tf-late')).toMatchObject({ nodes: [{ host: '10.6.0.8', port: 8080, weight: 1 }] });
  });

  it('are taken over only if the connection allows it and the spec states every field', async () => {
    await adoption('Deny');
    await service('cms', '10.6.1.1', '10.6.1.2');
    const made = { type: 'roundrobin', nodes: { '10.6.1.1:8080': 1 }, retries: 3, labels: { team: 'a' } };
    await admin('PUT', 'cms', made);
    watch('cms');
    await upstream('cms', 'cms', { adoptionPolicy: 'IfUnowned', labels: { team: 'a' } });
    await eventually(async () =>
      expect(await shop.condition('cms', 'Accepted')).toMatchObject({
        status: 'False',
        reason: 'AdoptionDenied',
      }),
    );
    await adoption('Allow');
    expect(await programmed('cms', 'False', 'NotOwned')).toContain(
      'has fields that the spec does not set (retries)',
    );
    expect(held('cms')).toMatchObject(made);
    await shop.patch(shop.upstreamPath('cms'), { spec: { retries: 3 } });
    await programmed('cms', 'True', 'Programmed');
    expect(held('cms')).toMatchObject({
      retries: 3,
      labels: { team: 'a', 'gatewayupstream.dev/name': 'cms' },
      nodes: [{ host: '10.6.1.1' }, { host: '10.6.1.2' }],
    });
    expect((states.get('cms') ?? []).filter((state) => hosts(state).length === 0)).toEqual([]);
    await eventually(async () =>
      expect(await events('cms')).toContain(
        'The operator took over upstream cms, which had no owner: + 10.6.1.2:8080 weight 1, ~ labels',
      ),
    );
  });

  it('stay owned when the connection no longer allows adoption', async () => {
    await adoption('Deny');
    await swept();
    await shop.endpoints('cms', ['10.6.1.3']);
    await eventually(() => expect(hosts(held('cms') as Held)).toEqual(['10.6.1.3']));
    expect(await shop.condition('cms', 'Accepted')).toMatchObject({ status: 'True' });
  });

  it.each([
    [{ manage: 'Nodes', retries: 1 }, 'the operator writes only the nodes of the upstream: remove retries'],
    [
      { manage: 'Nodes', deletionPolicy: 'Force' },
      'the operator never deletes the upstream: remove deletionPolicy',
    ],
    [
      { manage: 'Nodes', adoptionPolicy: 'IfUnowned' },
      'the operator does not take over the upstream: remove adoptionPolicy',
    ],
  ])('cannot be requested with %o', async (spec, message) => {
    await expect(upstream('refused', 'refused', spec)).rejects.toThrow(message);
  });

  it('have an immutable manage field', async () => {
    await expect(
      cluster.kubectl([
        '-n',
        shop.namespace,
        'patch',
        'gwu',
        'cms',
        '--type=merge',
        '-p',
        '{"spec":{"manage":"Nodes"}}',
      ]),
    ).rejects.toThrow('manage is immutable');
  });
});
