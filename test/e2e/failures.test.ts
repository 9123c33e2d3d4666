import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type LoadResult, loadText, startLoad } from './load.ts';
import {
  BACKEND,
  deployBackend,
  gatewayHasPods,
  gatewayHosts,
  installed,
  leader,
  NAMESPACE,
  requireScene,
  rolledOut,
  type Scene,
  say,
  uninstalled,
} from './scene.ts';

const PODS = 10;
const REQUESTS_PER_SECOND = 200;

/** The table of docs/e2e.md comes from what these print. Each test leaves the scene as it found it. */
describe('failures on a real cluster', () => {
  let scene: Scene;
  beforeEach(async ({ skip }) => {
    scene = await requireScene(skip);
    await installed(scene);
    await deployBackend(scene.cluster, PODS);
    await rolledOut(scene.cluster, 'default', BACKEND);
    await gatewayHasPods(scene, PODS);
  });
  afterAll(async () => {
    if (scene !== undefined) await uninstalled(scene);
  });

  /** Counts failed requests while `happens` runs. */
  const underLoad = async (scenario: string, happens: () => Promise<void>): Promise<LoadResult> => {
    const load = startLoad(scene.gateway.proxyUrl, REQUESTS_PER_SECOND);
    onTestFinished(async () => void (await load.stop()));
    await delay(1_000);
    await happens();
    await delay(1_000);
    const result = await load.stop();
    say(`${scenario}: ${loadText(result)}`);
    expect(result.sent).toBeGreaterThan(result.due / 2);
    return result;
  };

  it('loses no request in a rollout of 10 Pods with preStop', async () => {
    const { failures } = await underLoad('rollout of 10 Pods with preStop', async () => {
      await deployBackend(scene.cluster, PODS, { version: 'with-pre-stop' });
      await rolledOut(scene.cluster, 'default', BACKEND);
      await gatewayHasPods(scene, PODS);
    });
    expect(failures).toEqual({});
  });

  it('loses some requests in a rollout of 10 Pods without preStop, and ends with the right Pods', async () => {
    await deployBackend(scene.cluster, PODS, { preStop: false, version: 'without-1' });
    await rolledOut(scene.cluster, 'default', BACKEND);
    await gatewayHasPods(scene, PODS);
    const { sent, failed } = await underLoad('rollout of 10 Pods without preStop', async () => {
      await deployBackend(scene.cluster, PODS, { preStop: false, version: 'without-2' });
      await rolledOut(scene.cluster, 'default', BACKEND);
      await gatewayHasPods(scene, PODS);
    });
    expect(failed).toBeLessThan(sent / 20);
  });

  it('has a new leader after the process of the leader was killed, and follows endpoints again', async () => {
    const before = await leader(scene);
    let takenOverMs = 0;
    const { failures } = await underLoad('leader killed', async () => {
      const killedAt = performance.now();
      // SIGKILL for the container's first process. The kubelet starts the container again in the same Pod.
      await scene.killContainer(NAMESPACE, before);
      await scene.cluster.kubectl(['scale', `deployment/${BACKEND}`, `--replicas=${PODS + 2}`]);
      await gatewayHasPods(scene, PODS + 2);
      takenOverMs = performance.now() - killedAt;
    });
    say(`leader killed: the gateway had two new Pods after ${(takenOverMs / 1000).toFixed(1)} s`);
    expect(failures).toEqual({});
  });

  it('keeps the traffic while the kubelet is stopped until the node is not ready', async () => {
    const { components } = scene.cluster;
    const hosts = gatewayHosts(scene);
    const { failures } = await underLoad('kubelet stopped until the node is not ready', async () => {
      onTestFinished(async () => void (components.kubelet.running || (await components.kubelet.start())));
      await components.kubelet.kill();
      await eventually(async () => expect(await nodeReady(scene)).not.toBe('True'), { timeoutMs: 120_000 });
      // The node controller marks all Pods as not ready.
      await eventually(async () => expect(await readyEndpoints(scene)).toBe(0), { timeoutMs: 60_000 });
      await delay(5_000);
      // The guard acts once more than half would be lost: what was removed before may be gone.
      expect(hosts).toEqual(expect.arrayContaining([...gatewayHosts(scene)]));
      expect(gatewayHosts(scene).length).toBeGreaterThanOrEqual(PODS / 2);
      await components.kubelet.start();
      await gatewayHasPods(scene, PODS);
    });
    expect(failures).toEqual({});
  });

  it('keeps the traffic while the API server is down for 20 s, and follows endpoints afterwards', async () => {
    const { apiserver } = scene.cluster.components;
    const { failures } = await underLoad('API server down for 20 s', async () => {
      await apiserver.kill();
      await delay(20_000);
      await apiserver.start();
      await scene.cluster.kubectl(['scale', `deployment/${BACKEND}`, `--replicas=${PODS - 2}`]);
      await gatewayHasPods(scene, PODS - 2);
    });
    expect(failures).toEqual({});
  });
});

async function nodeReady({ cluster }: Scene): Promise<string> {
  return await cluster.kubectl([
    'get',
    'node',
    'e2e',
    '-o',
    'jsonpath={.status.conditions[?(@.type=="Ready")].status}',
  ]);
}

async function readyEndpoints({ cluster }: Scene): Promise<number> {
  const selector = `kubernetes.io/service-name=${BACKEND}`;
  const text = await cluster.kubectl(['get', 'endpointslices', '-l', selector, '-o', 'json']);
  const { items } = JSON.parse(text) as {
    items: readonly { endpoints?: readonly { conditions: { ready?: boolean } }[] }[];
  };
  return items
    .flatMap(({ endpoints = [] }) => endpoints)
    .filter(({ conditions }) => conditions.ready === true).length;
}
