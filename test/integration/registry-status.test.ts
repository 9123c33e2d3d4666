import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServiceRegistryStatus } from '../../src/api/service-registry.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import { ConsulServer, MANAGEMENT_TOKEN } from '../support/registries/consul-server.ts';
import { FaultProxy } from '../support/registries/fault-proxy.ts';
import { readScrape } from '../support/scrape.ts';
import { createWorkload, GROUP_PATH, type Workload, writeSecret } from '../support/workload.ts';

const REGISTRIES = `${GROUP_PATH}/serviceregistries`;
/** A registry that is not asked for anything is probed every 30 s. */
const PATIENTLY = { timeoutMs: 90_000 };
/** Long enough for writes that must not happen: counts are written after at most 10 s. */
const QUIET_MS = 15_000;

interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly message: string;
  readonly remedy?: string;
}

describe('the status of a ServiceRegistry', () => {
  let consul: ConsulServer;
  let proxy: FaultProxy;
  let cluster: ControlPlane;
  let gateway: StandIn;
  let work: Workload;
  let operator: Operator;
  let operatorNamespace: string;
  let token: string;
  let withoutRights: string;

  const secret = (value: string) => writeSecret(cluster, operatorNamespace, 'consul', { token: value });
  const register = (service: string) =>
    consul.register(service, [{ id: service, address: '10.1.0.1', port: 8080, status: 'passing' }]);
  const create = (name: string, spec: object = {}) =>
    work.create(REGISTRIES, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'ServiceRegistry',
      metadata: { name },
      spec: {
        type: 'Consul',
        consul: { servers: [proxy.url], tokenSecretRef: { name: 'consul' } },
        requestTimeout: '2s',
        allowedNamespaces: { all: true },
        ...spec,
      },
    });
  const statusOf = async (name: string) => {
    const object = await work.get(`${REGISTRIES}/${name}`);
    return (object?.['status'] ?? {}) as ServiceRegistryStatus;
  };
  const conditions = async (name: string) => {
    const { conditions: all = [] } = await statusOf(name);
    return Object.fromEntries(all.map(({ type, status, reason }) => [type, `${status}/${reason}`]));
  };
  const becomes = (name: string, wanted: Readonly<Record<string, string>>) =>
    eventually(async () => expect(await conditions(name)).toMatchObject(wanted), PATIENTLY);
  const READY = { Ready: 'True/Ready', Reachable: 'True/Reachable', Authorized: 'True/Authorized' };
  const use = (name: string, service: string) =>
    work.upstream(name, { backends: [{ registryRef: { name: 'main' }, service }] });
  const scrape = async () => readScrape((await operator.ask('/metrics')).text).series;
  const sample = async (name: string, labels: string) => {
    const found = [...(await scrape())].find(
      ([series]) => series.startsWith(`gateway_upstream_operator_${name}{`) && series.endsWith(`,${labels}}`),
    );
    return found?.[1];
  };
  const check = async () => {
    const kubeconfig = await cluster.kubeconfigFor({ name: 'check', token, namespace: operatorNamespace });
    const { stdout } = await runProgram([
      ...['check', '-o', 'json', '--namespace', operatorNamespace, '--kubeconfig', kubeconfig],
    ]);
    const { checks } = JSON.parse(stdout) as { readonly checks: readonly Finding[] };
    return checks.filter(({ name }) => name.startsWith('ServiceRegistry '));
  };

  beforeAll(async () => {
    consul = await ConsulServer.start({ acl: true });
    proxy = await FaultProxy.start(consul.url);
    const created = await consul.request('PUT', '/v1/acl/token', { Description: 'without rights' });
    withoutRights = (created as { readonly SecretID: string }).SecretID;
    cluster = await startControlPlane();
    gateway = await startStandIn();
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    await secret(MANAGEMENT_TOKEN);
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('apps'));
    await work.connection('default', {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { allowedRegistries: ['main'] },
    });
    await create('main');
    operator = await startOperator(cluster, operatorNamespace, token, {
      leaderElection: { enabled: false },
      debugState: true,
    });
    await operator.ready();
  }, 900_000);

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.close();
    await proxy?.[Symbol.asyncDispose]();
    await consul?.[Symbol.asyncDispose]();
  });

  it('is known before a GatewayUpstream uses the registry', async () => {
    await becomes('main', READY);
    expect(await statusOf('main')).toMatchObject({ version: '1.12.9', users: 0, followedServices: 0 });
    const table = await cluster.kubectl(['get', 'svcreg', 'main']);
    expect(table).toMatch(/NAME +TYPE +VERSION +SERVICES +READY +AGE/);
    expect(table).toMatch(/main +Consul +1\.12\.9 +0 +True/);
  });

  it.each<[string, () => Promise<void>, Readonly<Record<string, string>>]>([
    [
      'a token that Consul does not know',
      () => secret('another-token'),
      { Ready: 'False/Unauthorized', Reachable: 'True/Reachable', Authorized: 'False/Unauthorized' },
    ],
    [
      'no token',
      async () => {
        await work.remove(`/api/v1/namespaces/${operatorNamespace}/secrets/consul`);
      },
      { Ready: 'False/SecretNotFound', Reachable: 'Unknown/SecretNotFound' },
    ],
  ])('changes while nothing is followed: %s', async (_, fail, wanted) => {
    await fail();
    await becomes('main', wanted);
    await secret(MANAGEMENT_TOKEN);
    await becomes('main', READY);
  });

  it('changes while nothing is followed and Consul does not answer', async () => {
    const failing = proxy.fail('closes every connection');
    await becomes('main', {
      Ready: 'False/RegistryUnavailable',
      Reachable: 'False/RegistryUnavailable',
      Authorized: 'Unknown/RegistryUnavailable',
      Reconciling: 'True/RegistryUnavailable',
    });
    failing[Symbol.dispose]();
    await becomes('main', READY);
    expect(await conditions('main')).toEqual(READY);
  });

  it('counts services and users', async () => {
    await Promise.all(['web', 'api'].map(register));
    await use('one', 'web');
    await use('two', 'web');
    await use('three', 'api');
    await eventually(async () => {
      expect(await statusOf('main')).toMatchObject({
        users: 3,
        followedServices: 2,
        lastCompleteAnswerTime: expect.stringMatching(/^20\d\d-/),
      });
    }, PATIENTLY);
    await work.remove(work.upstreamPath('three'));
    await eventually(async () => {
      expect(await statusOf('main')).toMatchObject({ users: 2, followedServices: 1 });
    }, PATIENTLY);
  });

  it('is not written while nothing changes', async () => {
    const written = () => sample('status_writes_total', 'kind="ServiceRegistry",outcome="written"');
    await eventually(async () => {
      const before = await written();
      expect(before).toBeGreaterThan(0);
      const { lastCompleteAnswerTime } = await statusOf('main');
      await sleep(QUIET_MS);
      expect(await written()).toBe(before);
      expect((await statusOf('main')).lastCompleteAnswerTime).toBe(lastCompleteAnswerTime);
    }, PATIENTLY);
  });

  it.each<[Parameters<FaultProxy['fail']>[0]]>([
    ['closes every connection'],
    ['answers 500'],
    ['answers with a web page'],
    ['sends JSON of another shape'],
    ['does not answer'],
  ])('is not reachable while a followed registry %s', async (fault) => {
    const failing = proxy.fail(fault);
    await becomes('main', { Ready: 'False/RegistryUnavailable', Authorized: 'Unknown/RegistryUnavailable' });
    const [ready] = (await statusOf('main')).conditions ?? [];
    expect(ready?.message).toContain(new URL(proxy.url).host);
    failing[Symbol.dispose]();
    await becomes('main', READY);
  });

  it('is not authorized while the token may not read any followed service, which looks empty', async () => {
    await secret(withoutRights);
    await becomes('main', { Ready: 'False/Unauthorized', Reachable: 'True/Reachable' });
    const [ready] = (await statusOf('main')).conditions ?? [];
    expect(ready?.message).toMatch(/grant the token service:read and node:read/);
    await secret(MANAGEMENT_TOKEN);
    await becomes('main', READY);
  });

  it('is announced by Events, without secrets', async () => {
    const { items } = (await work.get('/apis/events.k8s.io/v1/namespaces/default/events')) as unknown as {
      readonly items: readonly {
        readonly reason: string;
        readonly regarding?: { readonly kind: string; readonly name: string };
      }[];
    };
    const reasons = items
      .filter(({ regarding }) => regarding?.kind === 'ServiceRegistry' && regarding?.name === 'main')
      .map(({ reason }) => reason);
    const announced = ['Ready', 'Unauthorized', 'SecretNotFound', 'RegistryUnavailable'];
    expect(new Set(reasons)).toEqual(new Set(announced));
    const state = (await operator.ask('/debug/state')).text;
    for (const text of [JSON.stringify(items), operator.output(), state]) {
      for (const value of [MANAGEMENT_TOKEN, withoutRights]) expect(text).not.toContain(value);
    }
  });

  it('is part of /debug/state', async () => {
    const state: unknown = JSON.parse((await operator.ask('/debug/state')).text);
    expect(state).toMatchObject({
      registries: [
        {
          name: 'main',
          type: 'Consul',
          standing: { kind: 'answering' },
          version: '1.12.9',
          services: { current: 1, waiting: 0, failing: 0, refused: 0 },
          users: 2,
        },
      ],
    });
  });

  it('has metrics, which end with the ServiceRegistry', async () => {
    await create('other');
    await becomes('other', READY);
    const seriesOf = async (name: string) =>
      [...(await scrape())].filter(([series]) => series.includes(`registry="${name}"`));
    const value = (name: string, labels = '') => sample(`registry_${name}`, `registry="main"${labels}`);
    expect(await value('requests_total')).toBeGreaterThan(5);
    expect(await value('errors_total', ',reason="Unauthorized"')).toBeGreaterThan(0);
    expect(await value('errors_total', ',reason="Filtered"')).toBeGreaterThan(0);
    expect(await value('services', ',state="current"')).toBe(1);
    expect(await value('answer_age_seconds')).toBeLessThan(120);
    expect((await seriesOf('other')).length).toBeGreaterThan(8);
    await work.remove(`${REGISTRIES}/other`);
    await eventually(async () => expect(await seriesOf('other')).toEqual([]), PATIENTLY);
  });

  it('agrees with `check`', async () => {
    expect(await check()).toEqual([
      { name: 'ServiceRegistry main, settings', ok: true, message: 'valid, and the Secrets exist' },
      {
        name: `ServiceRegistry main, server ${proxy.url}/`,
        ok: true,
        message: 'reachable, and accepts the credentials: Consul 1.12.9',
      },
    ]);
    await create('broken', { consul: { servers: ['http://127.0.0.1:1'], tokenSecretRef: { name: 'none' } } });
    await secret('another-token');
    await work.patch(`${GROUP_PATH}/gatewayconnections/default`, {
      spec: { allowedRegistries: ['main', 'typo'] },
    });
    expect((await check()).filter(({ ok }) => !ok)).toEqual([
      {
        name: 'ServiceRegistry broken, settings',
        ok: false,
        message: `Secret ${operatorNamespace}/none does not exist: create it or correct the reference`,
      },
      {
        name: `ServiceRegistry main, server ${proxy.url}/`,
        ok: false,
        message: expect.stringMatching(/rejected the token \(403\)/),
        remedy: expect.stringContaining('consul.tokenSecretRef'),
      },
      {
        name: 'ServiceRegistry typo',
        ok: false,
        message: 'it does not exist, but GatewayConnection default allows it',
        remedy: 'Create it, or correct spec.allowedRegistries of the GatewayConnection.',
      },
    ]);
    await secret(MANAGEMENT_TOKEN);
    await work.remove(`${REGISTRIES}/broken`);
  });

  it('is not needed: an operator works without the CRD and without the permission', async () => {
    await operator.stop();
    const crd = builtInCatalog.registries?.plural;
    await work.remove(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd}.gatewayupstream.dev`);
    await work.service('plain');
    await work.endpoints('plain', ['10.2.0.1']);
    await work.upstream('plain', { backends: [{ serviceRef: { name: 'plain', port: 80 } }] });
    const start = async (watchRegistries: boolean) => {
      const access = await installRbac(cluster, operatorNamespace, [], { watchRegistries });
      return await startOperator(cluster, operatorNamespace, access, {
        leaderElection: { enabled: false },
        watchRegistries,
      });
    };
    for (const watchRegistries of [true, false]) {
      await using running = await start(watchRegistries);
      await running.ready();
      await eventually(
        async () => expect((await work.condition('plain', 'Ready'))?.status).toBe('True'),
        PATIENTLY,
      );
      expect((await running.readyz()).text.includes('serviceregistries')).toBe(watchRegistries);
    }
  });
});
