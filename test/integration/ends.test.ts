import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import { connectionPath, createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const cluster = await sharedControlPlane();
const PATIENT = { timeoutMs: 90_000 };

describe('deleting a namespace', () => {
  let operatorNamespace: string;
  let operator: Operator;

  beforeAll(async () => {
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, operatorNamespace);
    operator = await startOperator(cluster, operatorNamespace, token, {
      clusterId: operatorNamespace,
      resyncInterval: '1s',
      requestTimeout: '2s',
    });
    await operator.ready();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
  });

  /** A gateway, a connection to it, and a namespace with one programmed upstream `web`. */
  async function begin(connection: string, deletionTimeout: string) {
    const gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, connection, { 'admin-key': gateway.adminKey });
    const work = createWorkload(cluster, await cluster.newNamespace(connection));
    await work.connection(connection, { adminUrl: gateway.adminUrl, secret: connection });
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await work.upstream('web', {
      connectionRef: { name: connection },
      deletionTimeout,
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await eventually(async () =>
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
    );
    return { gateway, work, id: `${work.namespace}.web` };
  }

  const admin = (gateway: StandIn, method: string, path: string, body?: object) =>
    fetch(`${gateway.adminUrl}/apisix/admin/${path}`, {
      method,
      headers: { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  async function endNamespace({ namespace }: Workload): Promise<void> {
    await cluster.request('DELETE', `/api/v1/namespaces/${namespace}`);
    await eventually(async () => {
      expect((await cluster.request('GET', `/api/v1/namespaces/${namespace}`)).status).toBe(404);
    }, PATIENT);
  }

  /** The notes of the Events of a connection. */
  async function told(connection: string): Promise<readonly string[]> {
    const { body } = await cluster.request(
      'GET',
      '/apis/events.k8s.io/v1/namespaces/default/events?limit=5000',
    );
    const { items } = body as {
      readonly items: readonly {
        readonly note: string;
        readonly reason: string;
        readonly regarding?: { readonly kind: string; readonly name: string };
      }[];
    };
    return items
      .filter(({ regarding }) => regarding?.kind === 'GatewayConnection' && regarding?.name === connection)
      .map(({ reason, note }) => `${reason}: ${note}`);
  }

  it('deletes its upstreams at once', async () => {
    const { gateway, work } = await begin('plain-end', '10m');
    await using _gateway = gateway;
    await endNamespace(work);
    expect(gateway.ids('upstreams')).toEqual([]);
    expect((await told('plain-end')).filter((note) => note.startsWith('Orphaned'))).toEqual([]);
  });

  it('does not wait for a gateway that is down: the connection reports it, and the upstreams are deleted later', async () => {
    const { gateway, work, id } = await begin('dead-end', '2s');
    await using _gateway = gateway;
    await gateway.stop();
    await endNamespace(work);
    await eventually(async () => {
      expect(await told('dead-end')).toContainEqual(
        expect.stringMatching(
          `^Orphaned: GatewayUpstream ${work.namespace}/web: Upstream ${id} stays in the gateway: it could not be deleted within 2s`,
        ),
      );
    });
    expect(gateway.ids('upstreams')).toEqual([id]);
    await gateway.start();
    await eventually(() => expect(gateway.ids('upstreams')).toEqual([]), PATIENT);
  });

  it('does not delete an upstream that another client has taken over', async () => {
    const { gateway, work, id } = await begin('taken-end', '2s');
    await using _gateway = gateway;
    await gateway.stop();
    await endNamespace(work);
    await gateway.start();
    const theirs = { type: 'roundrobin', nodes: { '10.7.7.7:7': 1 }, labels: { owner: 'them' } };
    expect((await admin(gateway, 'PUT', `upstreams/${id}`, theirs)).status).toBe(200);
    const lists = () => gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
    const before = lists();
    await eventually(() => expect(lists()).toBeGreaterThan(before + 4), PATIENT);
    expect(gateway.get('upstreams', id)?.['labels']).toEqual({ owner: 'them' });
  });

  it('does not wait for a route that refers to an upstream, which is deleted after the route', async () => {
    const { gateway, work, id } = await begin('routed-end', '10s');
    await using _gateway = gateway;
    const route = { uri: '/shop', upstream_id: id };
    expect((await admin(gateway, 'PUT', 'routes/shop', route)).status).toBe(201);
    await endNamespace(work);
    await eventually(async () => {
      const notes = await told('routed-end');
      expect(notes).toContainEqual(expect.stringMatching(`^Orphaned: .*${id} stays in the gateway.*route`));
      expect(notes).toContainEqual(
        expect.stringMatching(`^InUse: Cannot delete upstream ${id}, .*route \\[shop\\]`),
      );
    }, PATIENT);
    // The Service was deleted with the namespace, so the upstream has no nodes.
    expect(hostsOf(gateway, id)).toEqual([]);
    expect((await admin(gateway, 'DELETE', 'routes/shop')).status).toBe(200);
    await eventually(() => expect(gateway.ids('upstreams')).toEqual([]), PATIENT);
  });

  it('deletes the upstream of an object that outlived its namespace, when the object is deleted', async () => {
    const { gateway, work } = await begin('left-end', '1h');
    await using _gateway = gateway;
    // An API server that has just started can delete a namespace without its custom resources.
    await cluster.request('PUT', `/api/v1/namespaces/${work.namespace}/finalize`, {
      metadata: { name: work.namespace },
      spec: { finalizers: [] },
    });
    // The first request sets the deletion timestamp, the second one deletes it.
    await work.remove(`/api/v1/namespaces/${work.namespace}`);
    await endNamespace(work);
    expect(await work.get(work.upstreamPath('web'))).toBeDefined();
    await work.remove(work.upstreamPath('web'));
    await eventually(async () => {
      expect(gateway.ids('upstreams')).toEqual([]);
      expect(await work.get(work.upstreamPath('web'))).toBeUndefined();
    }, PATIENT);
  });

  it('leaves no upstream of objects that are created and deleted at once together with their connection', async () => {
    const { gateway, work } = await begin('brief-end', '10m');
    await using _gateway = gateway;
    const names = Array.from({ length: 40 }, (_, index) => `brief-${index}`);
    await Promise.all(
      names.map(async (name) => {
        await work.upstream(name, {
          connectionRef: { name: 'brief-end' },
          backends: [{ serviceRef: { name: 'web', port: 80 } }],
        });
        await work.remove(work.upstreamPath(name));
      }),
    );
    await work.remove(work.upstreamPath('web'));
    await work.remove(connectionPath('brief-end'));
    await eventually(
      async () => expect(await work.get(connectionPath('brief-end'))).toBeUndefined(),
      PATIENT,
    );
    expect(gateway.ids('upstreams')).toEqual([]);
  });

  it('does not wait for deletionTimeout if the connection does not exist', async () => {
    const { gateway, work, id } = await begin('gone-end', '1h');
    await using _gateway = gateway;
    await gateway.stop();
    await work.remove(connectionPath('gone-end'));
    await eventually(async () => {
      await work.patch(connectionPath('gone-end'), { metadata: { finalizers: null } }).catch(() => undefined);
      expect(await work.get(connectionPath('gone-end'))).toBeUndefined();
    });
    await endNamespace(work);
    await gateway.start();
    expect(gateway.ids('upstreams')).toEqual([id]);
  });
});

describe('a delayed write', () => {
  it('is read after its timeout, and corrected if it overwrote a later write', async () => {
    await installCrds(cluster);
    const operatorNamespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, operatorNamespace);
    await using gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    const work = createWorkload(cluster, await cluster.newNamespace('late'));
    await work.connection('late', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await using operator = await startOperator(cluster, operatorNamespace, token, {
      clusterId: operatorNamespace,
      resyncInterval: '2s',
      requestTimeout: '1s',
    });
    await operator.ready();
    const id = `${work.namespace}.web`;
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await work.upstream('web', {
      connectionRef: { name: 'late' },
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await eventually(() => expect(hostsOf(gateway, id)).toEqual(['10.1.0.1']));

    gateway.clearRequests();
    using _late = gateway.addFault({
      fault: { kind: 'delay', delayMs: 5000 },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    await work.endpoints('web', ['10.1.0.2']);
    const puts = () => gateway.requests.filter(({ method }) => method === 'PUT');
    await eventually(() => expect(puts()).toHaveLength(1));
    await work.endpoints('web', ['10.1.0.3']);
    await eventually(() => expect(hostsOf(gateway, id)).toEqual(['10.1.0.3']));
    const methods = gateway.requests
      .filter(({ path }) => path.endsWith(`/${id}`))
      .map(({ method }) => method)
      .slice(0, 3);
    expect(methods).toEqual(['PUT', 'GET', 'PUT']);

    // The gateway applies the first write after the second one.
    await eventually(() => expect(puts()[0]?.status).toBe(200));
    await eventually(() => {
      expect(puts().length).toBeGreaterThanOrEqual(3);
      expect(hostsOf(gateway, id)).toEqual(['10.1.0.3']);
    });
    await eventually(async () => {
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' });
    });
  });
});
