import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UPSTREAM_FINALIZER } from '../../src/api/group.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import type { Stores } from '../../src/cli/plan/kinds.ts';
import { parseDocuments } from '../../src/cli/plan/read-files.ts';
import { transformNamespace } from '../../src/kube/objects.ts';
import type { Store } from '../../src/kube/store.ts';
import type { GatewayConnection, NamespaceStored, ServiceRegistry } from '../../src/model/objects.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { admit, storesOf, transformGatewayConnection } from '../support/catalog.ts';
import { type RunningController, runController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts';
import { DOWN, NOT_ALLOWED, ScriptedRegistry } from '../support/scripted-registry.ts';

/** The platform team changes what a namespace may use while the operator runs. */

const NOW = Date.parse('2026-01-01T12:00:00Z');
const VMS = ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80'] as const;

class Scene implements AsyncDisposable {
  readonly gateway: StandIn;
  readonly registry = new ScriptedRegistry();
  readonly clock: FakeClock = createFakeClock(NOW);
  readonly #stores: Stores;
  readonly #controller: RunningController;
  /** Of the last change. */
  #generation = 1;

  private constructor(gateway: StandIn) {
    this.gateway = gateway;
    const yaml = `
apiVersion: v1
kind: Secret
metadata: {name: apisix-admin, namespace: gateway-upstream-operator}
stringData: {admin-key: '${gateway.adminKey}'}
---
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayConnection
metadata: {name: default}
spec: ${JSON.stringify(this.#connectionSpec({}))}
---
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayUpstream
metadata: {name: web, namespace: shop, generation: 1, finalizers: ['${UPSTREAM_FINALIZER}']}
spec:
  backends:
    - {registryRef: {name: vms}, service: web, weight: 9}
    - {addresses: [{host: 192.0.2.1, port: 80}], weight: 1}`;
    this.#stores = storesOf(admit(parseDocuments(yaml, 'scene'), NOW).objects, []);
    this.#controller = runController(this.#stores, { clock: this.clock, registry: this.registry });
  }

  static async start(): Promise<Scene> {
    const scene = new Scene(await startStandIn({ now: () => NOW / 1000 }));
    scene.registry.list('web', ...VMS);
    await scene.has(...VMS, '192.0.2.1:80');
    return scene;
  }

  #connectionSpec(fields: object): object {
    return {
      type: 'APISIX',
      apisix: { adminUrl: this.gateway.adminUrl, adminKeySecretRef: { name: 'apisix-admin' } },
      allowedNamespaces: { all: true },
      allowedRegistries: ['vms'],
      tenantPolicy: { staticAddresses: 'Allow' },
      ...fields,
    };
  }

  #nextVersion() {
    this.#generation += 1;
    return { resourceVersion: `${this.#generation}`, generation: this.#generation };
  }

  changeConnection(fields: object): void {
    const changed = transformGatewayConnection({
      metadata: { name: 'default', uid: 'default-uid', ...this.#nextVersion() },
      spec: this.#connectionSpec(fields),
    });
    if (changed === undefined) throw new Error('not a GatewayConnection');
    (this.#stores.connections as Store<GatewayConnection>).upsert(changed);
  }

  changeRegistry(fields: object): void {
    const changed = builtInCatalog.registries?.transform({
      metadata: { name: 'vms', uid: 'vms-uid', ...this.#nextVersion() },
      spec: {
        type: 'Consul',
        consul: { servers: ['http://127.0.0.1:8500'] },
        allowedNamespaces: { all: true },
        ...fields,
      },
    });
    if (changed?.spec.ok !== true) throw new Error(`not a ServiceRegistry: ${JSON.stringify(changed?.spec)}`);
    this.#registries.upsert(changed);
    // The source of a registry tells its subscribers about every change of the object.
    this.registry.list('web', ...VMS);
  }

  changeNamespace(labels: Readonly<Record<string, string>>): void {
    const metadata = { name: 'shop', uid: 'shop', labels, ...this.#nextVersion() };
    const changed = transformNamespace({ metadata });
    if (changed === undefined) throw new Error('not a Namespace');
    (this.#stores.namespaces as Store<NamespaceStored>).upsert(changed);
  }

  deleteRegistry(): void {
    const object = this.#registries.get('', 'vms');
    if (object !== undefined) this.#registries.remove(object);
    this.registry.answer('web', DOWN);
  }

  get #registries() {
    return this.registry.registries as Store<ServiceRegistry>;
  }

  condition(type: string): string | undefined {
    const status = this.#controller.statuses.get('shop/web');
    const found = status?.conditions?.find((condition) => condition.type === type);
    return found && `${found.status}/${found.reason}`;
  }

  #places(): readonly string[] {
    const nodes = this.gateway.get('upstreams', 'shop.web')?.['nodes'] as
      | readonly { readonly host: string; readonly port: number }[]
      | undefined;
    return (nodes ?? []).map(({ host, port }) => `${host}:${port}`).toSorted();
  }

  async has(...places: readonly string[]): Promise<void> {
    await eventually(async () => {
      await this.clock.advance(1);
      await sleep(20);
      expect(this.#controller.isIdle()).toBe(true);
      expect(this.#places()).toEqual(places.toSorted());
    });
  }

  async says(type: string, condition: string): Promise<void> {
    await eventually(async () => {
      await this.clock.advance(1);
      await sleep(20);
      expect(this.condition(type)).toBe(condition);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controller[Symbol.asyncDispose]();
    await this.gateway[Symbol.asyncDispose]();
  }
}

let scene: Scene;
beforeEach(async () => {
  scene = await Scene.start();
});
afterEach(() => scene[Symbol.asyncDispose]());

describe('nodes are removed at once, past the removal guard, when', () => {
  it.each<[string, () => void, string]>([
    [
      'the registry no longer allows the namespace',
      () => scene.changeRegistry({ allowedNamespaces: { names: ['other'] } }),
      'False/RegistryNotAllowed',
    ],
    [
      'the registry no longer allows the service',
      () => scene.changeRegistry({ tenantPolicy: { services: ['other'] } }),
      'False/RegistryServiceNotAllowed',
    ],
    [
      'the connection no longer allows the registry',
      () => scene.changeConnection({ allowedRegistries: [] }),
      'False/RegistryNotAllowed',
    ],
    [
      'the section of the registry no longer allows the service',
      () => scene.registry.answer('web', NOT_ALLOWED),
      'False/RegistryServiceNotAllowed',
    ],
  ])('%s', async (_, withdraw, condition) => {
    withdraw();
    await scene.has('192.0.2.1:80');
    await scene.says('ResolvedRefs', condition);
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('the registry denies their addresses', async () => {
    scene.changeRegistry({ addresses: { deny: ['10.1.0.0/30'] } });
    await scene.has('192.0.2.1:80');
    await scene.says('ResolvedRefs', 'True/ResolvedRefs');
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('permission is withdrawn while the registry does not answer', async () => {
    scene.registry.answer('web', DOWN);
    await scene.says('ResolvedRefs', 'Unknown/SourceUnavailable');
    scene.changeConnection({ allowedRegistries: ['other'] });
    await scene.has('192.0.2.1:80');
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });
});

describe('after the ServiceRegistry is deleted', () => {
  it('nodes stay, and the condition says why', async () => {
    scene.deleteRegistry();
    await scene.says('ResolvedRefs', 'Unknown/RegistryNotFound');
    await scene.has(...VMS, '192.0.2.1:80');
  });

  it('an address that it denied stays out', async () => {
    scene.changeRegistry({ addresses: { deny: ['10.1.0.3/32'] } });
    await scene.has('10.1.0.1:80', '10.1.0.2:80', '192.0.2.1:80');
    scene.deleteRegistry();
    await scene.says('ResolvedRefs', 'Unknown/RegistryNotFound');
    await scene.has('10.1.0.1:80', '10.1.0.2:80', '192.0.2.1:80');
  });

  it('nodes are removed when the connection no longer allows the registry', async () => {
    scene.deleteRegistry();
    await scene.says('ResolvedRefs', 'Unknown/RegistryNotFound');
    scene.changeConnection({ allowedRegistries: [] });
    await scene.has('192.0.2.1:80');
  });
});

describe('a service is followed only while its use is permitted, also after', () => {
  it.each<[string, () => void, () => void]>([
    [
      'the registry allows another namespace',
      () => scene.changeRegistry({ allowedNamespaces: { names: ['other'] } }),
      () => scene.changeRegistry({ allowedNamespaces: { names: ['shop'] } }),
    ],
    [
      'the registry allows other services',
      () => scene.changeRegistry({ tenantPolicy: { services: ['other'] } }),
      () => scene.changeRegistry({ tenantPolicy: { services: ['web'] } }),
    ],
    [
      'the connection allows another registry',
      () => scene.changeConnection({ allowedRegistries: ['other'] }),
      () => scene.changeConnection({}),
    ],
    [
      'the connection allows another namespace',
      () => scene.changeConnection({ allowedNamespaces: { names: ['other'] } }),
      () => scene.changeConnection({}),
    ],
    [
      'the ServiceRegistry is deleted',
      () => scene.deleteRegistry(),
      () => scene.changeRegistry({ addresses: { deny: [] } }),
    ],
  ])('%s', async (_, withdraw, permit) => {
    expect([...scene.registry.followed]).toEqual(['web']);
    withdraw();
    expect([...scene.registry.followed]).toEqual([]);
    permit();
    expect([...scene.registry.followed]).toEqual(['web']);
    await scene.has(...VMS, '192.0.2.1:80');
  });

  it('the labels of the namespace change', async () => {
    scene.changeNamespace({ team: 'a' });
    scene.changeRegistry({ allowedNamespaces: { selector: { matchLabels: { team: 'a' } } } });
    expect([...scene.registry.followed]).toEqual(['web']);
    scene.changeNamespace({ team: 'b' });
    expect([...scene.registry.followed]).toEqual([]);
    await scene.has('192.0.2.1:80');
    scene.changeNamespace({ team: 'a' });
    expect([...scene.registry.followed]).toEqual(['web']);
    await scene.has(...VMS, '192.0.2.1:80');
  });
});
