import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GatewayUpstreamStatus } from '../../src/api/gateway-upstream-status.ts';
import { UPSTREAM_FINALIZER } from '../../src/api/group.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import type { Stores } from '../../src/cli/plan/kinds.ts';
import { parseDocuments } from '../../src/cli/plan/read-files.ts';
import type { Store } from '../../src/kube/store.ts';
import type { GatewayUpstream } from '../../src/model/objects.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { admit, storesOf } from '../support/catalog.ts';
import { type RunningController, runController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts';
import { DOWN, ScriptedRegistry, UNSEEN } from '../support/scripted-registry.ts';

/** The operator restarts while the gateway keeps its content: a new controller, with the status that the old one wrote. */

const NOW = Date.parse('2026-01-01T12:00:00Z');
const MARK = 'gatewayupstream.dev/backend';

interface AdminNode {
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

class Scene implements AsyncDisposable {
  readonly gateway: StandIn;
  readonly clock: FakeClock;
  registry = new ScriptedRegistry();
  controller: RunningController | undefined;
  #status: GatewayUpstreamStatus | undefined;
  #pods: readonly string[] = ['10.0.0.1'];
  #stores: Stores | undefined;

  private constructor(gateway: StandIn) {
    this.gateway = gateway;
    this.clock = createFakeClock(NOW);
  }

  static async create(): Promise<Scene> {
    return new Scene(await startStandIn({ now: () => NOW / 1000 }));
  }

  /** Starts the operator. The registry answers nothing before the test makes it. */
  start(backends: string, fields = '', connection = ''): void {
    const yaml = `
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayConnection
metadata: {name: default}
spec:
  type: APISIX
  apisix: {adminUrl: '${this.gateway.adminUrl}', adminKeySecretRef: {name: apisix-admin}}
  allowedNamespaces: {all: true}
  allowedRegistries: [vms]
  ${connection}
  tenantPolicy: {adoption: Allow, staticAddresses: Allow, upstreamIds: Any}
---
apiVersion: v1
kind: Secret
metadata: {name: apisix-admin, namespace: gateway-upstream-operator}
stringData: {admin-key: '${this.gateway.adminKey}'}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayUpstream
metadata: {name: web, namespace: shop, generation: 1, finalizers: ['${UPSTREAM_FINALIZER}']}
spec:
  backends: ${backends}
${fields}
${this.#status === undefined ? '' : `status: ${JSON.stringify(this.#status)}`}`;
    const stores = storesOf(admit(parseDocuments(yaml, 'scene'), NOW).objects, []);
    this.#stores = stores;
    this.setPods(...this.#pods);
    this.controller = runController(stores, { clock: this.clock, registry: this.registry });
  }

  /** Changes the spec while the operator runs. */
  edit(change: (spec: { backends: { weight: number }[] }) => void): void {
    const upstreams = this.#stores?.upstreams as Store<GatewayUpstream> | undefined;
    const object = upstreams?.get('shop', 'web');
    if (upstreams === undefined || object?.spec.ok !== true) throw new Error('the operator does not run');
    const value = structuredClone(object.spec.value);
    change(value);
    const generation = object.generation + 1;
    upstreams.upsert({
      ...object,
      generation,
      resourceVersion: `edited-${generation}`,
      spec: { ...object.spec, value },
    });
  }

  /** Stops the operator. The next one knows only the gateway and the status. */
  async stop(): Promise<void> {
    this.#status = this.status();
    await this.controller?.[Symbol.asyncDispose]();
    this.controller = undefined;
    this.registry = new ScriptedRegistry();
    this.gateway.clearRequests();
  }

  setPods(...hosts: readonly string[]): void {
    this.#pods = hosts;
    if (this.#stores === undefined) return;
    const slice = builtInCatalog.followedResources.slices.transform({
      metadata: {
        name: 'web-1',
        namespace: 'shop',
        uid: 'slice',
        resourceVersion: hosts.join(),
        labels: { 'kubernetes.io/service-name': 'web' },
      },
      addressType: 'IPv4',
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
      endpoints: hosts.map((host) => ({ addresses: [host], conditions: { ready: true } })),
    });
    if (slice !== undefined) (this.#stores.slices as Store<typeof slice>).upsert(slice);
  }

  nodes(): readonly AdminNode[] | undefined {
    return this.gateway.get('upstreams', 'shop.web')?.['nodes'] as readonly AdminNode[] | undefined;
  }

  /** `host:port=weight`, in order. */
  shares(): readonly string[] | undefined {
    return this.nodes()
      ?.map(({ host, port, weight }) => `${host}:${port}=${weight}`)
      .toSorted();
  }

  get writes(): number {
    return this.gateway.requests.filter(({ method }) => method !== 'GET').length;
  }

  status(): GatewayUpstreamStatus | undefined {
    return this.controller?.statuses.get('shop/web') ?? this.#status;
  }

  condition(type: string): string | undefined {
    const found = this.status()?.conditions?.find((condition) => condition.type === type);
    return found && `${found.status}/${found.reason}`;
  }

  async settled(): Promise<void> {
    const { requests } = this.gateway;
    await eventually(async () => {
      const seen = requests.length;
      await this.clock.advance(1);
      await sleep(50);
      expect(this.controller?.isIdle()).toBe(true);
      expect(requests.length).toBe(seen);
      expect(requests.some(({ method }) => method === 'GET')).toBe(true);
    });
  }

  async expectShares(...expected: readonly string[]): Promise<void> {
    await eventually(() => expect(this.shares()).toEqual(expected));
    await this.settled();
    expect(this.shares()).toEqual(expected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.controller?.[Symbol.asyncDispose]();
    await this.gateway[Symbol.asyncDispose]();
  }
}

const VMS = '{registryRef: {name: vms}, service: web, weight: 50}';
const PODS = '{serviceRef: {name: web, port: 80}, weight: 50}';
const MIXED = `[${VMS}, ${PODS}]`;

describe('after a restart of the operator', () => {
  let scene: Scene;

  beforeEach(async () => {
    scene = await Scene.create();
  });

  afterEach(async () => {
    await scene[Symbol.asyncDispose]();
  });

  async function written(backends: string, instances: readonly string[], fields = '') {
    scene.registry.list('web', ...instances);
    scene.start(backends, fields);
    await eventually(() => expect(scene.nodes()?.length).toBeGreaterThan(0));
    await scene.settled();
  }

  it('writes nothing if all sources answer as before', async () => {
    await written(MIXED, ['10.1.0.1:80=3', '10.1.0.2:80=1']);
    await scene.stop();
    scene.registry.list('web', '10.1.0.1:80=3', '10.1.0.2:80=1');
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('Ready')).toBe('True/Ready');
  });

  it('keeps the nodes and the share of a registry that is down, and moves the other backend', async () => {
    await written(MIXED, ['10.1.0.1:80=3', '10.1.0.2:80=1']);
    expect(scene.shares()).toEqual(['10.0.0.1:8080=4', '10.1.0.1:80=3', '10.1.0.2:80=1']);
    await scene.stop();

    scene.registry.answer('web', DOWN);
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');

    scene.setPods('10.0.0.2', '10.0.0.3');
    await scene.expectShares('10.0.0.2:8080=2', '10.0.0.3:8080=2', '10.1.0.1:80=3', '10.1.0.2:80=1');
    expect(scene.writes).toBe(1);

    scene.registry.list('web', '10.1.0.2:80=1');
    await scene.expectShares('10.0.0.2:8080=1', '10.0.0.3:8080=1', '10.1.0.2:80=2');
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.writes).toBe(2);
  });

  it('moves the other backend also while the registry gives no answer at all', async () => {
    await written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.setPods('10.0.0.2');
    scene.start(MIXED);
    await scene.settled();
    await scene.clock.advance(4000);
    await scene.settled();
    expect(scene.writes).toBe(0);
    await scene.clock.advance(1001);
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
  });

  it('keeps a service without instances known, under the removal guard', async () => {
    const registryOnly = `[${VMS}]`;
    await written(registryOnly, ['10.1.0.1:80', '10.1.0.2:80']);
    await scene.stop();

    scene.registry.answer('web', UNSEEN);
    scene.start(registryOnly);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    await scene.clock.advance(89_000);
    await scene.settled();
    expect(scene.writes).toBe(0);
    await scene.clock.advance(2000);
    await scene.expectShares();
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('waits for a backend that is new in the spec', async () => {
    await written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.list('web', '10.1.0.1:80');
    scene.registry.answer('other', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(`[${VMS}, ${PODS}, {registryRef: {name: vms}, service: other}]`);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
    scene.registry.list('other', '10.2.0.1:80');
    await eventually(() => expect(scene.shares()).toHaveLength(3));
  });

  it('recognizes backends in another order and with other weights', async () => {
    await written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.start(
      '[{serviceRef: {name: web, port: 80}, weight: 1}, {registryRef: {name: vms}, service: web, weight: 3}]',
    );
    await scene.expectShares('10.0.0.1:8080=1', '10.1.0.1:80=3');
  });

  it('keeps the part of each backend of a node that two backends list', async () => {
    scene.setPods('10.1.0.1');
    const backends = `[{registryRef: {name: vms}, service: web, weight: 75}, ${PODS.replace('50', '25')}]`;
    await written(backends, ['10.1.0.1:8080', '10.1.0.2:8080']);
    expect(scene.shares()).toEqual(['10.1.0.1:8080=5', '10.1.0.2:8080=3']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.9');
    scene.start(backends);
    await scene.expectShares('10.0.0.9:8080=2', '10.1.0.1:8080=3', '10.1.0.2:8080=3');
  });

  it('writes marks again that another client removed, once the registry answers', async () => {
    await written(MIXED, ['10.1.0.1:80']);
    const marked = scene.nodes();
    expect(marked?.every(({ metadata }) => /^[0-9a-f]{8}$/.test(metadata?.[MARK] ?? ''))).toBe(true);
    await scene.stop();
    const upstream = scene.gateway.get('upstreams', 'shop.web') ?? {};
    const nodes = marked?.map(({ host, port, weight }) => ({ host, port, weight }));
    scene.gateway.put('upstreams', 'shop.web', { ...upstream, nodes });
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    scene.registry.list('web', '10.1.0.1:80');
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
    expect(scene.nodes()?.map(({ metadata }) => metadata?.[MARK])).toEqual(
      marked?.map(({ metadata }) => metadata?.[MARK]),
    );
  });

  it('drops recognized nodes that the connection no longer allows', async () => {
    await written(MIXED, ['10.1.0.1:80', '10.2.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.start(MIXED, '', 'addresses: {deny: [10.2.0.0/16]}');
    await scene.expectShares('10.0.0.1:8080=1', '10.1.0.1:80=1');
  });

  it('recognizes nodes of an upstream whose other fields another client manages', async () => {
    scene.gateway.put('upstreams', 'shop.web', { type: 'roundrobin', nodes: [] });
    await written(MIXED, ['10.1.0.1:80'], '  manage: Nodes');
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(MIXED, '  manage: Nodes');
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
  });

  it('starts at once with an unknown backend of weight 0, which has no nodes', async () => {
    const backends = `[${VMS.replace('50', '0')}, ${PODS}]`;
    await written(backends, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(backends);
    await scene.expectShares('10.0.0.2:8080=1');
  });
});

describe('after a change of the spec', () => {
  it('keeps the instances that a registry lists no more, because they do not depend on the spec', async () => {
    await using scene = await Scene.create();
    scene.registry.list('web', '10.1.0.1:80', '10.1.0.2:80');
    scene.start(MIXED);
    await scene.expectShares('10.0.0.1:8080=2', '10.1.0.1:80=1', '10.1.0.2:80=1');
    scene.edit(({ backends: [vms] }) => {
      if (vms !== undefined) vms.weight = 100;
    });
    await scene.expectShares('10.0.0.1:8080=1', '10.1.0.1:80=1', '10.1.0.2:80=1');
    scene.registry.list('web');
    await scene.settled();
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    expect(scene.shares()).toEqual(['10.0.0.1:8080=1', '10.1.0.1:80=1', '10.1.0.2:80=1']);
    scene.edit(({ backends }) => void backends.shift());
    await scene.expectShares('10.0.0.1:8080=1');
  });
});

describe('an upstream without a registry', () => {
  it('has no marks', async () => {
    await using scene = await Scene.create();
    scene.start(`[${PODS}, {addresses: [{host: 10.9.0.1, port: 80}]}]`);
    await eventually(() => expect(scene.nodes()).toHaveLength(2));
    for (const node of scene.nodes() ?? []) expect(node).not.toHaveProperty('metadata');
  });
});
