import { isDeepStrictEqual } from 'node:util';
import type { Departed, Discovered, RemovalCause, UnknownAnswer } from '../model/discovered.ts';
import type { SecretFacts, ServiceRegistry } from '../model/objects.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import type { StoreView } from '../model/store-view.ts';
import { aborted } from '../runtime/aborted.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { RegistryType, SecretKeyRef, SecretValue, ServiceQuery } from './registry.ts';
import type { DiscoverySource, SourceChange } from './source.ts';

export interface RegistriesOptions {
  readonly registries: StoreView<ServiceRegistry>;
  /** Secrets in the operator's namespace. */
  readonly secrets: StoreView<SecretFacts>;
  readonly operatorNamespace: string;
  readonly types: readonly RegistryType[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

interface Subscription {
  readonly ref: RegistryServiceRef;
  readonly changed: (what: SourceChange) => void;
  /** The subscription at the source of the registry, while the source exists. */
  inner: Disposable | undefined;
}

/** The source of one ServiceRegistry. A change of its type or section replaces it. */
interface Instance {
  readonly type: RegistryType;
  readonly section: unknown;
  readonly source: DiscoverySource<ServiceQuery>;
  readonly stop: AbortController;
}

/** Runs one source for each ServiceRegistry, while the object exists. */
export class ServiceRegistries implements DiscoverySource<RegistryServiceRef> {
  readonly type = 'Registry';
  readonly #options: RegistriesOptions;
  readonly #instances = new Map<string, Instance>();
  /** By name of the registry. */
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: RegistriesOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { registries } = this.#options;
    using listeners = new DisposableStack();
    listeners.use(
      registries.onChange(({ previous, current }) => {
        const name = (current ?? previous)?.name;
        if (name !== undefined && !signal.aborted) this.#update(name);
      }),
    );
    listeners.use(
      registries.onState(() => {
        for (const name of [...this.#subscriptions.keys()]) this.#notify(name);
      }),
    );
    if (!signal.aborted) {
      for (const { name } of registries.list()) this.#update(name);
      await aborted(signal);
    }
    for (const name of [...this.#instances.keys()]) this.#end(name);
    await Promise.all(this.#running);
  }

  subscribe(ref: RegistryServiceRef, changed: (what: SourceChange) => void): Disposable {
    const subscription: Subscription = { ref, changed, inner: undefined };
    const known = this.#subscriptions.get(ref.registry) ?? new Set();
    this.#subscriptions.set(ref.registry, known.add(subscription));
    this.#attach(subscription);
    const dispose = () => {
      subscription.inner?.[Symbol.dispose]();
      subscription.inner = undefined;
      known.delete(subscription);
      if (known.size === 0 && this.#subscriptions.get(ref.registry) === known) {
        this.#subscriptions.delete(ref.registry);
      }
    };
    return { [Symbol.dispose]: dispose };
  }

  read(ref: RegistryServiceRef): Discovered {
    const instance = this.#instances.get(ref.registry);
    if (instance === undefined) return unknown(ref, 'it does not exist, or its spec is not valid');
    const { type, section } = instance.type;
    const [other] = Object.keys(ref.options).filter((key) => key !== section);
    if (other !== undefined) return unknown(ref, `it is of type ${type}: remove ${other} from the backend`);
    return instance.source.read(queryOf(ref, instance));
  }

  departure(ref: RegistryServiceRef, removedEndpoints: Departed): RemovalCause {
    const instance = this.#instances.get(ref.registry);
    return instance?.source.departure(queryOf(ref, instance), removedEndpoints) ?? 'unknown';
  }

  listedElsewhere(refs: readonly RegistryServiceRef[], addresses: ReadonlySet<string>): ReadonlySet<string> {
    const listed = [...this.#instances].flatMap(([name, instance]) => {
      const own = refs.filter(({ registry }) => registry === name).map((ref) => queryOf(ref, instance));
      return [...instance.source.listedElsewhere(own, addresses)];
    });
    return new Set(listed);
  }

  /** Called after a ServiceRegistry was created, changed or deleted. */
  #update(name: string): void {
    const spec = this.#options.registries.get('', name)?.spec;
    const value = spec?.ok === true ? spec.value : undefined;
    const type = this.#options.types.find((one) => one.type === value?.type);
    const section = type && (value as Readonly<Record<string, unknown>> | undefined)?.[type.section];
    const before = this.#instances.get(name);
    if (before === undefined || before.type !== type || !isDeepStrictEqual(before.section, section)) {
      this.#end(name);
      if (type !== undefined) this.#begin(name, type, section);
    }
    // allowedNamespaces may have changed.
    this.#notify(name);
  }

  #begin(name: string, type: RegistryType, section: unknown): void {
    const { clock, random, log } = this.#options;
    const secret = (ref: SecretKeyRef) => this.#secret(ref);
    const source = type.create({ name, section, secret, clock, random, log: log.child({ registry: name }) });
    const stop = new AbortController();
    this.#instances.set(name, { type, section, source, stop });
    const running = source
      .run(stop.signal)
      .catch((err: unknown) =>
        log.error({ err, registry: name }, 'the discovery source of a ServiceRegistry failed'),
      )
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    for (const subscription of this.#subscriptions.get(name) ?? []) this.#attach(subscription);
  }

  #end(name: string): void {
    this.#instances.get(name)?.stop.abort();
    this.#instances.delete(name);
    for (const subscription of this.#subscriptions.get(name) ?? []) {
      subscription.inner?.[Symbol.dispose]();
      subscription.inner = undefined;
    }
  }

  #attach(subscription: Subscription): void {
    const { ref, changed } = subscription;
    const instance = this.#instances.get(ref.registry);
    if (instance === undefined) return;
    subscription.inner = instance.source.subscribe(queryOf(ref, instance), changed);
  }

  #notify(name: string): void {
    for (const { changed } of [...(this.#subscriptions.get(name) ?? [])]) changed('source');
  }

  #secret({ name, key }: SecretKeyRef): SecretValue {
    const { secrets, operatorNamespace } = this.#options;
    const secret = secrets.get(operatorNamespace, name);
    const value = secret?.data[key];
    if (value !== undefined) return { ok: true, value };
    const what = secret === undefined ? 'does not exist' : `has no key ${key}`;
    return {
      ok: false,
      message: `Secret ${operatorNamespace}/${name} ${what}: create it or correct the reference`,
    };
  }
}

function queryOf({ service, options }: RegistryServiceRef, { type }: Instance): ServiceQuery {
  return { service, options: options[type.section] };
}

function unknown({ registry }: RegistryServiceRef, why: string): UnknownAnswer {
  return {
    state: 'unknown',
    beginning: false,
    message: `ServiceRegistry ${registry} cannot be used (${why}): the gateway's current nodes are unchanged`,
  };
}
