import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { auditEvents } from '../support/control-plane/audit.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { createSet, heldOf, setOf, setPath, settled } from '../support/sets.ts';
import { createWorkload, type Workload, writeSecret } from '../support/workload.ts';

/** Use `SETS_NAMESPACES=200` for the size of a large cluster. */
const NAMESPACES = Number(process.env['SETS_NAMESPACES'] ?? 20);
const SERVICES_EACH = 10;
const ALL = NAMESPACES * SERVICES_EACH;
const AT_ONCE = 16;
/** Sufficient for 2,000 objects on a busy machine. */
const LONG = { timeoutMs: 600_000, intervalMs: 250 };

describe(`a GatewayUpstreamSet of ${ALL} Services`, () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let work: Workload;
  let operator: Operator;
  let operatorNamespace: string;
  let token: string;

  const start = async () => {
    operator = await startOperator(cluster, operatorNamespace, token, { logLevel: 'info' });
    await operator.ready();
  };
  const inParallel = async (count: number, make: (index: number) => Promise<unknown>) => {
    let next = 0;
    const worker = async () => {
      for (let index = next++; index < count; index = next++) await make(index);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  };
  const auditOf = () => auditEvents(cluster, operatorNamespace);
  /** The requests for GatewayUpstreams, without their status, since `before`. */
  const writesSince = async (before: number) =>
    (await auditOf())
      .slice(before)
      .filter(({ verb, objectRef }) => {
        const { resource, subresource } = objectRef ?? {};
        return (
          resource === 'gatewayupstreams' &&
          subresource === undefined &&
          !['get', 'list', 'watch'].includes(verb)
        );
      })
      .map(({ verb, objectRef, responseStatus }) => ({
        what: verb === 'patch' && responseStatus?.code === 201 ? 'create' : verb,
        object: `${objectRef?.namespace}/${objectRef?.name}`,
      }));

  beforeAll(async () => {
    cluster = await startControlPlane({ audit: 'ServiceAccounts' });
    gateway = await startStandIn();
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('shop'));
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
  });

  afterAll(async () => {
    await operator[Symbol.asyncDispose]();
    await cluster.close();
    await gateway[Symbol.asyncDispose]();
  });

  it('creates all upstreams, handles a label change with one request, and does not prune all of them at once', async () => {
    const namespaceOf = (index: number) => `many-${index}`;
    await inParallel(NAMESPACES, (index) =>
      work.create('/api/v1/namespaces', {
        metadata: { name: namespaceOf(index), labels: { size: 'many' } },
      }),
    );
    await inParallel(ALL, (index) =>
      work.create(`/api/v1/namespaces/${namespaceOf(index % NAMESPACES)}/services`, {
        metadata: { name: `s${Math.floor(index / NAMESPACES)}`, labels: { app: 'many' } },
        spec: { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] },
      }),
    );
    await start();
    await createSet(work, 'many', {
      namespaceSelector: { selector: { matchLabels: { size: 'many' } } },
      serviceSelector: { matchLabels: { app: 'many' } },
    });
    await eventually(() => expect(gateway.ids('upstreams').length).toBe(ALL), LONG);
    await settled(work, 'many', { services: ALL, ports: ALL, upstreams: ALL }, LONG);
    expect(gateway.ids('upstreams')).toContain('many-7.s3-http');
    const begun = (await auditOf()).length;

    const service = '/api/v1/namespaces/many-7/services/s3';
    let before = (await auditOf()).length;
    await work.patch(service, { metadata: { labels: { app: 'other' } } });
    await eventually(() => expect(gateway.ids('upstreams')).not.toContain('many-7.s3-http'));
    await settled(work, 'many', { services: ALL - 1, upstreams: ALL - 1 }, LONG);
    // The second request adds the finalizer.
    expect(await writesSince(before)).toEqual([
      { what: 'delete', object: 'many-7/s3-http' },
      { what: 'patch', object: 'many-7/s3-http' },
    ]);
    before = (await auditOf()).length;
    await work.patch(service, { metadata: { labels: { app: 'many' } } });
    await eventually(() => expect(gateway.ids('upstreams')).toContain('many-7.s3-http'));
    await settled(work, 'many', { services: ALL, upstreams: ALL }, LONG);
    expect(await writesSince(before)).toEqual([
      { what: 'create', object: 'many-7/s3-http' },
      { what: 'patch', object: 'many-7/s3-http' },
    ]);

    before = (await auditOf()).length;
    await work.patch(setPath('many'), { spec: { serviceSelector: { matchLabels: { app: 'mnay' } } } });
    await eventually(
      async () => expect((await setOf(work, 'many')).status.pruning).toEqual({ waiting: ALL }),
      LONG,
    );
    expect(await heldOf(work, 'many')).toMatchObject({ status: 'True', reason: 'PruningHeld' });
    expect(await writesSince(before)).toEqual([]);
    expect(gateway.ids('upstreams').length).toBe(ALL);

    const command =
      /kubectl (annotate [^ ]+ [^ ]+ [^ ]+)/.exec((await heldOf(work, 'many'))?.message ?? '')?.[1] ?? '';
    await cluster.kubectl(command.split(' '));
    await eventually(() => expect(gateway.ids('upstreams')).toEqual([]), LONG);
    await settled(work, 'many', { services: 0, ports: 0, upstreams: 0 }, LONG);
    expect((await setOf(work, 'many')).status.pruning).toBeUndefined();
    const deleted = (await writesSince(before)).filter(({ what }) => what === 'delete');
    expect(new Set(deleted.map(({ object }) => object)).size).toBe(ALL);
    expect(deleted.length).toBe(ALL);

    // A kind that is not installed has no watch, only occasional requests.
    const lists = (await auditOf())
      .slice(begun)
      .filter(({ verb, objectRef }) => verb === 'list' && objectRef?.resource !== 'referencegrants')
      .map(({ objectRef }) => objectRef?.resource);
    expect(lists).toEqual([]);
  }, 1_500_000);
});
