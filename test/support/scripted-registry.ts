import { builtInCatalog } from '../../src/catalog.ts';
import { planStore } from '../../src/cli/plan/kinds.ts';
import type { Store } from '../../src/kube/store.ts';
import type { Departed, Discovered, RemovalCause } from '../../src/model/discovered.ts';
import type { Endpoint } from '../../src/model/endpoint.ts';
import type { ServiceRegistry } from '../../src/model/objects.ts';
import type { RegistryServiceRef } from '../../src/model/reference.ts';
import { aborted } from '../../src/runtime/aborted.ts';
import type { DiscoverySource, SourceChange } from '../../src/sources/source.ts';

/** A ServiceRegistry `vms` of type Consul whose answers a test sets. It remembers no removed instance. */
export class ScriptedRegistry implements DiscoverySource<RegistryServiceRef> {
  readonly type = 'Registry';
  readonly registries: Store<ServiceRegistry>;
  readonly #answers = new Map<string, Discovered>();
  readonly #listeners = new Map<symbol, (what: SourceChange) => void>();
  readonly #followed = new Map<symbol, string>();

  constructor() {
    this.registries = planStore({}, [serviceRegistry(1, {})], { state: 'synced' });
  }

  /** Denies addresses in the ServiceRegistry. */
  deny(...ranges: readonly string[]): void {
    this.registries.upsert(serviceRegistry(2, { addresses: { deny: ranges } }));
  }

  /** The instances of `service` in a complete answer: each as `address:port` or `address:port=weight`. */
  list(service: string, ...instances: readonly string[]): void {
    this.answer(service, {
      state: 'known',
      preferredFamily: 'IPv4',
      basis: service,
      endpoints: instances.map(instanceOf),
    });
  }

  /** As `list`; the checks of all of these instances fail. */
  listCritical(service: string, ...instances: readonly string[]): void {
    const endpoints = instances.map((text) => ({ ...instanceOf(text), ready: false, serving: false }));
    this.answer(service, { state: 'known', preferredFamily: 'IPv4', basis: service, endpoints });
  }

  /** Deletes the ServiceRegistry, whose users include the users of `service`. */
  deleteRegistry(service: string): void {
    const [registry] = this.registries.list();
    if (registry !== undefined) this.registries.remove(registry);
    this.answer(service, DOWN);
  }

  answer(service: string, answer: Discovered): void {
    this.#answers.set(service, answer);
    for (const changed of [...this.#listeners.values()]) changed('instances');
  }

  async run(signal: AbortSignal): Promise<void> {
    await aborted(signal);
  }

  /** The services that have a subscription. */
  get followed(): ReadonlySet<string> {
    return new Set(this.#followed.values());
  }

  subscribe({ service }: RegistryServiceRef, changed: (what: SourceChange) => void): Disposable {
    const token = Symbol('listener');
    this.#listeners.set(token, changed);
    this.#followed.set(token, service);
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(token);
        this.#followed.delete(token);
      },
    };
  }

  read({ service }: RegistryServiceRef): Discovered {
    return this.#answers.get(service) ?? { state: 'unknown', beginning: true, message: 'no answer yet' };
  }

  departure(_: RegistryServiceRef, _departed: Departed): RemovalCause {
    return 'unknown';
  }

  listedElsewhere(): ReadonlySet<string> {
    return new Set();
  }
}

function serviceRegistry(generation: number, fields: object): ServiceRegistry {
  const object = builtInCatalog.registries?.transform({
    metadata: { name: 'vms', uid: 'vms-uid', resourceVersion: `${generation}`, generation },
    spec: {
      type: 'Consul',
      consul: { servers: ['http://127.0.0.1:8500'] },
      allowedNamespaces: { all: true },
      ...fields,
    },
  });
  if (object === undefined || !object.spec.ok) throw new Error('the ServiceRegistry is not valid');
  return object;
}

/** The registry does not answer. */
export const DOWN: Discovered = {
  state: 'unknown',
  beginning: false,
  message: 'ServiceRegistry vms does not answer',
};

/** The settings of the registry exclude the service. */
export const NOT_ALLOWED: Discovered = {
  state: 'unknown',
  beginning: false,
  reason: 'RegistryServiceNotAllowed',
  message: 'ServiceRegistry vms does not allow service web',
};

/** The registry has listed no instance since it is asked. */
export const UNSEEN: Discovered = {
  state: 'absent',
  reason: 'ServiceUnknownToRegistry',
  message: 'ServiceRegistry vms has listed no instance yet',
};

function instanceOf(text: string): Endpoint {
  const [, address = '', port, weight] = /^(.+):(\d+)(?:=([\d.]+))?$/.exec(text) ?? [];
  return {
    address,
    family: 'IPv4',
    port: Number(port),
    ready: true,
    serving: true,
    terminating: false,
    ...(weight === undefined ? {} : { weight: Number(weight) }),
  };
}
