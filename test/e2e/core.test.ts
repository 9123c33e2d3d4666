import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { codeBlockWith } from '../support/code-block.ts';
import { eventually } from '../support/eventually.ts';
import { loadText, startLoad } from './load.ts';
import {
  BACKEND,
  deployBackend,
  gatewayHasPods,
  gatewayHosts,
  leader,
  NAMESPACE,
  podsOf,
  RELEASE,
  requireScene,
  rolledOut,
  type Scene,
  say,
  UPSTREAM_ID,
} from './scene.ts';

/** Each test goes on where the one before it ended. */
describe('an installation on a real cluster', () => {
  let scene: Scene;
  beforeEach(async ({ skip }) => {
    scene = await requireScene(skip);
  });

  it('becomes ready by the commands of docs/install.md, under Pod Security restricted', async () => {
    const { cluster, shell } = scene;
    await shell(codeBlockWith('install.md', 'sh', 'helm install gateway-upstream-operator'));
    await shell(codeBlockWith('install.md', 'sh', 'condition=Ready --timeout=60s gatewayconnection/default'));
    await shell(codeBlockWith('install.md', 'sh', 'kind: GatewayUpstream'));
    await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', `gatewayupstream/${BACKEND}`]);
    await gatewayHasPods(scene, 3);
    // Without a security context a Pod is less than `restricted`.
    const unrestricted = ['run', 'unrestricted', '--image=e2e.test/backend:1'];
    await expect(cluster.kubectl(['-n', NAMESPACE, ...unrestricted])).rejects.toThrow('restricted:latest');
  });

  it('runs two replicas as user 65532 with the program on the PATH', async () => {
    const { cluster } = scene;
    await rolledOut(cluster, NAMESPACE, RELEASE);
    const pods = await podsOf(cluster, NAMESPACE, 'app.kubernetes.io/name=gateway-upstream-operator');
    expect(pods.filter(({ ready }) => ready)).toHaveLength(2);
    const inPod = (...words: string[]) =>
      cluster.kubectl(['-n', NAMESPACE, 'exec', `deploy/${RELEASE}`, '--', ...words]);
    expect(await inPod('id', '-u')).toBe('65532\n');
    expect(await inPod('gateway-upstream-operator', '--version')).toBe(`${manifest.version}\n`);
    const config = '/etc/gateway-upstream-operator/config.yaml';
    expect(await inPod('gateway-upstream-operator', 'check', '--config', config)).toContain('default');
    await expect(inPod('sh', '-c', 'echo > /app/written')).rejects.toThrow('Read-only file system');
  });

  it.each([3, 10, 0, 3])('gives the gateway exactly the Pods of %i replicas', async (replicas) => {
    await scene.cluster.kubectl(['scale', `deployment/${BACKEND}`, `--replicas=${replicas}`]);
    await gatewayHasPods(scene, replicas);
  });

  it('loses no request in a rollout with preStop', async () => {
    const load = startLoad(scene.gateway.proxyUrl, 100);
    onTestFinished(async () => void (await load.stop()));
    await deployBackend(scene.cluster, 3, { version: '2' });
    await rolledOut(scene.cluster, 'default', BACKEND);
    await gatewayHasPods(scene, 3);
    const result = await load.stop();
    say(`rollout of 3 Pods with preStop: ${loadText(result)}`);
    expect(result.failures).toEqual({});
    expect(result.sent).toBeGreaterThan(result.due / 2);
  });

  it('follows endpoints on while the Pod of the leader is deleted', async () => {
    const before = await leader(scene);
    const load = startLoad(scene.gateway.proxyUrl, 100);
    onTestFinished(async () => void (await load.stop()));
    await scene.cluster.kubectl(['-n', NAMESPACE, 'delete', 'pod', before, '--wait=false']);
    await scene.cluster.kubectl(['scale', `deployment/${BACKEND}`, '--replicas=5']);
    await eventually(async () => expect(['', before]).not.toContain(await leader(scene)));
    await gatewayHasPods(scene, 5);
    const result = await load.stop();
    say(`leader Pod deleted: ${loadText(result)}`);
    expect(result.failures).toEqual({});
    expect(result.sent).toBeGreaterThan(result.due / 2);
  });

  it('stays within a quarter of the memory limit of the chart', async () => {
    const { cluster } = scene;
    await rolledOut(cluster, NAMESPACE, RELEASE);
    const used = await eventually(async () => {
      const { body } = await cluster.request('GET', '/api/v1/nodes/e2e/proxy/stats/summary');
      const { pods } = body as Summary;
      const ours = pods.filter(({ podRef }) => podRef.name.startsWith(RELEASE));
      expect(ours.length).toBeGreaterThanOrEqual(2);
      return ours.map(({ podRef, memory }) => {
        expect(memory?.workingSetBytes, podRef.name).toBeGreaterThan(0);
        return Number(memory?.workingSetBytes) / 2 ** 20;
      });
    });
    say(
      `memory of the Pods: ${used.map((mebibytes) => `${mebibytes.toFixed(0)} MiB`).join(', ')} of 512 MiB`,
    );
    expect(Math.max(...used)).toBeLessThan(128);
  });

  it('leaves upstreams and no Pods when it is uninstalled by the command of docs/upgrade.md', async () => {
    const { cluster, gateway, shell, work } = scene;
    const hosts = gatewayHosts(scene);
    expect(hosts).toHaveLength(5);
    await shell(codeBlockWith('upgrade.md', 'sh', 'helm uninstall gateway-upstream-operator'));
    await eventually(async () => {
      const pods = await podsOf(cluster, NAMESPACE, 'app.kubernetes.io/name=gateway-upstream-operator');
      expect(pods).toEqual([]);
    });
    expect(gateway.get('upstreams', UPSTREAM_ID)).toBeDefined();
    expect(gatewayHosts(scene)).toEqual(hosts);
    expect(await work.get(work.upstreamPath(BACKEND))).toMatchObject({
      metadata: expect.not.objectContaining({ finalizers: expect.anything() }),
    });
    const answer = await fetch(gateway.proxyUrl);
    expect(answer.status).toBe(200);
  });
});

interface Summary {
  readonly pods: readonly {
    readonly podRef: { readonly name: string };
    readonly memory?: { readonly workingSetBytes?: number };
  }[];
}
