import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { codeBlockWith } from '../support/code-block.ts';
import { eventually } from '../support/eventually.ts';
import { FILES, OPERATOR_IMAGE, PREVIOUS_TAG } from './images.ts';
import { loadText, startLoad } from './load.ts';
import {
  BACKEND,
  deployBackend,
  gatewayHasPods,
  gatewayHosts,
  installed,
  NAMESPACE,
  podsOf,
  RELEASE,
  requireScene,
  rolledOut,
  type Scene,
  say,
  UPSTREAM_ID,
  uninstalled,
} from './scene.ts';

const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gatewayupstreams.gatewayupstream.dev';

describe('upgrades, rollback and uninstall on a real cluster', () => {
  let scene: Scene;
  beforeEach(async ({ skip }) => {
    scene = await requireScene(skip);
    await deployBackend(scene.cluster, 3);
    await rolledOut(scene.cluster, 'default', BACKEND);
  });
  afterEach(async () => {
    const releases = JSON.parse(await scene.helm(['list', '-a', '-n', NAMESPACE, '-o', 'json'])) as unknown[];
    if (releases.length > 0) await uninstalled(scene);
    await scene.cluster.kubectl([
      'delete',
      'gatewayupstreams',
      '--all',
      '--ignore-not-found',
      '--timeout=60s',
    ]);
    scene.gateway.remove('upstreams', UPSTREAM_ID);
  });

  it('follows every change of endpoints while the operator of the previous version is upgraded', async () => {
    const { cluster, images } = scene;
    await cluster.importImage(join(images, FILES.previous), `${OPERATOR_IMAGE}:${PREVIOUS_TAG}`);
    const chart = join(images, FILES.previousSource, 'charts/gateway-upstream-operator');
    await installed(scene, { image: { repository: OPERATOR_IMAGE, tag: PREVIOUS_TAG } }, chart);
    await gatewayHasPods(scene, 3);
    // As if the CRD were an older one.
    await withSchema(scene, (schema) => ({ ...schema, description: 'older' }));

    const load = startLoad(scene.gateway.proxyUrl, 100);
    onTestFinished(async () => void (await load.stop()));
    let upgrading = true;
    const upgrade = scene
      .shell(
        codeBlockWith('upgrade.md', 'sh', '--reset-then-reuse-values').replace(/\n$/, ' --set image.tag=\n'),
      )
      .then(() => rolledOut(cluster, NAMESPACE, RELEASE))
      .finally(() => {
        upgrading = false;
      });
    let changes = 0;
    for (const replicas of [5, 2, 6, 3, 4, 2, 5, 3, 6]) {
      await cluster.kubectl(['scale', `deployment/${BACKEND}`, `--replicas=${replicas}`]);
      await gatewayHasPods(scene, replicas);
      changes += 1;
      if (!upgrading && changes >= 3) break;
    }
    await upgrade;
    const upgraded = await load.stop();
    say(`upgrade under ${changes} changes of endpoints: ${loadText(upgraded)}`);
    expect(upgraded.failures).toEqual({});
    // The hook of the new chart has applied its CRDs.
    expect(schemaOf((await cluster.request('GET', CRD)).body)['description']).not.toBe('older');

    const loadOfRollback = startLoad(scene.gateway.proxyUrl, 100);
    onTestFinished(async () => void (await loadOfRollback.stop()));
    await scene.shell(codeBlockWith('upgrade.md', 'sh', `helm rollback ${RELEASE} -n`));
    await cluster.kubectl(['scale', `deployment/${BACKEND}`, '--replicas=3']);
    await rolledOut(cluster, NAMESPACE, RELEASE);
    await gatewayHasPods(scene, 3);
    const rolledBack = await loadOfRollback.stop();
    say(`rollback to the previous version: ${loadText(rolledBack)}`);
    expect(rolledBack.failures).toEqual({});
  });

  it('writes nothing for an object with a field of a newer version', async () => {
    await installed(scene);
    await gatewayHasPods(scene, 3);
    const { work, gateway, cluster } = scene;
    const hosts = gatewayHosts(scene);
    // As in a rollback: the older operator starts after the newer CRD and the newer field are there.
    const scale = (replicas: number) =>
      cluster.kubectl(['-n', NAMESPACE, 'scale', `deployment/${RELEASE}`, `--replicas=${replicas}`]);
    await scale(0);
    await eventually(async () => {
      const pods = await podsOf(cluster, NAMESPACE, 'app.kubernetes.io/name=gateway-upstream-operator');
      expect(pods).toEqual([]);
    });
    await withSchema(scene, (schema) => {
      const { properties } = schema as { properties: { spec: { properties: object } } };
      const spec = { ...properties.spec.properties, fieldOfANewerVersion: { type: 'string' } };
      return { ...schema, properties: { ...properties, spec: { ...properties.spec, properties: spec } } };
    });
    // Until the API server uses the new schema, it removes the field.
    await eventually(async () => {
      const spec = { fieldOfANewerVersion: 'x', retries: 7 };
      await work.patch(work.upstreamPath(BACKEND), { spec });
      expect(await work.get(work.upstreamPath(BACKEND))).toMatchObject({ spec });
    });
    gateway.clearRequests();
    await scale(2);
    await eventually(async () =>
      expect(await work.condition(BACKEND, 'Accepted')).toMatchObject({
        status: 'False',
        reason: 'InvalidSpec',
      }),
    );
    await cluster.kubectl(['scale', `deployment/${BACKEND}`, '--replicas=2']);
    await rolledOut(cluster, 'default', BACKEND);
    await delay(5_000);
    const writes = gateway.requests.filter(({ method }) => method !== 'GET');
    say(`an older operator meets newer fields: ${writes.length} writes`);
    expect(writes).toEqual([]);
    expect(gatewayHosts(scene)).toEqual(hosts);
  });

  it('is not uninstalled with policy refuse while there are GatewayUpstreams', async () => {
    await installed(scene, { uninstall: { finalizers: 'refuse' } });
    await expect(scene.helm(['uninstall', RELEASE, '-n', NAMESPACE])).rejects.toThrow(/hook|job/i);
    const log = await scene.cluster.kubectl(['-n', NAMESPACE, 'logs', `job/${RELEASE}-uninstall`]);
    expect(log).toContain('GatewayUpstream');
    await rolledOut(scene.cluster, NAMESPACE, RELEASE);
    expect(scene.gateway.get('upstreams', UPSTREAM_ID)).toBeDefined();
    // A route refers to the upstream, so the gateway would refuse its deletion.
    scene.gateway.remove('routes', 'all');
    onTestFinished(() => scene.gateway.put('routes', 'all', { uri: '/*', upstream_id: UPSTREAM_ID }));
    await scene.cluster.kubectl(['delete', `gatewayupstream/${BACKEND}`, '--timeout=60s']);
  });

  it('deletes objects and upstreams when it is uninstalled with policy delete', async () => {
    const { gateway, work, helm } = scene;
    gateway.remove('routes', 'all');
    onTestFinished(() => gateway.put('routes', 'all', { uri: '/*', upstream_id: UPSTREAM_ID }));
    await installed(scene, { uninstall: { finalizers: 'delete' } });
    expect(gateway.get('upstreams', UPSTREAM_ID)).toBeDefined();
    await helm(['uninstall', RELEASE, '-n', NAMESPACE]);
    expect(gateway.get('upstreams', UPSTREAM_ID)).toBeUndefined();
    expect(await work.get(work.upstreamPath(BACKEND))).toBeUndefined();
  });
});

type Schema = Readonly<Record<string, unknown>>;

interface Definition {
  readonly spec: { readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[] };
}

function schemaOf(definition: unknown): Schema {
  return (definition as Definition).spec.versions[0]?.schema.openAPIV3Schema ?? {};
}

async function withSchema({ cluster }: Scene, change: (schema: Schema) => Schema): Promise<void> {
  const { body } = await cluster.request('GET', CRD);
  const path = '/spec/versions/0/schema/openAPIV3Schema';
  const patch = JSON.stringify([{ op: 'replace', path, value: change(schemaOf(body)) }]);
  const options = { contentType: 'application/json-patch+json' };
  expect((await cluster.request('PATCH', CRD, patch, options)).status).toBe(200);
}
