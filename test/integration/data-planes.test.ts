import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, type StandInDataPlane, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import {
  conditionOf,
  connectionPath,
  createWorkload,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

const REFUSED =
  'refused the connection: set apisix.enable_control to true, and set apisix.control.ip (by default 127.0.0.1) to an address that the operator can reach';
const SETTLED = { total: 2, current: 2 };

describe('data planes', () => {
  let cluster: ControlPlane;
  let namespace: string;
  let kubeconfig: string;
  let operator: Operator;
  let gateway: StandIn;
  let second: StandInDataPlane;
  let work: Workload;

  const statusAt = async (path: string) => {
    const { status } = ((await work.get(path)) ?? {}) as {
      readonly status?: { readonly dataPlanes?: unknown };
    };
    return status?.dataPlanes;
  };
  const upstreamPlanes = (name: string) => statusAt(work.upstreamPath(name));
  const connectionPlanes = () => statusAt(connectionPath('default'));
  const program = async (name: string, addresses: readonly string[]) => {
    await work.service(name);
    await work.endpoints(name, addresses);
    await work.upstream(name, { backends: [{ serviceRef: { name, port: 80 } }] });
  };
  /** Condition transitions and Events, which show whether a condition flapped. */
  const traces = async (name: string) => {
    const object = await work.get(work.upstreamPath(name));
    const { conditions } = (object?.['status'] ?? {}) as { readonly conditions?: readonly object[] };
    const events = await cluster.kubectl([
      ...['-n', work.namespace, 'get', 'events', '-o', 'jsonpath={.items[*].metadata.name}'],
      ...['--field-selector', `involvedObject.name=${name}`],
    ]);
    return { conditions, events };
  };

  beforeAll(async () => {
    cluster = await startControlPlane();
    await installCrds(cluster);
    namespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, namespace);
    kubeconfig = await cluster.kubeconfigFor({ name: 'check', token, namespace });
    gateway = await startStandIn();
    second = await gateway.addDataPlane();
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    await cluster.request('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
    work = createWorkload(cluster, 'shop');
    const { adminUrl, controlUrl } = gateway;
    await work.connection('default', {
      adminUrl,
      secret: 'gateway',
      extra: {
        apisix: {
          adminUrl,
          adminKeySecretRef: { name: 'gateway', key: 'admin-key' },
          controlApi: { urls: [controlUrl, second.controlUrl] },
        },
        addresses: { allow: ['255.255.255.255/32'] },
      },
    });
    operator = await startOperator(cluster, namespace, token, {
      resyncInterval: '15s',
      // The operator retries a lagging data plane after 30 s, and writes counts after 10 s.
      clockRate: 5,
    });
    await operator.ready();
    await program('web', ['10.0.0.1']);
    await eventually(async () => expect(await upstreamPlanes('web')).toEqual(SETTLED));
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.close();
  });

  it('are counted in the status of upstream and connection, and in check', async () => {
    await eventually(async () => expect(await connectionPlanes()).toEqual({ total: 2, reachable: 2 }));
    const { stdout } = await runProgram(['check', '--namespace', namespace, '--kubeconfig', kubeconfig]);
    for (const { controlUrl } of gateway.dataPlanes) {
      expect(stdout).toContain(
        `ok    GatewayConnection default, data plane ${controlUrl}: Control API reachable\n`,
      );
    }
  });

  it('appear in the output of the commands in docs/data-planes.md', async () => {
    const output = ['-o', 'jsonpath={.status.dataPlanes}'];
    const ofUpstream = await cluster.kubectl(['get', 'gatewayupstream', 'web', '-n', 'shop', ...output]);
    expect(JSON.parse(ofUpstream)).toEqual(SETTLED);
    const ofConnection = await cluster.kubectl(['get', 'gatewayconnection', 'default', ...output]);
    expect(JSON.parse(ofConnection)).toEqual({ total: 2, reachable: 2 });
  });

  it('do not lag after they have served a request', async () => {
    // A connection to this address does not leave the machine.
    await program('used', ['255.255.255.255']);
    await eventually(async () => expect(await upstreamPlanes('used')).toEqual(SETTLED));
    gateway.put('routes', 'used', { uri: '/used', upstream_id: 'shop.used' });
    for (const { proxyUrl, controlUrl } of gateway.dataPlanes) {
      expect((await fetch(`${proxyUrl}/used`)).status).toBe(502);
      const shown = await (await fetch(`${controlUrl}/v1/upstream/shop.used`)).json();
      expect(shown).toMatchObject({ value: { nodes: [{ upstream_host: '255.255.255.255:8080' }] } });
    }
    const asks = () => second.requests.filter((request) => request === 'GET /v1/upstream/shop.used').length;
    const before = asks();
    await eventually(() => expect(asks()).toBeGreaterThan(before + 1));
    const { text } = await operator.ask('/metrics');
    expect(text).toContain('gateway_upstream_operator_data_planes_lagging{connection="default"} 0\n');
    expect(await upstreamPlanes('used')).toEqual(SETTLED);
    gateway.remove('routes', 'used');
    await work.remove(work.upstreamPath('used'));
    await eventually(async () => expect(await work.get(work.upstreamPath('used'))).toBeUndefined());
  });

  it('are named while they lag, without a condition change, and recover', async () => {
    const before = await traces('web');
    expect(conditionOf(await work.get(work.upstreamPath('web')), 'Ready')?.status).toBe('True');
    second.hold();
    await work.endpoints('web', ['10.0.0.1', '10.0.0.2']);
    await program('fresh', ['10.0.0.3']);
    const lagging = (reason: string) => ({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: second.controlUrl, reason }],
    });
    await eventually(async () => expect(await upstreamPlanes('web')).toEqual(lagging('OlderContent')));
    await eventually(async () => expect(await upstreamPlanes('fresh')).toEqual(lagging('Missing')));
    expect(await traces('web')).toEqual(before);
    expect(await connectionPlanes()).toEqual({ total: 2, reachable: 2 });
    second.release();
    await eventually(async () => expect(await upstreamPlanes('web')).toEqual(SETTLED));
    await eventually(async () => expect(await upstreamPlanes('fresh')).toEqual(SETTLED));
    expect(await traces('web')).toEqual(before);
  });

  it('are named with the reason while they are unreachable, without delaying writes', async () => {
    const before = await traces('web');
    const writes = gateway.requests.length;
    await second.stop();
    await work.endpoints('web', ['10.0.0.4']);
    await eventually(() =>
      expect(gateway.requests.slice(writes).some(({ method }) => method === 'PUT')).toBe(true),
    );
    await eventually(async () =>
      expect(await upstreamPlanes('web')).toEqual({
        total: 2,
        current: 1,
        lagging: [{ dataPlane: second.controlUrl, reason: 'Unreachable' }],
      }),
    );
    await eventually(async () =>
      expect(await connectionPlanes()).toEqual({
        total: 2,
        reachable: 1,
        unreachable: [{ dataPlane: second.controlUrl, message: REFUSED }],
      }),
    );
    expect(conditionOf(await work.get(connectionPath('default')), 'Ready')?.status).toBe('True');
    expect(await traces('web')).toEqual(before);
    const { code, stdout } = await runProgram([
      'check',
      '--namespace',
      namespace,
      '--kubeconfig',
      kubeconfig,
    ]);
    expect(code).toBe(1);
    const [what, remedy = ''] = REFUSED.split(': ');
    expect(stdout).toContain(
      `FAIL  GatewayConnection default, data plane ${second.controlUrl}: ${what}. Remedy: S${remedy.slice(1)}.\n`,
    );
    await second.start();
    await eventually(async () => expect(await upstreamPlanes('web')).toEqual(SETTLED));
    await eventually(async () => expect(await connectionPlanes()).toEqual({ total: 2, reachable: 2 }));
  });

  it('receive no request for a deleted upstream', async () => {
    await work.remove(work.upstreamPath('fresh'));
    await eventually(() => expect(gateway.ids('upstreams')).toEqual(['shop.web']));
    await eventually(async () => expect(await work.get(work.upstreamPath('fresh'))).toBeUndefined());
    const asked = second.requests.length;
    await work.endpoints('web', ['10.0.0.5']);
    await eventually(() => expect(second.requests.slice(asked)).toContain('GET /v1/upstream/shop.web'));
    expect(second.requests.slice(asked).filter((request) => request.includes('fresh'))).toEqual([]);
  });

  it('follow the endpoints of controlApi.serviceRef', async () => {
    const control = { name: 'control', namespace: work.namespace, port: 'http' };
    const follow = (serviceRef: object) =>
      work.patch(connectionPath('default'), {
        spec: { apisix: { controlApi: { urls: null, serviceRef } } },
      });
    await follow(control);
    await eventually(async () =>
      expect(await connectionPlanes()).toEqual({
        total: 0,
        reachable: 0,
        message:
          'spec.apisix.controlApi.serviceRef: Service shop/control does not exist: create it or correct the reference',
      }),
    );
    await work.service('control');
    // Addresses that are valid in a slice and do not leave the machine.
    await work.endpoints(
      'control',
      ['239.255.0.1', '239.255.0.2', { address: '239.255.0.3', ready: false }],
      9090,
    );
    const named = async () =>
      (
        (await connectionPlanes()) as { readonly unreachable?: readonly { readonly dataPlane: string }[] }
      ).unreachable?.map(({ dataPlane }) => dataPlane) ?? [];
    await eventually(async () =>
      expect(await named()).toEqual(['http://239.255.0.1:9090', 'http://239.255.0.2:9090']),
    );
    await eventually(async () => expect(await upstreamPlanes('web')).toMatchObject({ total: 2, current: 0 }));
    await work.endpoints('control', ['239.255.0.2'], 9090);
    await eventually(async () => expect(await named()).toEqual(['http://239.255.0.2:9090']));
    await eventually(async () => expect(await upstreamPlanes('web')).toMatchObject({ total: 1 }));
    const { stdout } = await runProgram(['check', '--namespace', namespace, '--kubeconfig', kubeconfig]);
    expect(stdout).toContain('FAIL  GatewayConnection default, data plane http://239.255.0.2:9090: ');
    await follow({ ...control, name: 'nothing' });
    await eventually(async () => expect(await connectionPlanes()).toMatchObject({ total: 0 }));
    const { stdout: missing } = await runProgram([
      'check',
      '--namespace',
      namespace,
      '--kubeconfig',
      kubeconfig,
    ]);
    expect(missing).toContain(
      'FAIL  GatewayConnection default, data planes: Service shop/nothing does not exist: create it or correct the reference\n',
    );
  });

  it('disappear from status when the connection removes controlApi', async () => {
    await work.patch(connectionPath('default'), { spec: { apisix: { controlApi: null } } });
    await eventually(async () => expect(await connectionPlanes()).toBeUndefined());
    await eventually(async () => expect(await upstreamPlanes('web')).toBeUndefined());
    expect(conditionOf(await work.get(work.upstreamPath('web')), 'Ready')?.status).toBe('True');
  });
});
