import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type Kubelet, startKubelet } from '../support/kubelet.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import { createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const REPLICAS = 4;

describe('removal guard', () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let work: Workload;
  let operator: Operator;
  let startAgain: () => Promise<Operator>;
  let asked = 0;

  const hosts = (id: string): readonly string[] => [...(hostsOf(gateway, id) ?? [])].sort();
  const idOf = (name: string) => `${work.namespace}.${name}`;
  const held = (name: string) => work.condition(name, 'RemovalHeld');
  /** The node lists that were written for `id` since the test began. */
  const writes = (id: string): readonly (readonly string[])[] =>
    gateway.requests
      .slice(asked)
      .filter(({ method, path }) => method === 'PUT' && path.endsWith(`/upstreams/${id}`))
      .map(({ body }) => {
        const { nodes } = JSON.parse(body ?? '{}') as {
          readonly nodes: readonly { readonly host: string }[];
        };
        return nodes.map(({ host }) => host);
      });

  beforeAll(async () => {
    cluster = await startControlPlane({ controllers: ['deployment-controller', 'replicaset-controller'] });
    await installCrds(cluster);
    const operatorNamespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, operatorNamespace);
    gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('apps', { awaitServiceAccount: true }));
    await work.connection('main', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    startAgain = async () => {
      const started = await startOperator(cluster, operatorNamespace, token, {});
      await started.ready();
      return started;
    };
    operator = await startAgain();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  describe('with a real Deployment', () => {
    const name = 'web';
    let kubelet: Kubelet;
    const deployment = () => `/apis/apps/v1/namespaces/${work.namespace}/deployments/${name}`;
    const scale = (replicas: number) => work.patch(deployment(), { spec: { replicas } });
    const settles = async (count: number) =>
      await eventually(() => {
        const now = hosts(idOf(name));
        expect(now).toHaveLength(count);
        return now;
      });

    beforeAll(async () => {
      kubelet = await startKubelet(cluster, work.namespace);
      await work.create(`/apis/apps/v1/namespaces/${work.namespace}/deployments`, {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name },
        spec: {
          replicas: REPLICAS,
          selector: { matchLabels: { app: name } },
          template: {
            metadata: { labels: { app: name } },
            spec: {
              containers: [{ name: 'web', image: 'web:1', ports: [{ name: 'http', containerPort: 8080 }] }],
            },
          },
        },
      });
      await work.create(`/api/v1/namespaces/${work.namespace}/services`, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name },
        spec: { selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
      });
      await work.upstream(name, {
        connectionRef: { name: 'main' },
        backends: [{ serviceRef: { name, port: 'http' } }],
      });
    });

    beforeEach(async () => {
      kubelet.healthy = true;
      await scale(REPLICAS);
      await settles(REPLICAS);
      await eventually(async () => expect(await held(name)).toBeUndefined());
      asked = gateway.requests.length;
    });

    afterAll(async () => {
      await kubelet?.[Symbol.asyncDispose]();
    });

    it('does not delay a rolling update', async () => {
      const before = hosts(idOf(name));
      await work.patch(deployment(), { spec: { template: { metadata: { annotations: { roll: '1' } } } } });
      await eventually(() => {
        const now = hosts(idOf(name));
        expect(now).toHaveLength(REPLICAS);
        expect(now.filter((host) => before.includes(host))).toEqual([]);
      });
      expect(await held(name)).toBeUndefined();
      expect(writes(idOf(name)).filter((nodes) => nodes.length === 0)).toEqual([]);
      expect(operator.output()).not.toContain('RemovalHeld');
    });

    it('does not delay a Deployment that is scaled to zero and back', async () => {
      await scale(0);
      await settles(0);
      expect(await held(name)).toBeUndefined();
      expect(operator.output()).not.toContain('RemovalHeld');
      expect(await work.condition(name, 'Ready')).toMatchObject({ status: 'True' });
      await scale(1);
      await settles(1);
    });

    it('keeps at least half of the Pods that become not ready one after the other, until they recover', async () => {
      kubelet.healthy = false;
      const condition = await eventually(async () => {
        const found = await held(name);
        expect(found).toMatchObject({ status: 'True', reason: 'RemovalHeld' });
        return found;
      });
      expect(condition?.message).toContain('kubectl annotate');
      expect(hosts(idOf(name)).length).toBeGreaterThanOrEqual(REPLICAS / 2);
      expect(await work.condition(name, 'Ready')).toMatchObject({
        status: 'True',
        reason: 'NoReadyEndpoints',
      });
      kubelet.healthy = true;
      await eventually(async () => expect(await held(name)).toBeUndefined());
      expect(writes(idOf(name)).filter((nodes) => nodes.length === 0)).toEqual([]);
    });

    it('keeps nodes and their start time across a restart, and removes them on the annotation', async () => {
      await work.patch(work.upstreamPath(name), { spec: { removalGuard: { maxRemovalPercent: 0 } } });
      const before = hosts(idOf(name));
      kubelet.healthy = false;
      const since = await eventually(async () => {
        const found = await held(name);
        expect(found?.status).toBe('True');
        return found?.lastTransitionTime;
      });
      await operator[Symbol.asyncDispose]();
      operator = await startAgain();
      await eventually(() => expect(operator.output()).toContain('caches synced'));
      await work.patch(work.upstreamPath(name), {
        metadata: { annotations: { 'some.other/annotation': '1' } },
      });
      await eventually(async () => expect((await held(name))?.lastTransitionTime).toBe(since));
      expect(hosts(idOf(name))).toEqual(before);
      await work.patch(work.upstreamPath(name), {
        metadata: { annotations: { 'gatewayupstream.dev/accept-removal': since } },
      });
      await settles(0);
      await eventually(async () => expect(await held(name)).toBeUndefined());
    });

    it('keeps no node if a change of the Service explains the removal', async () => {
      const path = `/api/v1/namespaces/${work.namespace}/services/${name}`;
      await work.patch(path, { spec: { selector: { app: 'another' } } });
      await settles(0);
      expect(await held(name)).toBeUndefined();
      await work.patch(path, { spec: { selector: { app: name } } });
      await settles(REPLICAS);
    });
  });

  it('keeps endpoints that disappeared from their slice for half a minute', async () => {
    const name = 'lost';
    await work.service(name);
    await work.endpoints(name, ['10.9.0.1', '10.9.0.2', '10.9.0.3']);
    // For a minute, a Service that appears after the object that refers to it explains every removal. The first object shows that
    // the operator knows the Service.
    for (const one of ['known', name]) {
      await work.upstream(one, {
        connectionRef: { name: 'main' },
        backends: [{ serviceRef: { name, port: 80 } }],
      });
      await eventually(() => expect(hosts(idOf(one))).toHaveLength(3));
    }
    await work.endpoints(name, []);
    await eventually(async () => expect((await held(name))?.status).toBe('True'));
    expect(hosts(idOf(name))).toHaveLength(3);
    await eventually(() => expect(hosts(idOf(name))).toEqual([]), { timeoutMs: 60_000 });
    await eventually(async () => expect(await held(name)).toBeUndefined());
  });

  it('never keeps an address that another Service lists', async () => {
    const name = 'moved';
    await work.service(name);
    await work.service('target');
    await work.endpoints(name, ['10.9.1.1', '10.9.1.2']);
    await work.upstream(name, {
      connectionRef: { name: 'main' },
      backends: [{ serviceRef: { name, port: 80 } }],
    });
    await eventually(() => expect(hosts(idOf(name))).toHaveLength(2));
    await work.endpoints('target', ['10.9.1.1', '10.9.1.2']);
    await work.endpoints(name, []);
    await eventually(() => expect(hosts(idOf(name))).toEqual([]));
    expect(await held(name)).toBeUndefined();
  });
});
