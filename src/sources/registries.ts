import { isDeepStrictEqual } from 'node:util';
import { durationMs } from '../api/schema.ts';
import type { ServiceRegistrySpec } from '../api/service-registry.ts';
import type { Departed, Discovered, RemovalCause, UnknownAnswer } from '../model/discovered.ts';
import type { SecretFacts, ServiceRegistry } from '../model/objects.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import {
  REGISTRY_ERROR_REASONS,
  type RegistryErrorReason,
  type RegistryFacts,
} from '../model/registry-facts.ts';
import type { StoreView } from '../model/store-view.ts';
import { aborted } from '../runtime/aborted.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { FollowedServices } from './followed-services.ts';
import type {
  RegistryDiscovery,
  RegistryLimits,
  RegistryType,
  SecretKeyRef,
  SecretValue,
  ServiceQuery,
} from './registry.ts';
import type { DiscoverySource, SourceChange } from './source.ts';

/** Records metrics of registries. Cheap; never throws. */
export interface RegistryInstruments {
  registryOpened(registry: string, reasons: readonly RegistryErrorReason[]): void;
  registryRequested(registry: string): void;
  registryFailed(registry: string, reason: RegistryErrorReason): void;
  /** The ServiceRegistry was deleted, and none of its requests is under way. */
  registryDeleted(registry: string): void;
}

export interface RegistriesOptions {
  readonly registries: StoreView<ServiceRegistry>;
  /** Secrets in the operator's namespace. */
  readonly secrets: StoreView<SecretFacts>;
  readonly operatorNamespace: string;
  readonly types: readonly RegistryType[];
  readonly instruments: RegistryInstruments;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

interface Subscription {
  readonly ref: RegistryServiceRef;
  readonly changed: (what: SourceChange) => void;
  readonly namespace: string | undefined;
  /** The use of the service, or the place in line for it, while the source exists. */
  inner: Disposable | undefined;
  /** The subscription at the source of the registry, while the service is followed. */
  listening: Disposable | undefined;
}

/** The source of one ServiceRegistry. A change of its type or section replaces it. */
interface Instance {
  readonly type: RegistryType;
  readonly section: unknown;
  readonly limits: RegistryLimits;
  readonly source: RegistryDiscovery;
  readonly followed: FollowedServices<Subscription>;
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
  readonly #listeners = new Set<(registry: string) => void>();

  constructor(options: RegistriesOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { registries } = this.#options;
    using listeners = new DisposableStack();
    listeners.use(
      registries.onChange(({ previous, current }) => {
        const name = (current ?? previous)?.name;
        if (name === undefined || signal.aborted) return;
        this.#update(name);
        // Not after a change of its status, which would make every object that uses it reconcile.
        if (!isDeepStrictEqual(previous?.spec, current?.spec)) this.#notify(name);
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

  subscribe(ref: RegistryServiceRef, changed: (what: SourceChange) => void, namespace?: string): Disposable {
    const subscription: Subscription = { ref, changed, namespace, inner: undefined, listening: undefined };
    const known = this.#subscriptions.get(ref.registry) ?? new Set();
    this.#subscriptions.set(ref.registry, known.add(subscription));
    this.#attach(subscription);
    const dispose = () => {
      known.delete(subscription);
      const { inner } = subscription;
      subscription.inner = undefined;
      inner?.[Symbol.dispose]();
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
    const query = queryOf(ref, instance);
    const { followed, source } = instance;
    if (followed.isRefused(source.key(query))) return tooMany(ref, followed.most);
    return source.read(query);
  }

  /** Why the answer for `ref` is unknown, with servers and Secrets: for the platform team only. */
  problem(ref: RegistryServiceRef): string | undefined {
    const instance = this.#instances.get(ref.registry);
    return instance?.source.problem(queryOf(ref, instance));
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

  /** Undefined while the ServiceRegistry does not exist or its spec is not valid. */
  facts(name: string): RegistryFacts | undefined {
    return this.#instances.get(name)?.source.facts();
  }

  /** The facts of every registry that can be used, by name. */
  *allFacts(): Iterable<readonly [string, RegistryFacts]> {
    for (const [name, { source }] of this.#instances) yield [name, source.facts()];
  }

  /** Calls `changed` with the name of a registry whose facts may have changed, besides a later time. */
  onFacts(changed: (registry: string) => void): Disposable {
    this.#listeners.add(changed);
    return { [Symbol.dispose]: () => this.#listeners.delete(changed) };
  }

  /** Called after a ServiceRegistry was created, changed or deleted. */
  #update(name: string): void {
    const spec = this.#options.registries.get('', name)?.spec;
    const value = spec?.ok === true ? spec.value : undefined;
    const type = this.#options.types.find((one) => one.type === value?.type);
    const section = type && (value as Readonly<Record<string, unknown>> | undefined)?.[type.section];
    const before = this.#instances.get(name);
    const limits = value && limitsOf(value);
    const isSame =
      before?.type === type &&
      isDeepStrictEqual(before?.section, section) &&
      isDeepStrictEqual(before?.limits, limits);
    if (!isSame) {
      this.#end(name);
      const most = value?.limits.servicesPerNamespace;
      if (type !== undefined && limits !== undefined && most !== undefined) {
        this.#begin(name, { type, section, limits, followed: new FollowedServices(most) });
      }
    }
    const instance = this.#instances.get(name);
    if (instance !== undefined && value !== undefined) {
      instance.followed.most = value.limits.servicesPerNamespace;
      for (const namespace of instance.followed.namespacesThatWait) this.#attachNext(instance, namespace);
    }
    const isDeleted = this.#options.registries.get('', name) === undefined;
    // Otherwise the metrics of the registry end with its last request.
    if (isDeleted && before === undefined) this.#options.instruments.registryDeleted(name);
    this.#factsChanged(name);
  }

  #begin(name: string, settings: Omit<Instance, 'source' | 'stop'>): void {
    const { type, section, limits } = settings;
    const { clock, instruments, random, log, registries } = this.#options;
    instruments.registryOpened(name, REGISTRY_ERROR_REASONS);
    const source = type.create({
      name,
      section,
      limits,
      secret: (ref) => this.#secret(ref),
      onSecretsChange: (changed) => this.#onSecretsChange(type.secretRefs(section), changed),
      observer: {
        requested: () => instruments.registryRequested(name),
        failed: (reason) => instruments.registryFailed(name, reason),
        changed: () => this.#factsChanged(name),
      },
      clock,
      random,
      log: log.child({ registry: name }),
    });
    const stop = new AbortController();
    this.#instances.set(name, { ...settings, source, stop });
    const running = source
      .run(stop.signal)
      .catch((err: unknown) =>
        log.error({ err, registry: name }, 'the discovery source of a ServiceRegistry failed'),
      )
      .finally(() => {
        this.#running.delete(running);
        if (registries.get('', name) === undefined) instruments.registryDeleted(name);
      });
    this.#running.add(running);
    for (const subscription of this.#subscriptions.get(name) ?? []) this.#attach(subscription);
  }

  #end(name: string): void {
    this.#instances.get(name)?.stop.abort();
    this.#instances.delete(name);
    for (const subscription of this.#subscriptions.get(name) ?? []) {
      const { inner } = subscription;
      subscription.inner = undefined;
      inner?.[Symbol.dispose]();
    }
  }

  #attach(subscription: Subscription): void {
    const { ref, namespace } = subscription;
    const instance = this.#instances.get(ref.registry);
    if (instance === undefined) return;
    const { followed, source } = instance;
    const key = source.key(queryOf(ref, instance));
    const wasFollowed = followed.isFollowed(key);
    const isAdmitted = followed.admit(namespace, key, subscription);
    if (isAdmitted || wasFollowed) listen(instance, subscription);
    if (isAdmitted && !wasFollowed) this.#follow(instance, key);
    const dispose = () => {
      stopListening(subscription);
      followed.release(namespace, key, subscription);
      if (this.#instances.get(ref.registry) !== instance) return;
      if (!followed.isFollowed(key)) this.#unfollow(instance, key);
      this.#attachNext(instance, namespace);
    };
    subscription.inner = { [Symbol.dispose]: dispose };
  }

  /** A namespace without a place for a service shares the answers that another namespace causes, and thus their changes. */
  #follow(instance: Instance, key: string): void {
    for (const subscription of instance.followed.usersThatWait(key)) {
      listen(instance, subscription);
      subscription.changed('source');
    }
  }

  /** The last namespace with a place for the service no longer uses it. */
  #unfollow(instance: Instance, key: string): void {
    for (const subscription of instance.followed.usersThatWait(key)) {
      stopListening(subscription);
      subscription.changed('source');
    }
  }

  /** Follows services of the namespace for which there was no place before. */
  #attachNext({ followed }: Instance, namespace: string | undefined): void {
    for (let next = followed.nextIn(namespace); next.length > 0; next = followed.nextIn(namespace)) {
      for (const subscription of next) {
        this.#attach(subscription);
        subscription.changed('source');
      }
    }
  }

  #factsChanged(name: string): void {
    for (const changed of [...this.#listeners]) changed(name);
  }

  #notify(name: string): void {
    for (const { changed } of [...(this.#subscriptions.get(name) ?? [])]) changed('source');
  }

  #onSecretsChange(refs: readonly SecretKeyRef[], changed: () => void): Disposable {
    const { secrets, operatorNamespace } = this.#options;
    return secrets.onChange(({ previous, current }) => {
      const of = current ?? previous;
      if (of?.namespace !== operatorNamespace) return;
      const isOther = ({ key }: SecretKeyRef) => previous?.data[key] !== current?.data[key];
      if (refs.some((ref) => ref.name === of.name && isOther(ref))) changed();
    });
  }

  #secret(ref: SecretKeyRef): SecretValue {
    const { secrets, operatorNamespace } = this.#options;
    return secretValue((name) => secrets.get(operatorNamespace, name), operatorNamespace, ref);
  }
}

function listen(instance: Instance, subscription: Subscription): void {
  const { ref, changed } = subscription;
  subscription.listening ??= instance.source.subscribe(queryOf(ref, instance), changed);
}

function stopListening(subscription: Subscription): void {
  subscription.listening?.[Symbol.dispose]();
  subscription.listening = undefined;
}

function queryOf({ service, options }: RegistryServiceRef, { type }: Instance): ServiceQuery {
  return { service, options: options[type.section] };
}

/** The value of a key of a Secret in `namespace`. */
export function secretValue(
  secretOf: (name: string) => SecretFacts | undefined,
  namespace: string,
  { name, key }: SecretKeyRef,
): SecretValue {
  const secret = secretOf(name);
  const value = secret?.data[key];
  if (value !== undefined) return { ok: true, value };
  const what = secret === undefined ? 'does not exist' : `has no key ${key}`;
  return {
    ok: false,
    message: `Secret ${namespace}/${name} ${what}: create it or correct the reference`,
  };
}

export function limitsOf({ limits, requestTimeout, pollInterval }: ServiceRegistrySpec): RegistryLimits {
  return {
    concurrentQueries: limits.concurrentQueries,
    requestsPerSecond: limits.requestsPerSecond,
    requestTimeoutMs: durationMs(requestTimeout),
    pollIntervalMs: durationMs(pollInterval),
  };
}

function tooMany({ registry, service }: RegistryServiceRef, most: number): UnknownAnswer {
  return {
    state: 'unknown',
    beginning: false,
    reason: 'TooManyServices',
    message: `The operator does not follow service ${service}, because GatewayUpstreams of this namespace already refer to ${most} services of ServiceRegistry ${registry}: the gateway's current nodes are unchanged. Remove backends, or ask the platform team to raise spec.limits.servicesPerNamespace`,
  };
}

function unknown({ registry }: RegistryServiceRef, why: string): UnknownAnswer {
  return {
    state: 'unknown',
    beginning: false,
    message: `ServiceRegistry ${registry} cannot be used (${why}): the gateway's current nodes are unchanged`,
  };
}
