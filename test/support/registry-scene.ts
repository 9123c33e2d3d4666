import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { GatewayUpstreamStatus } from '../../src/api/gateway-upstream-status.ts';
import { UPSTREAM_FINALIZER } from '../../src/api/group.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import type { Stores } from '../../src/cli/plan/kinds.ts';
import { parseDocuments } from '../../src/cli/plan/read-files.ts';
import type { Store } from '../../src/kube/store.ts';
import type { GatewayUpstream } from '../../src/model/objects.ts';
import { type StandIn, startStandIn } from './apisix-stand-in/stand-in.ts';
import { admit, gatewayUpstreamSpec, storesOf } from './catalog.ts';
import { type RunningController, runController } from './controller.ts';
import { eventually } from './eventually.ts';
import { createFakeClock, type FakeClock } from './fake-clock.ts';
import { ScriptedRegistry } from './scripted-registry.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
export interface AdminNode {
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * The GatewayUpstream `shop/web`, whose backends are the Service `web` and services of the ServiceRegistry `vms`. The operator can
 * restart: a new controller, with the status that the old one wrote.
 */
export class RegistryScene implements AsyncDisposable {
  readonly gateway: StandIn;
  readonly clock: FakeClock;
  registry = new ScriptedRegistry();
  /** Whether nodes keep their backend marks in the gateway. Undefined: as in APISIX. */
  keepsBackendMarks: boolean | undefined;
  controller: RunningController | undefined;
  #status: GatewayUpstreamStatus | undefined;
  #pods: readonly string[] = ['10.0.0.1'];
  #stores: Stores | undefined;

  private constructor(gateway: StandIn) {
    this.gateway = gateway;
    this.clock = createFakeClock(NOW);
  }

  static async create(): Promise<RegistryScene> {
    return new RegistryScene(await startStandIn({ now: () => NOW / 1000 }));
  }

  /** Starts the operator. The registry answers nothing before the test makes it. */
  start(
    backends: string,
    fields = '',
    connection = '',
    { slices = 'synced' }: { readonly slices?: 'synced' | 'syncing' } = {},
  ): void {
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
    (stores.slices as Store<never>).setState({ state: slices });
    const { clock, registry, keepsBackendMarks } = this;
    this.controller = runController(stores, { clock, registry, keepsBackendMarks });
  }

  /** Stops the operator. The next one knows only the gateway and the status. */
  async stop(): Promise<void> {
    this.#status = this.status();
    await this.controller?.[Symbol.asyncDispose]();
    this.controller = undefined;
    this.registry = new ScriptedRegistry();
    this.gateway.clearRequests();
  }

  /** The list of EndpointSlices is complete. */
  listSlices(): void {
    (this.#stores?.slices as Store<never> | undefined)?.setState({ state: 'synced' });
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

  /** Changes `spec.backends`. */
  setBackends(backends: readonly object[]): void {
    const upstreams = this.#stores?.upstreams;
    const object = upstreams?.get('shop', 'web');
    if (upstreams === undefined || object === undefined) throw new Error('the operator has not started');
    (upstreams as Store<GatewayUpstream>).upsert({
      ...object,
      resourceVersion: `${object.resourceVersion}s`,
      generation: object.generation + 1,
      spec: { ok: true, value: gatewayUpstreamSpec.parse({ backends }) },
    });
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

  message(type: string): string | undefined {
    return this.status()?.conditions?.find((condition) => condition.type === type)?.message;
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

  /** Starts the operator with these instances of the service `web`, and waits until it has written the upstream. */
  async written(backends: string, instances: readonly string[], fields = ''): Promise<void> {
    this.registry.list('web', ...instances);
    this.start(backends, fields);
    await eventually(() => expect(this.nodes()?.length).toBeGreaterThan(0));
    await this.settled();
  }
}
