import { backendTargets } from '../decide/backends.ts';
import { type CertificateRules, certificateName } from '../decide/certificates.ts';
import { BY_NAMED_NAMESPACE } from '../decide/host-policy.ts';
import type { IdConflicts } from '../decide/id-conflicts.ts';
import { type ReferenceRules, referredNamespaces } from '../decide/references.ts';
import { registriesOf } from '../decide/upstream-indexes.ts';
import type { SetService } from '../decide/upstream-set.ts';
import type { MissingPermissions } from '../kube/permissions.ts';
import { keyOf, objectKey } from '../model/keys.ts';
import type {
  CertificateSecret,
  GatewayConnection,
  GatewayUpstream,
  NamespaceStored,
  NodeStored,
  ReferenceGrantStored,
  SecretFacts,
  ServiceRegistry,
} from '../model/objects.ts';
import type { Stored, StoreEvent, StoreView } from '../model/store-view.ts';
import { PRIORITY } from '../runtime/lane.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Pace } from '../runtime/pace.ts';
import type { Connections } from './connection/connections.ts';
import type { DataPlaneVerifier } from './data-planes/verifier.ts';
import type { ObjectStates } from './object-state.ts';
import { concernsNamespace, concernsNode, concernsObject } from './predicates.ts';
import type { EngineQueue } from './queue.ts';
import type { RegistryReader } from './registry/deps.ts';
import type { Reporter } from './status/reporter.ts';
import type { Tracker } from './tracker.ts';

export interface WatchesDeps extends ReferenceRules, CertificateRules {
  readonly states: ObjectStates;
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly services: StoreView<SetService & Stored>;
  readonly namespaces: StoreView<NamespaceStored>;
  readonly secrets: StoreView<SecretFacts>;
  /** Absent if ServiceRegistries are not watched. */
  readonly registries?: StoreView<ServiceRegistry>;
  readonly registryReader?: RegistryReader;
  /** Absent if nodes are not watched. */
  readonly nodes?: StoreView<NodeStored>;
  readonly permissions: MissingPermissions;
  readonly conflicts: IdConflicts;
  readonly queue: EngineQueue;
  readonly tracker: Tracker;
  readonly sessions: Connections;
  readonly verifier: DataPlaneVerifier;
  readonly reporter: Pick<Reporter, 'seen'>;
  readonly pace: Pace;
  readonly log: Logger;
}

/** Turns changes in the cluster into queued work. */
export class Watches {
  readonly #deps: WatchesDeps;
  /** Whether the complete lists of all required kinds are known. */
  #started = false;

  constructor(deps: WatchesDeps) {
    this.#deps = deps;
  }

  /** Watches the stores until the result is disposed. */
  listen(): Disposable {
    const { upstreams, connections, namespaces, secrets, grants, permissions } = this.#deps;
    const listeners = new DisposableStack();
    for (const store of [upstreams, connections, namespaces, secrets]) {
      listeners.use(store.onState(() => this.#startIfListed()));
    }
    listeners.use(upstreams.onChange(this.#whenStarted((event) => this.#onUpstream(event))));
    listeners.use(connections.onChange(this.#whenStarted((event) => this.#onConnection(event))));
    listeners.use(secrets.onChange(this.#whenStarted((event) => this.#onSecret(event))));
    listeners.use(namespaces.onChange(this.#whenStarted((event) => this.#onNamespace(event))));
    listeners.use(grants.onChange(this.#whenStarted((event) => this.#onGrant(event))));
    listeners.use(grants.onState(this.#whenStarted(() => this.#onGrantsState())));
    this.#listenToCertificates(listeners);
    this.#listenToNodes(listeners);
    this.#listenToRegistries(listeners);
    listeners.use(permissions.onChange(() => this.#onPermissions()));
    this.#startIfListed();
    return listeners;
  }

  #whenStarted<E>(handle: (event: E) => void): (event: E) => void {
    return (event) => {
      if (this.#started) handle(event);
    };
  }

  #startIfListed(): void {
    const { upstreams, connections, namespaces, secrets, sessions, verifier, queue, tracker, log } =
      this.#deps;
    const required: readonly StoreView<Stored>[] = [upstreams, connections, namespaces, secrets];
    if (this.#started || !required.every(({ state }) => state.state === 'synced')) return;
    this.#started = true;
    log.info(
      { upstreams: upstreams.size, connections: connections.size },
      'caches synced; starting to reconcile',
    );
    for (const object of upstreams.list()) tracker.track(object);
    for (const { name } of connections.list()) {
      sessions.update(name);
      verifier.update(name);
      queue.addConnection(name);
    }
    this.#addRegistries();
    for (const object of upstreams.list()) queue.addUpstream(object, PRIORITY.resync);
  }

  #addRegistries(): void {
    const { registries, queue } = this.#deps;
    for (const { name } of registries?.list() ?? []) queue.addRegistry(name);
  }

  #onUpstream(event: StoreEvent<GatewayUpstream>): void {
    const { reporter, tracker, queue, connections } = this.#deps;
    const { previous, current } = event;
    const object = current ?? previous;
    if (object === undefined) return;
    if (current !== undefined) reporter.seen('GatewayUpstream', current);
    if (!concernsObject(event)) return;
    if (current === undefined) tracker.drop(object);
    else tracker.track(current);
    queue.addUpstream(object, PRIORITY.spec);
    for (const registry of new Set([previous, current].flatMap(registriesOf))) queue.addRegistry(registry);
    const connection = connections.get('', object.connection);
    if (previous === undefined || current === undefined || connection?.deletionTimestamp !== undefined) {
      queue.addConnection(object.connection);
    }
  }

  #onConnection(event: StoreEvent<GatewayConnection>): void {
    const { sessions, verifier, queue, upstreams, tracker, reporter } = this.#deps;
    const { current } = event;
    if (current !== undefined) reporter.seen('GatewayConnection', current);
    const name = (current ?? event.previous)?.name;
    if (name === undefined || !concernsObject(event)) return;
    sessions.update(name);
    verifier.update(name);
    queue.addConnection(name);
    for (const user of upstreams.byIndex('connection', name)) {
      tracker.track(user);
      queue.addUpstream(user, PRIORITY.resync);
    }
  }

  #onSecret({ previous, current }: StoreEvent<SecretFacts>): void {
    const { connections, sessions } = this.#deps;
    const secret = current ?? previous;
    if (secret === undefined) return;
    for (const connection of connections.list()) {
      if (sessions.refersTo(connection, secret.name)) sessions.update(connection.name);
    }
  }

  #onNamespace(event: StoreEvent<NamespaceStored>): void {
    const { upstreams, conflicts, queue, tracker } = this.#deps;
    const namespace = event.current ?? event.previous;
    if (namespace === undefined || !concernsNamespace(event)) return;
    for (const object of upstreams.byIndex('named', namespace.name)) {
      queue.addUpstream(object, PRIORITY.resync);
    }
    if (event.previous === undefined || event.current === undefined) this.#addByHostName(namespace.name);
    for (const object of upstreams.byIndex('namespace', namespace.name)) {
      if (registriesOf(object).length > 0) tracker.track(object);
      queue.addUpstream(object, PRIORITY.resync);
      for (const other of conflicts.others(keyOf(object))) queue.addKey(other, PRIORITY.resync);
    }
  }

  /**
   * `namespace` was created or deleted: reconciles objects whose Services have a host name (ExternalName or load balancer)
   * that may refer to it.
   */
  #addByHostName(namespace: string): void {
    const { connections, services, upstreams, queue } = this.#deps;
    const named = new Map<string, Set<string>>();
    for (const service of services.byIndex(BY_NAMED_NAMESPACE, namespace)) {
      const names = named.get(service.namespace) ?? new Set();
      named.set(service.namespace, names.add(service.name));
    }
    for (const [at, names] of named) {
      for (const object of [...upstreams.byIndex('namespace', at), ...upstreams.byIndex('referred', at)]) {
        const { spec } = connections.get('', object.connection) ?? {};
        if (!object.spec.ok || spec?.ok !== true) continue;
        const targets = backendTargets(object.spec.value, object.namespace, spec.value.addressing);
        const refersToOne = targets.some(
          (target) => target.kind === 'service' && target.ref.namespace === at && names.has(target.ref.name),
        );
        if (refersToOne) queue.addUpstream(object, PRIORITY.resync);
      }
    }
  }

  #onGrant({ previous, current }: StoreEvent<ReferenceGrantStored>): void {
    const { upstreams, queue } = this.#deps;
    const namespace = (current ?? previous)?.namespace;
    if (namespace === undefined) return;
    for (const object of upstreams.byIndex('referred', namespace)) queue.addUpstream(object, PRIORITY.spec);
  }

  #onGrantsState(): void {
    const { upstreams, queue } = this.#deps;
    for (const object of upstreams.list()) {
      if (referredNamespaces(object).length > 0) queue.addUpstream(object, PRIORITY.resync);
    }
  }

  #listenToCertificates(listeners: DisposableStack): void {
    for (const [namespace, store] of this.#deps.certificates) {
      listeners.use(store.onChange(this.#whenStarted((event) => this.#onCertificate(namespace, event))));
      listeners.use(store.onState(this.#whenStarted(() => this.#onCertificatesState(namespace))));
    }
  }

  #onCertificate(namespace: string, { previous, current }: StoreEvent<CertificateSecret>): void {
    const { upstreams, queue } = this.#deps;
    const name = (current ?? previous)?.name;
    if (name === undefined) return;
    for (const object of upstreams.byIndex('certificate', objectKey(namespace, name))) {
      queue.addUpstream(object, PRIORITY.spec);
    }
  }

  #onCertificatesState(namespace: string): void {
    const { upstreams, queue } = this.#deps;
    for (const object of upstreams.byIndex('namespace', namespace)) {
      if (certificateName(object) !== undefined) queue.addUpstream(object, PRIORITY.resync);
    }
  }

  #listenToNodes(listeners: DisposableStack): void {
    const { nodes, states, queue, pace } = this.#deps;
    if (nodes === undefined) return;
    listeners.use(
      nodes.onChange(
        this.#whenStarted((event) => {
          if (nodes.state.state !== 'synced' || !concernsNode(event)) return;
          pace.urge();
          for (const { usesNodes, key } of states) if (usesNodes) queue.addKey(key, PRIORITY.endpoints);
        }),
      ),
    );
    listeners.use(
      nodes.onState(
        this.#whenStarted(() => {
          for (const { usesNodes, key } of states) if (usesNodes) queue.addKey(key, PRIORITY.resync);
        }),
      ),
    );
  }

  #listenToRegistries(listeners: DisposableStack): void {
    const { registries, registryReader, queue, upstreams, reporter } = this.#deps;
    if (registries === undefined) return;
    const add = this.#whenStarted((name: string) => {
      if (registries.get('', name) !== undefined) queue.addRegistry(name);
    });
    if (registryReader !== undefined) listeners.use(registryReader.onFacts(add));
    listeners.use(
      registries.onChange(
        this.#whenStarted((event) => {
          const { current } = event;
          if (current !== undefined) reporter.seen('ServiceRegistry', current);
          const name = (current ?? event.previous)?.name;
          if (name === undefined || !concernsObject(event)) return;
          queue.addRegistry(name);
          this.#trackUsers(upstreams.byIndex('registry', name));
        }),
      ),
    );
    listeners.use(
      registries.onState(
        this.#whenStarted(() => {
          this.#addRegistries();
          this.#trackUsers([...upstreams.list()].filter((object) => registriesOf(object).length > 0));
        }),
      ),
    );
  }

  /** Which services the users of a registry may use may have changed. */
  #trackUsers(users: Iterable<GatewayUpstream>): void {
    const { tracker, queue } = this.#deps;
    for (const user of users) {
      tracker.track(user);
      queue.addUpstream(user, PRIORITY.resync);
    }
  }

  #onPermissions(): void {
    if (!this.#started) return;
    const { connections, upstreams, queue } = this.#deps;
    this.#addRegistries();
    for (const { name } of connections.list()) queue.addConnection(name);
    for (const object of upstreams.list()) queue.addUpstream(object, PRIORITY.resync);
  }
}
