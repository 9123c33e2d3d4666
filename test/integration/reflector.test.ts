import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createReflector, type ReflectorTiming } from '../../src/kube/reflector.ts';
import { createStore } from '../../src/kube/store.ts';
import { createTransport, resourcePath } from '../../src/kube/transport.ts';
import type { Stored } from '../../src/model/store-view.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { transformGatewayUpstream } from '../support/catalog.ts';
import { type ChaosProxy, startChaosProxy } from '../support/chaos-proxy.ts';
import { writeKubeconfig } from '../support/control-plane/cluster-access.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds } from '../support/operator.ts';

const GROUP = 'test.gatewayupstream.dev';
const PATIENT = { timeoutMs: 90_000 };
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
/** Short pauses, because the tests check what follows them. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 250), signal) };

let controlPlane: ControlPlane;
let proxy: ChaosProxy;

beforeAll(async () => {
  controlPlane = await startControlPlane();
  proxy = await startChaosProxy({ target: { port: Number(new URL(controlPlane.server).port) } });
});

afterAll(async () => {
  await proxy?.close();
  await controlPlane?.close();
});

function transform(raw: unknown): Stored {
  const { metadata } = raw as { readonly metadata: Partial<Stored> };
  const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata;
  return { namespace, name, uid, resourceVersion };
}

/** A reflector behind the proxy, with all events that it emits. */
async function follow(
  path: string,
  options: {
    readonly token?: string;
    readonly timing?: Partial<ReflectorTiming>;
    /** Added to the version of the first list. */
    readonly ahead?: number;
    readonly transform?: (raw: unknown) => Stored | undefined;
  } = {},
) {
  const file = `${controlPlane.dir}/reflector-${crypto.randomUUID()}`;
  const { caPem, adminToken } = controlPlane;
  const user = { name: 'reflector', token: options.token ?? adminToken };
  await writeKubeconfig(file, { server: `https://127.0.0.1:${proxy.port}`, caPem, user });
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(file);
  const transport = createTransport({ kubeConfig, userAgent: 'tests' });
  let lists = 0;
  const reportError = (error: unknown) => expect.unreachable(String(error));
  const store = createStore<Stored>({ indexes: {}, reportError });
  const events: string[] = [];
  store.onChange(({ previous, current }) => {
    if (previous === undefined) events.push(`+${current?.name}`);
    else events.push(current === undefined ? `-${previous.name}` : `~${current.name}`);
  });
  const states: string[] = [];
  store.onState(({ state }) => states.push(state));
  const reflector = createReflector<Stored>({
    name: path,
    transport: {
      ...transport,
      async get(...request) {
        lists += 1;
        const isFirst = lists === 1;
        const page = (await transport.get(...request)) as { readonly metadata: Partial<Stored> };
        if (!isFirst || options.ahead === undefined) return page;
        const resourceVersion = String(Number(page.metadata.resourceVersion) + options.ahead);
        return { ...page, metadata: { ...page.metadata, resourceVersion } };
      },
    },
    paths: [path],
    query: {},
    transform: options.transform ?? transform,
    reportError,
    store,
    clock: hasty,
    random: Math.random,
    log: silent,
    ...(options.timing === undefined ? {} : { timing: options.timing }),
  });
  const stop = new AbortController();
  const running = reflector.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
    transport.close();
  };
  onTestFinished(end);
  const synced = () => eventually(() => expect(store.state.state).toBe('synced'), PATIENT);
  return { store, events, states, reflector, synced, end, lists: () => lists };
}

const configMaps = (namespace: string) =>
  resourcePath({ group: '', version: 'v1', plural: 'configmaps', namespace });

async function create(path: string, body: object | string): Promise<void> {
  // The API server rejects some requests immediately after a restart.
  await eventually(async () => {
    const { status } = await controlPlane.request('POST', path, body);
    expect([201, 409]).toContain(status);
  }, PATIENT);
}

const createConfigMap = (namespace: string, name: string) =>
  create(configMaps(namespace), { metadata: { name } });

async function remove(path: string): Promise<void> {
  expect((await controlPlane.request('DELETE', path)).status).toBe(200);
}

async function installCrd(plural: string): Promise<string> {
  const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  await create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: { plural, singular: plural, kind: plural, listKind: `${plural}list` },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  });
  return resourcePath({ group: GROUP, version: 'v1', plural });
}

async function createCustom(plural: string, name: string): Promise<void> {
  const path = resourcePath({ group: GROUP, version: 'v1', plural, namespace: 'default' });
  await create(path, { apiVersion: `${GROUP}/v1`, kind: plural, metadata: { name } });
}

describe('a reflector with a real API server', () => {
  it('lists 1,200 objects in three pages and follows their changes', async () => {
    const namespace = await controlPlane.newNamespace('pages');
    // Wait for the ConfigMap that the controller manager creates in every namespace.
    await eventually(async () => {
      const { body } = await controlPlane.request('GET', configMaps(namespace));
      expect((body as { readonly items: readonly unknown[] }).items.length).toBe(1);
    });
    for (let block = 0; block < 1199; block += 100) {
      const names = Array.from({ length: Math.min(100, 1199 - block) }, (_, at) => `c${block + at}`);
      await Promise.all(names.map((name) => createConfigMap(namespace, name)));
    }
    const run = await follow(configMaps(namespace));
    await run.synced();
    expect(run.store.size).toBe(1200);
    expect(run.lists()).toBe(3);
    run.events.length = 0;
    await createConfigMap(namespace, 'late');
    await controlPlane.request('PATCH', `${configMaps(namespace)}/late`, { data: { a: 'b' } });
    await remove(`${configMaps(namespace)}/late`);
    await eventually(() => expect(run.events).toEqual(['+late', '~late', '-late']));
    expect(run.lists()).toBe(3);
  });

  it('continues after the API server was killed and restarted, and reports no object as removed', async () => {
    const namespace = await controlPlane.newNamespace('killed');
    const customPath = await installCrd('survivors');
    await eventually(() => createCustom('survivors', 'before'));
    await createConfigMap(namespace, 'before');
    const runs = [await follow(configMaps(namespace)), await follow(customPath)];
    for (const run of runs) {
      await run.synced();
      await eventually(() =>
        expect(run.store.get(run === runs[0] ? namespace : 'default', 'before')).toBeDefined(),
      );
    }
    await controlPlane.apiserver.kill();
    for (const run of runs) {
      await eventually(() => expect(run.reflector.health().lastError).toBeDefined(), PATIENT);
      expect(run.reflector.health().state).toBe('synced');
    }
    await controlPlane.apiserver.start();
    await createConfigMap(namespace, 'after');
    await createCustom('survivors', 'after');
    for (const run of runs) {
      await eventually(() => expect(run.events).toContain('+after'), PATIENT);
      expect(run.events.filter((event) => event.startsWith('-'))).toEqual([]);
      expect(run.states.filter((state) => state !== 'synced')).toEqual([]);
      expect(run.reflector.health().lastError).toBeUndefined();
    }
  });

  it('continues after all connections are reset and new ones are refused for a while', async () => {
    const namespace = await controlPlane.newNamespace('cut');
    const run = await follow(configMaps(namespace));
    await run.synced();
    proxy.setMode('refuse');
    onTestFinished(() => proxy.setMode('pass'));
    proxy.cutAll();
    await createConfigMap(namespace, 'meanwhile');
    await eventually(() => expect(run.reflector.health().lastError).toBeDefined(), PATIENT);
    proxy.setMode('pass');
    await eventually(() => expect(run.events).toContain('+meanwhile'), PATIENT);
    expect(run.events.filter((event) => event.startsWith('-'))).toEqual([]);
  });

  it('detects a connection that drops all data', async () => {
    const namespace = await controlPlane.newNamespace('swallowed');
    const run = await follow(configMaps(namespace), { timing: { idleTimeoutMs: 2000 } });
    await run.synced();
    proxy.setMode('swallow');
    onTestFinished(() => proxy.setMode('pass'));
    await createConfigMap(namespace, 'meanwhile');
    await eventually(() => expect(run.reflector.health().lastError).toContain('received no data'), PATIENT);
    expect(run.events).not.toContain('+meanwhile');
    proxy.setMode('pass');
    await eventually(() => expect(run.events).toContain('+meanwhile'), PATIENT);
  });

  it('recovers from a future resource version, to which the API server does not respond', async () => {
    const namespace = await controlPlane.newNamespace('future');
    const run = await follow(configMaps(namespace), { ahead: 1_000_000, timing: { idleTimeoutMs: 2000 } });
    await run.synced();
    await createConfigMap(namespace, 'meanwhile');
    await eventually(() => expect(run.events).toContain('+meanwhile'), PATIENT);
    expect(run.lists()).toBeGreaterThan(1);
    expect(run.events.filter((event) => event.startsWith('-'))).toEqual([]);
  });

  it('is absent before the kind is served, and after it is no longer served', async () => {
    const path = resourcePath({ group: GROUP, version: 'v1', plural: 'visitors' });
    const run = await follow(path);
    await eventually(() => expect(run.states).toEqual(['absent']));
    await installCrd('visitors');
    await run.synced();
    await eventually(() => createCustom('visitors', 'guest'));
    await eventually(() => expect(run.events).toEqual(['+guest']));
    await remove(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/visitors.${GROUP}`);
    await eventually(() => expect(run.states).toEqual(['absent', 'synced', 'absent']), PATIENT);
    expect(run.events).toEqual(['+guest', '-guest']);
    expect(run.store.size).toBe(0);
  });

  it('keeps its objects while its permissions are missing, and continues when they are restored', async () => {
    const namespace = await controlPlane.newNamespace('rights', { awaitServiceAccount: true });
    const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
    await create(`${rbac}/roles`, {
      metadata: { name: 'reader' },
      rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['list', 'watch'] }],
    });
    const grant = () =>
      create(`${rbac}/rolebindings`, {
        metadata: { name: 'reader' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
        subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
      });
    const token = (await controlPlane.kubectl(['-n', namespace, 'create', 'token', 'default'])).trim();
    const run = await follow(configMaps(namespace), { token });
    await eventually(() => {
      expect(run.store.state).toMatchObject({ state: 'syncing', problem: expect.stringContaining('403') });
    });
    await createConfigMap(namespace, 'first');
    await grant();
    await run.synced();
    await remove(`${rbac}/rolebindings/reader`);
    // An open watch continues without the permission. Only the next request is rejected.
    await eventually(() => {
      proxy.cutAll();
      expect(run.reflector.health().lastError).toContain('403');
    }, PATIENT);
    await createConfigMap(namespace, 'second');
    expect(run.reflector.health().state).toBe('synced');
    expect(run.store.get(namespace, 'first')).toBeDefined();
    await grant();
    await eventually(() => expect(run.events).toContain('+second'), PATIENT);
    expect(run.events.filter((event) => event.startsWith('-'))).toEqual([]);
  });

  it('lists and watches other objects if one object is nested 9,000 levels deep', async () => {
    await installCrds(controlPlane);
    const namespace = await controlPlane.newNamespace('deep');
    const path = resourcePath({
      group: 'gatewayupstream.dev',
      version: 'v1alpha1',
      plural: 'gatewayupstreams',
    });
    const upstream = (name: string, overrides: string) =>
      create(
        path.replace('gatewayupstreams', `namespaces/${namespace}/gatewayupstreams`),
        // As text, because JSON.stringify does not support the depth that the API server accepts.
        `{"apiVersion": "gatewayupstream.dev/v1alpha1", "kind": "GatewayUpstream", "metadata": {"name": "${name}"},
          "spec": {"backends": [{"serviceRef": {"name": "web", "port": 80}}], "apisix": {"overrides": ${overrides}}}}`,
      );
    // The API server accepts it, because neither a schema nor CEL can limit the depth.
    await upstream('deep', `{"x": ${'['.repeat(9000)}${']'.repeat(9000)}}`);
    const run = await follow(path, { transform: transformGatewayUpstream, timing: { relistMs: 300 } });
    await run.synced();
    await eventually(() => expect(run.lists()).toBeGreaterThan(2));
    await upstream('later', '{}');
    await eventually(() => expect(run.events).toEqual(['+deep', '+later']));
    expect(run.store.get(namespace, 'deep')).toMatchObject({
      spec: { ok: false, message: expect.stringContaining('16 levels deep') },
    });
    expect(run.reflector.health()).toMatchObject({ state: 'synced', lastError: undefined });
  });

  it('has no connection and emits no event after it is stopped', async () => {
    const namespace = await controlPlane.newNamespace('stopped');
    const stopped = await follow(configMaps(namespace));
    await stopped.synced();
    await stopped.end();
    await eventually(() => expect(proxy.connections()).toBe(0));
    const before = [...stopped.events];
    const witness = await follow(configMaps(namespace));
    await witness.synced();
    await createConfigMap(namespace, 'late');
    await eventually(() => expect(witness.events).toContain('+late'));
    expect(stopped.events).toEqual(before);
  });
});
