import { type BackendTarget, backendTargets } from '../decide/build-upstream.ts';
import { type CertificateRules, certificateName } from '../decide/certificates.ts';
import { IdConflicts } from '../decide/id-conflicts.ts';
import { type ReferenceRules, referredNamespaces } from '../decide/references.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import type { SetService } from '../decide/upstream-set.ts';
import type { Vendor } from '../gateways/vendor.ts';
import { KubeApiError } from '../kube/kube-error.ts';
import type { MemberWriter } from '../kube/member-writer.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import type { MissingPermissions } from '../kube/permissions.ts';
import { keyOf, type ObjectKey, objectKey, splitKey } from '../model/keys.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  NamespaceStored,
  NodeStored,
  SecretFacts,
} from '../model/objects.ts';
import type { Reference } from '../model/reference.ts';
import type { Stored, StoreView } from '../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import type { Clock } from '../runtime/clock.ts';
import { PRIORITY, type Priority } from '../runtime/lane.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Sample } from '../runtime/metrics.ts';
import { type Pace, SLOW_CONCURRENCY } from '../runtime/pace.ts';
import { type Result, WorkQueue } from '../runtime/work-queue.ts';
import type { DiscoverySource } from '../sources/source.ts';
import { Connections } from './connection/connections.ts';
import { createConnectionReconciler } from './connection/reconcile.ts';
import { DataPlaneVerifier } from './data-planes/verifier.ts';
import { debugState } from './debug-state.ts';
import { EndpointChanges } from './endpoint-changes.ts';
import { Finalizers } from './finalizers.ts';
import {
  CONNECTION_LANE,
  depthSamples,
  gatewayLane,
  type Instruments,
  UNKNOWN_GATEWAY_LANE,
} from './instruments.ts';
import { OrphanCollector } from './orphan-collector.ts';
import { RemovalGuardState } from './removal-guard-state.ts';
import { type ListReport, READ_BACK_MS } from './session/session.ts';
import { UpstreamSets } from './set/reconcile.ts';
import type { Reporter } from './status/reporter.ts';
import { createUpstreamReconciler } from './upstream/reconcile.ts';
import { concernsNamespace, concernsNode, concernsObject } from './watches.ts';

export interface ControllerOptions extends ReferenceRules, CertificateRules {
  /** By `spec.type` of a GatewayConnection. */
  readonly vendorOf: (type: string) => Vendor;
  readonly clusterId: string;
  readonly operatorNamespace: string;
  /** With `upstreamIndexes`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly sets: StoreView<GatewayUpstreamSet>;
  /** With the index `namespace`. */
  readonly services: StoreView<SetService & Stored>;
  readonly namespaces: StoreView<NamespaceStored>;
  readonly secrets: StoreView<SecretFacts>;
  readonly source: DiscoverySource<Reference>;
  /** Absent: nobody watches them. */
  readonly nodes?: StoreView<NodeStored>;
  readonly permissions: MissingPermissions;
  readonly writer: ObjectWriter;
  readonly memberWriter: MemberWriter;
  readonly reporter: Reporter;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly backoffMs: (failures: number) => number;
  readonly resyncMs: number;
  readonly requestTimeoutMs: number;
  /** Asked right before each write to a gateway. */
  readonly mayWrite: () => boolean;
  readonly instruments: Instruments;
}

export interface Controller {
  /** Works until the signal aborts, then resolves when nothing is under way any more. */
  run(signal: AbortSignal): Promise<void>;
  /** Keys that wait or run, as samples of a metric. */
  depths(): readonly Sample[];
  /** How many data planes of each connection that has a `controlApi` lag or cannot be asked. */
  laggingDataPlanes(): ReadonlyMap<string, number>;
  /** See `debugState`. */
  debugState(): Promise<object>;
}

/** What a key in the queue stands for. */
type Work =
  | { readonly kind: 'upstream'; readonly key: ObjectKey }
  | { readonly kind: 'connection'; readonly name: string }
  | { readonly kind: 'finalizer'; readonly key: ObjectKey }
  | { readonly kind: 'forgotten'; readonly connection: string; readonly id: string }
  | { readonly kind: 'set'; readonly name: string }
  | { readonly kind: 'member'; readonly set: string; readonly key: ObjectKey };

/** A connection that waits to be deleted has its orphans confirmed and deleted this fast. */
const CONFIRM_SOON_MS = 1000;

/** How many upstreams are looked at at once whose connection does not exist. */
const UNKNOWN_AT_ONCE = 8;

const FINALIZER_LANE = 'finalizers';

const FINALIZERS_AT_ONCE = 8;

const SET_LANE = 'sets';

/** How many GatewayUpstreams of sets are written at once. */
const MEMBERS_AT_ONCE = 8;

const memberLane = (set: string): string => `members of ${set}`;

/**
 * Turns changes of objects, endpoints, Secrets and gateways into keys, and runs the reconcilers on them. Nothing is
 * reconciled before every kind that it depends on was listed in full.
 */
export function createController(options: ControllerOptions): Controller {
  const {
    upstreams,
    connections,
    namespaces,
    services,
    grants,
    secrets,
    source,
    nodes,
    reporter,
    writer,
    pace,
    clock,
    log,
  } = options;
  const required: readonly StoreView<Stored>[] = [upstreams, connections, namespaces, secrets];
  const claims = new IdConflicts();
  const memory = new RemovalGuardState(clock);
  const changes = new EndpointChanges(clock);
  const subscriptions = new Map<ObjectKey, readonly Disposable[]>();
  /** The objects that are reached by nodes. */
  const onNodes = new Set<ObjectKey>();
  const seen = new Map<ObjectKey, { readonly uid: string; readonly at: number }>();
  let started = false;

  const queue = new WorkQueue({
    clock,
    backoffMs: options.backoffMs,
    onBegin: options.instruments.waited,
    onIdle: options.instruments.idle,
    pace,
    onError: (key, err) => {
      // Whoever lost the lease says so once, and ends.
      if (!options.mayWrite()) return;
      // What the API server answers is told in full once, by the reflectors and readiness.
      if (err instanceof KubeApiError)
        log.warn({ key, status: err.status }, `a write to the cluster failed: ${err.message}`);
      else {
        options.instruments.failed('', 'InternalError');
        log.error({ err, key }, 'a reconcile failed; it is tried again');
      }
    },
    run: (key, signal) => run(JSON.parse(key) as Work, signal),
  });

  const sessions: Connections = new Connections({
    ...options,
    onList,
    onLateWrite,
    isWanted: (name, id) => claims.contenders(name, id).length > 0,
    onState: (name, scope) => {
      enqueueConnection(name);
      if (scope === 'everything') enqueueUsersOf(name, PRIORITY.resync);
    },
    setConcurrency: (name, concurrency) =>
      // A place is always free for an endpoint change, however long the gateway takes for everything else.
      queue.setConcurrency(gatewayLane(name), concurrency, { reserved: concurrency > 1 ? 1 : 0 }),
    onGone: (name) => queue.release(gatewayLane(name)),
  });
  const connectionState = (name: string) => sessions.state(name);
  const gatewayInfo = (connection: GatewayConnection) => sessions.info(connection);
  const proof = new DataPlaneVerifier({
    ...options,
    readerOf: (name) => {
      const state = sessions.state(name);
      return state.kind === 'usable' ? state.session.dataPlanes : undefined;
    },
    onChange: enqueueConnection,
  });
  const snapshot: Snapshot = {
    ...options,
    gatewayInfo,
    claims,
    held: (connection, id) => {
      const state = sessions.state(connection);
      return state.kind === 'usable' && state.session.listed
        ? { known: true, observed: state.session.peek(id) }
        : { known: false };
    },
    recall: (key) => memory.recall(key),
    now: () => clock.now(),
  };
  const sweep = new OrphanCollector({ ...options, connectionState });
  const retain = (connection: string, id: UpstreamId) => {
    sweep.retain(connection, id);
    enqueueConnection(connection);
  };
  const finalizers = new Finalizers({
    ...options,
    enqueue: (key, isUrgent) =>
      enqueue({ kind: 'finalizer', key }, FINALIZER_LANE, isUrgent ? PRIORITY.endpoints : PRIORITY.spec),
    onRefusal(object) {
      if ('connection' in object) return enqueueUpstream(object, PRIORITY.spec);
      enqueueConnection(object.name);
      enqueueUsersOf(object.name, PRIORITY.resync);
    },
  });
  const reconcileUpstream = createUpstreamReconciler({
    ...options,
    ...snapshot,
    connectionState,
    finalizers,
    bindConnection: enqueueConnection,
    memory,
    changes,
    proof,
    retain,
    seenSince: (key) => seen.get(key)?.at ?? clock.monotonic(),
  });
  const reconcileConnection = createConnectionReconciler({
    vendorOf: options.vendorOf,
    connections,
    upstreams,
    connectionState,
    gatewayInfo,
    permissions: options.permissions,
    sweep,
    finalizers,
    proof,
    writer,
    reporter,
    clock,
    log,
  });
  const upstreamSets = new UpstreamSets({
    ...options,
    enqueueSet: (name) => enqueue({ kind: 'set', name }, SET_LANE, PRIORITY.spec),
    enqueueMember(set, key, priority) {
      queue.setConcurrency(memberLane(set), MEMBERS_AT_ONCE, { slow: SLOW_CONCURRENCY });
      enqueue({ kind: 'member', set, key }, memberLane(set), priority);
    },
    onGone: (set) => queue.release(memberLane(set)),
  });

  async function run(work: Work, signal: AbortSignal): Promise<Result> {
    switch (work.kind) {
      case 'upstream':
        return await reconcileUpstream(work.key, signal);
      case 'finalizer':
        return await finalizers.add(work.key, signal);
      case 'connection':
        return await reconcileConnection(work.name, signal);
      case 'forgotten':
        await sweep.remove(work.connection, work.id, signal);
        if (isEnding(work.connection)) enqueueConnection(work.connection);
        return { kind: 'done' };
      case 'set':
        return upstreamSets.reconcile(work.name);
      case 'member':
        return await upstreamSets.reconcileMember(work.set, work.key, signal);
      default:
        return work satisfies never;
    }
  }

  function enqueue(work: Work, lane: string, priority: Priority): void {
    queue.add(JSON.stringify(work), lane, priority);
  }

  function laneOf(connection: string): string {
    return connections.get('', connection) === undefined ? UNKNOWN_GATEWAY_LANE : gatewayLane(connection);
  }

  function enqueueUpstream(object: GatewayUpstream, wanted: Priority): void {
    const key = keyOf(object);
    // A gateway that has just come back must not get its endpoint changes after everything else.
    const priority = changes.waits(key) ? PRIORITY.endpoints : wanted;
    enqueue({ kind: 'upstream', key }, laneOf(object.connection), priority);
  }

  function enqueueKey(key: ObjectKey, priority: Priority): void {
    const { namespace, name } = splitKey(key);
    const object = upstreams.get(namespace, name);
    if (object !== undefined) enqueueUpstream(object, priority);
  }

  function enqueueUsersOf(connection: string, priority: Priority): void {
    for (const object of upstreams.byIndex('connection', connection)) enqueueUpstream(object, priority);
  }

  /** Objects whose Services have other names, which may lead into a namespace that came or went. */
  function enqueueOtherNames(): void {
    for (const { name, spec } of connections.list()) {
      if (!spec.ok) continue;
      const { addressing, tenantPolicy } = spec.value;
      const mayBeExternal = tenantPolicy.staticAddresses === 'Allow';
      const hasOtherName = (target: BackendTarget) => {
        if (target.kind !== 'service') return false;
        const type = services.get(target.ref.namespace, target.ref.name)?.type;
        return (
          (type === 'ExternalName' && mayBeExternal) ||
          (type === 'LoadBalancer' && target.addressing.mode === 'LoadBalancer')
        );
      };
      for (const object of upstreams.byIndex('connection', name)) {
        const targets = object.spec.ok ? backendTargets(object.spec.value, object.namespace, addressing) : [];
        if (targets.some(hasOtherName)) enqueueUpstream(object, PRIORITY.resync);
      }
    }
  }

  function enqueueConnection(name: string): void {
    enqueue({ kind: 'connection', name }, CONNECTION_LANE, PRIORITY.spec);
  }

  /** Keeps subscriptions and claims of an object in step with it. */
  function follow(key: ObjectKey, current: GatewayUpstream | undefined): void {
    for (const subscription of subscriptions.get(key) ?? []) subscription[Symbol.dispose]();
    subscriptions.delete(key);
    if (current === undefined) seen.delete(key);
    else if (seen.get(key)?.uid !== current.uid) seen.set(key, { uid: current.uid, at: clock.monotonic() });
    const connection = current === undefined ? undefined : connections.get('', current.connection);
    const settings = connection?.spec.ok === true ? connection.spec.value : undefined;
    onNodes.delete(key);
    if (current?.spec.ok === true) {
      const targets = backendTargets(current.spec.value, current.namespace, settings?.addressing).filter(
        (target) => target.kind !== 'addresses',
      );
      if (targets.some((target) => target.kind === 'service' && target.addressing.mode === 'Node'))
        onNodes.add(key);
      subscriptions.set(
        key,
        targets.map(({ ref }) =>
          source.subscribe(ref, (what) => {
            if (what === 'source') {
              enqueueKey(key, PRIORITY.resync);
              return;
            }
            changes.arrived(key);
            pace.urge();
            enqueueKey(key, PRIORITY.endpoints);
          }),
        ),
      );
    }
    const idPrefix = settings?.idPrefix;
    for (const rival of claims.update(key, current, idPrefix)) enqueueKey(rival, PRIORITY.spec);
  }

  function onList(name: string, { recovered, changed, observed }: ListReport): void {
    if (recovered) enqueueUsersOf(name, PRIORITY.resync);
    for (const id of changed) {
      for (const key of claims.contenders(name, id)) enqueueKey(key, PRIORITY.resync);
    }
    proof.sweep(name);
    const { confirmed, isUnconfirmed } = sweep.listed(name, observed);
    if (isUnconfirmed) confirmWithin(name, isEnding(name) ? CONFIRM_SOON_MS : READ_BACK_MS);
    enqueueConnection(name);
    for (const id of confirmed) {
      enqueue({ kind: 'forgotten', connection: name, id }, laneOf(name), PRIORITY.resync);
    }
  }

  function onLateWrite(name: string, id: UpstreamId, observed: ObservedUpstream | undefined): void {
    const contenders = claims.contenders(name, id);
    for (const key of contenders) enqueueKey(key, PRIORITY.resync);
    if (contenders.length > 0 || observed === undefined) return;
    if (sweep.suspect(name, observed)) confirmWithin(name, READ_BACK_MS);
  }

  function confirmWithin(name: string, ms: number): void {
    const state = sessions.state(name);
    if (state.kind === 'usable') state.session.listWithin(ms);
  }

  function isEnding(name: string): boolean {
    return connections.get('', name)?.deletionTimestamp !== undefined;
  }

  /** Begins as soon as every kind is known; called whenever that may have become so. */
  function startIfKnown(): void {
    if (started || !required.every((store) => store.state.state === 'synced')) return;
    started = true;
    log.info({ upstreams: upstreams.size, connections: connections.size }, 'every kind is listed; working');
    for (const object of upstreams.list()) follow(keyOf(object), object);
    for (const { name } of connections.list()) {
      sessions.update(name);
      proof.follow(name);
      enqueueConnection(name);
    }
    for (const object of upstreams.list()) enqueueUpstream(object, PRIORITY.resync);
  }

  return {
    depths: () => depthSamples(queue.depths()),
    debugState: () => debugState({ ...snapshot, connectionState, log }),

    laggingDataPlanes: () => proof.lagging(),

    async run(signal) {
      queue.setConcurrency(CONNECTION_LANE, 4);
      queue.setConcurrency(FINALIZER_LANE, FINALIZERS_AT_ONCE, { slow: SLOW_CONCURRENCY });
      queue.setConcurrency(SET_LANE, 1);
      queue.setConcurrency(UNKNOWN_GATEWAY_LANE, UNKNOWN_AT_ONCE);
      using listeners = new DisposableStack();
      for (const store of required) listeners.use(store.onState(startIfKnown));
      listeners.use(
        upstreams.onChange((event) => {
          const object = event.current ?? event.previous;
          if (!started || object === undefined) return;
          if (event.current !== undefined) reporter.seen(event.current);
          if (!concernsObject(event)) return;
          follow(keyOf(object), event.current);
          enqueueUpstream(object, PRIORITY.spec);
          if (event.previous === undefined || event.current === undefined || isEnding(object.connection))
            enqueueConnection(object.connection);
        }),
      );
      listeners.use(
        connections.onChange((event) => {
          const object = event.current ?? event.previous;
          if (!started || object === undefined || !concernsObject(event)) return;
          sessions.update(object.name);
          proof.follow(object.name);
          enqueueConnection(object.name);
          for (const user of upstreams.byIndex('connection', object.name)) {
            follow(keyOf(user), user);
            enqueueUpstream(user, PRIORITY.resync);
          }
        }),
      );
      listeners.use(
        secrets.onChange(({ previous, current }) => {
          const secret = current ?? previous;
          if (!started || secret === undefined) return;
          for (const connection of connections.list()) {
            if (sessions.refersTo(connection, secret.name)) sessions.update(connection.name);
          }
        }),
      );
      listeners.use(
        namespaces.onChange((event) => {
          const namespace = event.current ?? event.previous;
          if (!started || namespace === undefined || !concernsNamespace(event)) return;
          for (const object of upstreams.byIndex('named', namespace.name)) {
            enqueueUpstream(object, PRIORITY.resync);
          }
          if (event.previous === undefined || event.current === undefined) enqueueOtherNames();
          for (const object of upstreams.byIndex('namespace', namespace.name)) {
            enqueueUpstream(object, PRIORITY.resync);
            for (const rival of claims.rivals(keyOf(object))) enqueueKey(rival, PRIORITY.resync);
          }
        }),
      );
      listeners.use(
        grants.onChange(({ previous, current }) => {
          const namespace = (current ?? previous)?.namespace;
          if (!started || namespace === undefined) return;
          for (const object of upstreams.byIndex('referred', namespace)) {
            enqueueUpstream(object, PRIORITY.spec);
          }
        }),
      );
      listeners.use(
        grants.onState(() => {
          if (!started) return;
          for (const object of upstreams.list()) {
            if (referredNamespaces(object).length > 0) enqueueUpstream(object, PRIORITY.resync);
          }
        }),
      );
      for (const [namespace, store] of options.certificates) {
        listeners.use(
          store.onChange(({ previous, current }) => {
            const name = (current ?? previous)?.name;
            if (!started || name === undefined) return;
            for (const object of upstreams.byIndex('certificate', objectKey(namespace, name))) {
              enqueueUpstream(object, PRIORITY.spec);
            }
          }),
        );
        listeners.use(
          store.onState(() => {
            if (!started) return;
            for (const object of upstreams.byIndex('namespace', namespace)) {
              if (certificateName(object) !== undefined) enqueueUpstream(object, PRIORITY.resync);
            }
          }),
        );
      }
      if (nodes !== undefined) {
        listeners.use(
          nodes.onChange((event) => {
            if (!started || nodes.state.state !== 'synced' || !concernsNode(event)) return;
            pace.urge();
            for (const key of onNodes) enqueueKey(key, PRIORITY.endpoints);
          }),
        );
        listeners.use(
          nodes.onState(() => {
            if (!started) return;
            for (const key of onNodes) enqueueKey(key, PRIORITY.resync);
          }),
        );
      }
      listeners.use(
        options.permissions.onChange(() => {
          if (!started) return;
          for (const { name } of connections.list()) enqueueConnection(name);
          for (const object of upstreams.list()) enqueueUpstream(object, PRIORITY.resync);
        }),
      );
      listeners.use(upstreamSets.listen());
      startIfKnown();
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      }
      await queue.drain();
      await proof.close();
      await sessions.close();
      await reporter.close();
      for (const list of subscriptions.values())
        for (const subscription of list) subscription[Symbol.dispose]();
    },
  };
}
