import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { GROUP, OPERATOR } from '../../src/api/group.ts';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { permissionsOf } from '../support/catalog.ts';
import { auditEvents } from '../support/control-plane/audit.ts';
import { startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installReferenceGrants } from '../support/gateway-api.ts';
import { installCrds, installRbac, startOperator } from '../support/operator.ts';
import { conditionOf, connectionPath, createWorkload, GROUP_PATH, writeSecret } from '../support/workload.ts';

/** Granted to every authenticated user by `system:basic-user` of Kubernetes. */
const NEEDS_NO_RULE = new Set(['create authorization.k8s.io/selfsubjectaccessreviews']);

const nameOf = (verb: string, group: string | undefined, resource: string, subresource: string | undefined) =>
  `${verb} ${group === undefined || group === '' ? '' : `${group}/`}${resource}${subresource === undefined ? '' : `/${subresource}`}`;

/** The operator reads an object only if another client changes it before the finalizer is added, which may not happen here. */
const AFTER_A_CONFLICT = new Set(
  ['gatewayupstreams', 'gatewayconnections'].map((plural) => nameOf('get', GROUP, plural, undefined)),
);

describe('RBAC', () => {
  it('grants exactly the permissions that the operator uses, according to the audit log', async () => {
    await using cluster = await startControlPlane({ audit: true });
    await using gateway = await startStandIn();
    await installCrds(cluster);
    await installReferenceGrants(cluster, 'v1.6.0');
    const namespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, namespace);
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    const work = createWorkload(cluster, await cluster.newNamespace('apps'));
    const options = {
      leaderElection: { leaseDuration: '6s', renewDeadline: '3s', retryPeriod: '1s' },
      requestTimeout: '2s',
    };
    await using operator = await startOperator(cluster, namespace, token, options);
    await operator.ready();

    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await work.upstream('web', { backends: [{ serviceRef: { name: 'web', port: 80 } }] });
    await eventually(async () =>
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
    );
    await work.endpoints('web', ['10.1.0.2']);
    await work.remove(work.upstreamPath('web'));
    await eventually(async () => expect(await work.get(work.upstreamPath('web'))).toBeUndefined());
    await work.create(`${GROUP_PATH}/gatewayupstreamsets`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstreamSet',
      metadata: { name: 'all' },
      spec: { namespaceSelector: { names: [work.namespace] } },
    });
    await eventually(() => expect(gateway.ids('upstreams')).toEqual([`${work.namespace}.web-http`]));
    await work.remove(`/api/v1/namespaces/${work.namespace}/services/web`);
    await eventually(async () => expect(await work.get(work.upstreamPath('web-http'))).toBeUndefined());
    expect(gateway.ids('upstreams')).toEqual([]);
    await eventually(async () => {
      expect(conditionOf(await work.get(connectionPath('default')), 'Ready')).toMatchObject({
        status: 'True',
      });
    });
    const registryPath = `${GROUP_PATH}/serviceregistries/vms`;
    await work.create(`${GROUP_PATH}/serviceregistries`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'ServiceRegistry',
      metadata: { name: 'vms' },
      spec: { type: 'Consul', consul: { servers: ['http://127.0.0.1:1'] } },
    });
    await eventually(async () =>
      expect(conditionOf(await work.get(registryPath), 'Ready')).toMatchObject({ status: 'False' }),
    );
    await work.remove(registryPath);
    await work.remove(connectionPath('default'));
    await eventually(async () => expect(await work.get(connectionPath('default'))).toBeUndefined());
    expect(await operator.stop()).toBe(0);

    const events = (await auditEvents(cluster, namespace)).filter(({ objectRef }) => objectRef !== undefined);
    expect(events.length).toBeGreaterThan(20);
    expect(events.filter(({ responseStatus }) => responseStatus?.code === 403)).toEqual([]);

    const used = new Set(
      events.flatMap(({ verb, objectRef, responseStatus }) => {
        // An apply that creates an object needs two permissions, and the audit log shows one.
        const verbs = verb === 'patch' && responseStatus?.code === 201 ? ['patch', 'create'] : [verb];
        return verbs.map((one) =>
          nameOf(one, objectRef?.apiGroup, objectRef?.resource ?? '', objectRef?.subresource),
        );
      }),
    );
    const granted = new Set(
      permissionsOf({ namespace }).map(({ verb, group, resource, subresource }) =>
        nameOf(verb, group, resource, subresource),
      ),
    );
    expect([...used].filter((one) => !granted.has(one) && !NEEDS_NO_RULE.has(one))).toEqual([]);
    const unused = [...granted].filter((one) => !used.has(one) && !AFTER_A_CONFLICT.has(one));
    expect(unused).toEqual([]);

    // Permissions in the operator's namespace are used only there.
    const elsewhere = events.filter(
      ({ objectRef }) =>
        (objectRef?.resource === 'secrets' || objectRef?.resource === 'leases') &&
        objectRef.namespace !== namespace,
    );
    expect(elsewhere).toEqual([]);
  });

  it('is sufficient in the watched namespaces, and the operator uses no others', async () => {
    await using cluster = await startControlPlane({ audit: true });
    await using gateway = await startStandIn();
    await installCrds(cluster);
    await installReferenceGrants(cluster, 'v1.6.0');
    const namespace = await cluster.newNamespace('operator');
    const [inside, other, outside] = await Promise.all(
      ['in', 'also', 'out'].map((name) => cluster.newNamespace(name)),
    );
    const namespaces = [inside ?? '', other ?? ''];
    const token = await installRbac(cluster, namespace, namespaces);
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    await using operator = await startOperator(cluster, namespace, token, { namespaces });
    await operator.ready();
    const works = [...namespaces, outside ?? ''].map((one) => createWorkload(cluster, one));
    await works[0]?.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    for (const work of works) {
      await work.service('web');
      await work.endpoints('web', ['10.1.0.1']);
      await work.upstream('web', { backends: [{ serviceRef: { name: 'web', port: 80 } }] });
    }
    for (const work of works.slice(0, 2)) {
      await eventually(async () =>
        expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
      );
      await work.endpoints('web', ['10.1.0.2']);
      await eventually(() => {
        expect(gateway.get('upstreams', `${work.namespace}.web`)).toMatchObject({
          nodes: [{ host: '10.1.0.2' }],
        });
      });
      await work.remove(work.upstreamPath('web'));
      await eventually(async () => expect(await work.get(work.upstreamPath('web'))).toBeUndefined());
    }
    expect(await works[2]?.condition('web', 'Ready')).toMatchObject({ status: 'Unknown', reason: 'Pending' });
    expect(gateway.ids('upstreams')).toEqual([]);
    await works[0]?.create(`${GROUP_PATH}/gatewayupstreamsets`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstreamSet',
      metadata: { name: 'all' },
      spec: { namespaceSelector: { all: true } },
    });
    await eventually(() => {
      expect(gateway.ids('upstreams').toSorted()).toEqual(
        namespaces.map((one) => `${one}.web-http`).toSorted(),
      );
    });
    await eventually(async () => {
      const set = await works[0]?.get(`${GROUP_PATH}/gatewayupstreamsets/all`);
      expect(set).toMatchObject({ status: { services: 2, upstreams: 2 } });
      expect(conditionOf(set, 'Ready')).toMatchObject({ status: 'True' });
    });
    expect(await operator.stop()).toBe(0);
    const refused = (await readFile(cluster.auditLog ?? '', 'utf8'))
      .split('\n')
      .filter((line) => line.includes(`:${OPERATOR}"`) && line.includes('"code":403'));
    expect(refused).toEqual([]);
  });
});
