import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { UPSTREAM_FINALIZER } from '../../src/api/group.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, startOperator } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import { connectionPath, createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const cluster = await sharedControlPlane();

/** Creates a connection `name` to `gateway`, with its Secret in the operator's namespace. */
async function connect(operatorNamespace: string, name: string, gateway: StandIn): Promise<Workload> {
  await writeSecret(cluster, operatorNamespace, name, { 'admin-key': gateway.adminKey });
  const work = createWorkload(cluster, await cluster.newNamespace(name));
  await work.connection(name, { adminUrl: gateway.adminUrl, secret: name });
  return work;
}

async function addUpstream(work: Workload, connection: string): Promise<string> {
  await work.service('web');
  await work.endpoints('web', ['10.1.0.1']);
  await work.upstream('web', {
    connectionRef: { name: connection },
    backends: [{ serviceRef: { name: 'web', port: 80 } }],
  });
  return `${work.namespace}.web`;
}

describe('an admission policy that rejects the finalizer', () => {
  it('is reported in status, Event and metric, and stops new upstreams until it is removed', async () => {
    await installCrds(cluster);
    await using gateway = await startStandIn();
    const operatorNamespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, operatorNamespace);
    const work = await connect(operatorNamespace, 'refused', gateway);
    const policy = `no-finalizers-${work.namespace}`;
    const objects = [
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicy',
        metadata: { name: policy },
        spec: {
          failurePolicy: 'Fail',
          matchConstraints: {
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': work.namespace } },
            resourceRules: [
              {
                apiGroups: ['gatewayupstream.dev'],
                apiVersions: ['*'],
                operations: ['CREATE', 'UPDATE'],
                resources: ['gatewayupstreams'],
              },
            ],
          },
          validations: [
            {
              expression: `!has(object.metadata.finalizers) || object.metadata.finalizers.all(f, f != '${UPSTREAM_FINALIZER}')`,
              message: 'finalizers are a privilege of the platform team',
            },
          ],
        },
      },
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicyBinding',
        metadata: { name: policy },
        spec: { policyName: policy, validationActions: ['Deny'] },
      },
    ];
    await cluster.kubectl(['apply', '-f', '-'], {
      input: objects.map((object) => stringify(object)).join('---\n'),
    });
    const id = await addUpstream(work, 'refused');
    await eventually(async () =>
      expect(
        work.patch(work.upstreamPath('web'), { metadata: { finalizers: [UPSTREAM_FINALIZER] } }),
      ).rejects.toThrow('privilege of the platform team'),
    );
    await work.patch(work.upstreamPath('web'), { metadata: { finalizers: null } });

    await using operator = await startOperator(cluster, operatorNamespace, token, {
      clusterId: operatorNamespace,
    });
    await operator.ready();
    await eventually(async () => {
      for (const type of ['Programmed', 'Ready']) {
        expect(await work.condition('web', type)).toMatchObject({
          status: 'False',
          reason: 'FinalizerRefused',
          message: expect.stringContaining('finalizers are a privilege of the platform team'),
        });
      }
      const events = await cluster.kubectl(['-n', work.namespace, 'get', 'events', '-o', 'yaml']);
      expect(events).toContain('reason: FinalizerRefused');
      expect((await operator.ask('/metrics')).text).toMatch(/reason="FinalizerRefused"[^}]*\} [1-9]/);
    });
    expect(gateway.ids('upstreams')).toEqual([]);

    await cluster.kubectl(['delete', 'validatingadmissionpolicybinding,validatingadmissionpolicy', policy]);
    await eventually(
      async () => {
        expect(hostsOf(gateway, id)).toEqual(['10.1.0.1']);
        expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' });
      },
      { timeoutMs: 90_000 },
    );
  });
});

describe('two operators that watch one namespace each and share a connection', () => {
  let gateway: StandIn;
  beforeAll(async () => {
    await installCrds(cluster);
    gateway = await startStandIn();
  });
  afterAll(async () => {
    await gateway?.[Symbol.asyncDispose]();
  });

  it('keep each other’s upstreams, and the last one releases the connection', async () => {
    const names = ['first', 'second'] as const;
    const works = Object.fromEntries(
      await Promise.all(
        names.map(async (name) => [name, createWorkload(cluster, await cluster.newNamespace(name))] as const),
      ),
    ) as Record<(typeof names)[number], Workload>;
    const namespace = await cluster.newNamespace('operator');
    const token = await installRbac(
      cluster,
      namespace,
      names.map((name) => works[name].namespace),
    );
    await writeSecret(cluster, namespace, 'shared', { 'admin-key': gateway.adminKey });
    await using stack = new AsyncDisposableStack();
    for (const name of names) {
      const operator = await startOperator(cluster, namespace, token, {
        name,
        clusterId: 'shared',
        namespaces: [works[name].namespace],
        resyncInterval: '1s',
        leaderElection: { enabled: false },
      });
      stack.use(operator);
      await operator.ready();
    }
    await works.first.connection('shared', { adminUrl: gateway.adminUrl, secret: 'shared' });
    const ids = [await addUpstream(works.first, 'shared'), await addUpstream(works.second, 'shared')];
    await eventually(() => expect([...gateway.ids('upstreams')].sort()).toEqual([...ids].sort()));

    const lists = () => gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
    const before = lists();
    await eventually(() => expect(lists()).toBeGreaterThan(before + 8), { timeoutMs: 60_000 });
    expect(gateway.requests.filter(({ method }) => method === 'DELETE')).toEqual([]);
    expect([...gateway.ids('upstreams')].sort()).toEqual([...ids].sort());

    await works.first.remove(works.first.upstreamPath('web'));
    await works.first.remove(connectionPath('shared'));
    await eventually(() => expect(gateway.ids('upstreams')).toEqual([ids[1]]));
    const after = lists();
    await eventually(() => expect(lists()).toBeGreaterThan(after + 8), { timeoutMs: 60_000 });
    expect(await works.first.get(connectionPath('shared'))).toBeDefined();
    expect(gateway.ids('upstreams')).toEqual([ids[1]]);

    await works.second.remove(works.second.upstreamPath('web'));
    await eventually(async () => expect(await works.first.get(connectionPath('shared'))).toBeUndefined(), {
      timeoutMs: 60_000,
    });
    expect(gateway.ids('upstreams')).toEqual([]);
  });
});
