import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { METRICS } from '../../src/api/metrics.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { ALERTS_FILE, alerts } from '../support/chart/alerts.ts';
import { CHART_DIR, createHelm, templateArgs } from '../support/chart/helm.ts';
import { ensureHelm } from '../support/chart/helm-binary.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { requireTool } from '../support/external-tool.ts';
import { inParallel } from '../support/in-parallel.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { ensurePromtool, promtool } from '../support/promtool.ts';
import { metricsIn, readScrape, rulesTest, type Scrape } from '../support/scrape.ts';
import {
  connectionPath,
  createWorkload,
  GROUP_PATH,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

const PATIENTLY = { timeoutMs: 90_000, intervalMs: 500 };
const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/gateway-upstream-operator';
const REGISTRIES = `${GROUP_PATH}/serviceregistries`;
const UNKNOWN_CONNECTIONS = 300;
const ADDRESSES = ['10.1.0.1', '10.1.0.2', '10.1.0.3'];

// A separate control plane, because the last fault stops it.
let cluster: ControlPlane;
let namespace: string;
let token: string;
let gateway: StandIn;
let work: Workload;
let operator: Operator;

beforeAll(async () => {
  cluster = await startControlPlane();
  namespace = await cluster.newNamespace('operator');
  token = await installRbac(cluster, namespace);
  gateway = await startStandIn();
  work = createWorkload(cluster, await cluster.newNamespace('apps'));
});

beforeEach(async ({ skip }) => {
  await requireTool(skip, ensurePromtool);
  await requireTool(skip, ensureHelm);
});

afterAll(async () => {
  await operator?.[Symbol.asyncDispose]();
  await gateway?.[Symbol.asyncDispose]();
  await cluster?.close();
});

const scrape = async (of: Operator): Promise<Scrape> => {
  const { status, text } = await of.ask('/metrics');
  expect(status).toBe(200);
  return readScrape(text);
};

/** Rejects with the output of promtool if other alerts fire. */
const expectFiring = async (
  scrapes: Parameters<typeof rulesTest>[1],
  names: readonly string[],
): Promise<void> => {
  const file = join(cluster.dir, 'rules-test.yaml');
  const firing = names.map((name) => `GatewayUpstreamOperator${name}`);
  await writeFile(file, JSON.stringify(rulesTest(ALERTS_FILE, scrapes, firing)));
  await promtool('test', 'rules', file);
};

it('reports the operator as not ready without its CRDs', async () => {
  await using early = await startOperator(cluster, namespace, token, { leaderElection: { enabled: false } });
  await eventually(async () => expect((await early.readyz()).text).toContain('absent'), PATIENTLY);
  const after = await scrape(early);
  // The metrics of an operator that is ready.
  const isCheck = (series: string) => series.startsWith(METRICS.readyCheck.name);
  const series = new Map([...after.series].map(([name, value]) => [name, isCheck(name) ? 1 : value]));
  await expectFiring({ before: { ...after, series }, after }, ['NotReady']);
});

describe('a running operator', () => {
  const slice = (addresses: Parameters<Workload['endpoints']>[1]) => work.endpoints('web', addresses);
  let port = 8080;
  /** A change of endpoints that removes none. */
  const change = async () => {
    port += 1;
    await work.patch(work.upstreamPath('web'), { spec: { removalGuard: { maxRemovalPercent: 100 } } });
    await work.endpoints('web', ADDRESSES, port);
  };
  const healthy = async (): Promise<Scrape> =>
    await eventually(async () => {
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' });
      const now = await scrape(operator);
      await expectFiring({ before: now, after: now }, []);
      return now;
    }, PATIENTLY);

  beforeAll(async () => {
    await installCrds(cluster);
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await work.service('web');
    await slice(ADDRESSES);
    await work.upstream('web', { backends: [{ serviceRef: { name: 'web', port: 80 } }] });
    operator = await startOperator(cluster, namespace, token, {
      leaderElection: { enabled: false },
      resyncInterval: '2s',
      permissionCheckInterval: '1s',
      debugState: true,
    });
    await operator.ready();
  });

  it('exports exactly the metrics of the registry', async () => {
    const { types } = await scrape(operator);
    const own = [...types.keys()].filter((name) => name.startsWith('gateway_upstream_operator_'));
    expect(own.sort()).toEqual(
      Object.values(METRICS)
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('fires no alert while endpoints change without errors', async () => {
    const before = await healthy();
    await change();
    await eventually(async () => {
      const after = await scrape(operator);
      const count = 'gateway_upstream_operator_propagation_seconds_count{';
      const counted = ({ series }: Scrape) =>
        [...series].find(([name]) => name.startsWith(count) && name.includes('connection="default"'))?.[1] ??
        0;
      expect(counted(after)).toBeGreaterThan(counted(before));
      await expectFiring({ before, after }, []);
    }, PATIENTLY);
  });

  it('does not add series for connections that do not exist', async () => {
    const names = Array.from({ length: UNKNOWN_CONNECTIONS }, (_, n) => `unknown-${n}`);
    const before = await scrape(operator);
    await inParallel(names, (name) =>
      work.upstream(name, {
        connectionRef: { name },
        backends: [{ serviceRef: { name: 'web', port: 80 } }],
      }),
    );
    const notFound = (of: Scrape) =>
      [...of.series].filter(([name]) => name.includes('reason="ConnectionNotFound"'));
    await eventually(async () => {
      const counts = notFound(await scrape(operator)).map(([, value]) => value);
      expect(Math.max(0, ...counts)).toBe(names.length);
    }, PATIENTLY);
    const after = await scrape(operator);
    expect([...after.series.keys()].filter((name) => name.includes('unknown-'))).toEqual([]);
    expect(notFound(after).every(([name]) => name.includes('connection=""'))).toBe(true);
    // Some conditions, the counters of a kind and one queue.
    expect(after.series.size - before.series.size).toBeLessThan(50);
    await inParallel(names, (name) => work.remove(work.upstreamPath(name)));
    await eventually(async () => expect(notFound(await scrape(operator))).toEqual([]), PATIENTLY);
  });

  it('drops the series of a deleted connection', async () => {
    const ofPassing = async () =>
      [...(await scrape(operator)).series.keys()].filter((name) => name.includes('connection="passing"'));
    await work.connection('passing', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await work.upstream('passing', {
      connectionRef: { name: 'passing' },
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await eventually(async () =>
      expect(await work.condition('passing', 'Ready')).toMatchObject({ status: 'True' }),
    );
    expect((await ofPassing()).length).toBeGreaterThan(20);
    await work.remove(work.upstreamPath('passing'));
    await work.remove(connectionPath('passing'));
    await eventually(async () => expect(await work.get(connectionPath('passing'))).toBeUndefined());
    await eventually(async () => expect(await ofPassing()).toEqual([]));
  });

  const registry = (name: string, url: string) =>
    work.create(REGISTRIES, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'ServiceRegistry',
      metadata: { name },
      spec: { type: 'Consul', consul: { servers: [url] } },
    });
  const faults: readonly {
    readonly alert: string;
    /** Causes the fault. Resolves to a function that ends it. */
    readonly make: () => Promise<() => unknown>;
  }[] = [
    {
      alert: 'UpstreamsNotReady',
      async make() {
        await work.upstream('lost', { backends: [{ serviceRef: { name: 'lost', port: 80 } }] });
        return () => work.remove(work.upstreamPath('lost'));
      },
    },
    {
      alert: 'NoReadyEndpoints',
      async make() {
        await work.service('idle');
        await work.upstream('idle', { backends: [{ serviceRef: { name: 'idle', port: 80 } }] });
        return () => work.remove(work.upstreamPath('idle'));
      },
    },
    {
      alert: 'RemovalHeld',
      async make() {
        await work.service('held');
        const endpoints = (ready: boolean) =>
          work.endpoints('held', [
            '10.2.0.1',
            { address: '10.2.0.2', ready },
            { address: '10.2.0.3', ready },
          ]);
        await endpoints(true);
        await work.upstream('held', { backends: [{ serviceRef: { name: 'held', port: 80 } }] });
        await eventually(async () => expect((await work.condition('held', 'Ready'))?.reason).toBe('Ready'));
        await endpoints(false);
        return () => work.remove(work.upstreamPath('held'));
      },
    },
    {
      alert: 'DataPlaneLagging',
      async make() {
        await work.connection('planes', {
          adminUrl: gateway.adminUrl,
          secret: 'gateway',
          extra: {
            idPrefix: 'planes.',
            apisix: {
              adminUrl: gateway.adminUrl,
              adminKeySecretRef: { name: 'gateway', key: 'admin-key' },
              controlApi: { urls: ['http://127.0.0.1:1'] },
            },
          },
        });
        return () => work.remove(connectionPath('planes'));
      },
    },
    {
      alert: 'WritesFailing',
      async make() {
        const fault = gateway.addFault({
          fault: { kind: 'answer', status: 503 },
          match: ({ method }) => method === 'PUT',
        });
        await change();
        return () => fault[Symbol.dispose]();
      },
    },
    {
      alert: 'PropagationSlow',
      async make() {
        const fault = gateway.addFault({
          fault: { kind: 'delay', delayMs: 3_000 },
          match: ({ method }) => method === 'PUT',
        });
        await change();
        return () => fault[Symbol.dispose]();
      },
    },
    {
      alert: 'RegistryUnavailable',
      async make() {
        await registry('lost', 'http://127.0.0.1:1');
        return () => work.remove(`${REGISTRIES}/lost`);
      },
    },
    {
      alert: 'RegistryUnauthorized',
      async make() {
        const server = createServer((_, response) => response.writeHead(403).end('ACL not found'));
        await once(server.listen(0, '127.0.0.1'), 'listening');
        await registry('strict', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
        return async () => {
          await work.remove(`${REGISTRIES}/strict`);
          server.closeAllConnections();
          server.close();
        };
      },
    },
    {
      alert: 'PermissionMissing',
      async make() {
        const { rules } = (await work.get(ROLE)) as {
          readonly rules: readonly { readonly resources: readonly string[] }[];
        };
        const left = rules.filter(({ resources }) => !resources.includes('events'));
        expect(left.length).toBeLessThan(rules.length);
        await work.patch(ROLE, { rules: left });
        return () => work.patch(ROLE, { rules });
      },
    },
    {
      alert: 'GatewayUnavailable',
      async make() {
        await gateway.stop();
        return () => gateway.start();
      },
    },
    {
      alert: 'GatewayUnauthorized',
      async make() {
        const key = gateway.adminKey;
        gateway.setAdminKey('another-admin-key-0123456789');
        return () => gateway.setAdminKey(key);
      },
    },
  ];

  it.each(faults)('fires only $alert for its fault', async ({ alert, make }) => {
    const before = await healthy();
    const end = await make();
    try {
      await eventually(
        async () => expectFiring({ before, after: await scrape(operator) }, [alert]),
        PATIENTLY,
      );
    } finally {
      await end();
    }
    await healthy();
  });

  it('fires only NoLeader without a Lease holder', async () => {
    const now = new Date().toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: 'gone', leaseDurationSeconds: 3600, acquireTime: now, renewTime: now };
    const leases = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    await work.create(leases, { metadata: { name: 'gateway-upstream-operator' }, spec });
    await using standby = await startOperator(cluster, namespace, token, { name: 'standby' });
    await eventually(async () => {
      await expectFiring({ before: await healthy(), after: await scrape(standby) }, ['NoLeader']);
    }, PATIENTLY);
  });

  it('shows the desired and observed state of every object at /debug/state, without secrets', async () => {
    const key = 'this-is-the-private-key';
    await writeSecret(cluster, namespace, 'client', { 'tls.crt': 'a certificate', 'tls.key': key });
    await work.connection('tls', {
      adminUrl: 'https://127.0.0.1:1',
      secret: 'gateway',
      extra: {
        apisix: {
          adminUrl: 'https://127.0.0.1:1',
          adminKeySecretRef: { name: 'gateway', key: 'admin-key' },
          tls: { clientCertificateSecretRef: { name: 'client' } },
        },
      },
    });
    const nodes = ADDRESSES.map((address) => `${address}:${port} weight 1 priority 0`);
    const text = await eventually(async () => {
      const answer = await operator.ask('/debug/state');
      const state: unknown = JSON.parse(answer.text);
      expect(state).toMatchObject({
        leader: true,
        watches: expect.arrayContaining([expect.objectContaining({ name: 'services', state: 'synced' })]),
        connections: expect.arrayContaining([
          expect.objectContaining({ name: 'default', kind: 'ready', version: '3.18.0' }),
          expect.objectContaining({ name: 'tls', conditions: expect.any(Array) }),
        ]),
        upstreams: expect.arrayContaining([
          expect.objectContaining({
            name: 'web',
            upstreamId: `${work.namespace}.web`,
            desired: { action: 'write', nodes },
            observed: { ownership: 'ours', nodes },
            change: { kind: 'none', action: 'None', changes: [], more: 0 },
            accepted: expect.objectContaining({ status: 'True' }),
          }),
        ]),
      });
      return answer.text;
    }, PATIENTLY);
    const secrets = [gateway.adminKey, key, token].flatMap((secret) => [
      secret,
      Buffer.from(secret).toString('base64'),
    ]);
    expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    expect(text).not.toMatch(/authorization|bearer|x-api-key|private key/i);
    await work.remove(connectionPath('tls'));
  });

  it('fires only WatchSilent when the API server stops', async () => {
    const before = await healthy();
    await cluster.apiserver.kill();
    const ages = ({ series }: Scrape) =>
      [...series].filter(([name]) => name.startsWith(METRICS.watchAge.name)).map(([, age]) => age);
    await eventually(async () => {
      const now = await scrape(operator);
      const later = await scrape(operator);
      expect(ages(later).every((age, index) => age > (ages(now)[index] ?? 0))).toBe(true);
      // Only the API server closes this connection.
      await expectFiring({ before, after: later, agesGrow: true }, ['WatchSilent']);
    }, PATIENTLY);
  });

  it('covers every alert', () => {
    const others = ['NotReady', 'NoLeader', 'WatchSilent'];
    const made = [...faults.map(({ alert }) => alert), ...others].map(
      (name) => `GatewayUpstreamOperator${name}`,
    );
    expect(
      alerts()
        .map(({ alert }) => alert)
        .sort(),
    ).toEqual(made.sort());
  });

  describe('alerts and dashboard', () => {
    let expressions: readonly string[];

    beforeAll(async () => {
      const dashboard = JSON.parse(await readFile(join(CHART_DIR, 'monitoring/dashboard.json'), 'utf8')) as {
        readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
      };
      const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
      expect(queries.length).toBeGreaterThan(10);
      expressions = [...queries, ...alerts().map(({ expr }) => expr)];
    });

    it('use only existing metrics', async () => {
      const { types } = await scrape(operator);
      const isThere = (name: string) =>
        types.has(name) || types.get(name.replace(/_(bucket|sum|count)$/, '')) === 'histogram';
      const named = expressions.flatMap(metricsIn);
      expect(new Set(named).size).toBeGreaterThan(10);
      expect(named.filter((name) => !isThere(name))).toEqual([]);
    });

    it('are valid PromQL', async () => {
      const rules = expressions.map((expr, index) => ({
        record: `query:${index}`,
        expr: expr.replaceAll('$__rate_interval', '5m'),
      }));
      const file = join(cluster.dir, 'queries.yaml');
      await writeFile(file, JSON.stringify({ groups: [{ name: 'queries', rules }] }));
      expect(await promtool('check', 'rules', file)).toContain(`${expressions.length} rules found`);
    });
  });
});

it('renders the alerts and the dashboard unchanged in the chart', async () => {
  const helm = createHelm(cluster);
  const of = async (template: string, values: object) =>
    parse(await helm([...templateArgs('a', 'ns'), '--show-only', `templates/${template}`], { values })) as {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: unknown;
      readonly data: Readonly<Record<string, string>>;
    };
  const rule = await of('prometheusrule.yaml', { prometheusRule: { enabled: true, labels: { team: 'a' } } });
  expect(rule.metadata.labels).toMatchObject({ team: 'a' });
  expect(rule.spec).toEqual(parse(await readFile(ALERTS_FILE, 'utf8')));
  const { metadata, data } = await of('grafana-dashboard.yaml', { grafanaDashboard: { enabled: true } });
  expect(metadata.labels).toMatchObject({ grafana_dashboard: '1' });
  expect(JSON.parse(data['gateway-upstream-operator.json'] ?? '')).toEqual(
    JSON.parse(await readFile(join(CHART_DIR, 'monitoring/dashboard.json'), 'utf8')),
  );
  await expect(of('prometheusrule.yaml', {})).rejects.toThrow('could not find template');
});
