import type { CertificateRules } from '../decide/certificates.ts';
import { IdConflicts } from '../decide/id-conflicts.ts';
import type { ReferenceRules } from '../decide/references.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import type { SetService } from '../decide/upstream-set.ts';
import type { Vendor } from '../gateways/vendor.ts';
import type { MemberWriter } from '../kube/member-writer.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import type { MissingPermissions } from '../kube/permissions.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  NamespaceStored,
  NodeStored,
  SecretFacts,
  ServiceRegistry,
} from '../model/objects.ts';
import type { Reference } from '../model/reference.ts';
import type { Stored, StoreView } from '../model/store-view.ts';
import { aborted } from '../runtime/aborted.ts';
import type { Clock } from '../runtime/clock.ts';
import { PRIORITY } from '../runtime/lane.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Sample } from '../runtime/metrics.ts';
import type { Pace } from '../runtime/pace.ts';
import type { Result } from '../runtime/work-queue.ts';
import type { DiscoverySource } from '../sources/source.ts';
import { Connections } from './connection/connections.ts';
import { createConnectionReconciler } from './connection/reconcile.ts';
import { DataPlaneVerifier } from './data-planes/verifier.ts';
import { debugState } from './debug-state.ts';
import { Finalizers } from './finalizers.ts';
import { GatewayEvents } from './gateway-events.ts';
import type { Instruments } from './instruments.ts';
import type { ObjectStates } from './object-state.ts';
import { OrphanCollector } from './orphan-collector.ts';
import { EngineQueue, type Work } from './queue.ts';
import type { RegistryReader } from './registry/deps.ts';
import { createRegistryReconciler } from './registry/reconcile.ts';
import { UpstreamSets } from './set/reconcile.ts';
import type { Reporter } from './status/reporter.ts';
import { Tracker } from './tracker.ts';
import { createUpstreamReconciler } from './upstream/reconcile.ts';
import { Watches } from './watches.ts';

export interface ControllerOptions extends ReferenceRules, CertificateRules {
  /** By `spec.type` of a GatewayConnection. */
  readonly vendorOf: (type: string) => Vendor;
  /** Shared with the reporter. */
  readonly states: ObjectStates;
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
  /** Absent if nodes are not watched. */
  readonly nodes?: StoreView<NodeStored>;
  /** Absent if no registry type is built in. */
  readonly registries?: StoreView<ServiceRegistry>;
  /** Absent likewise. */
  readonly registryReader?: RegistryReader;
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
  /** Checked right before each write to a gateway. */
  readonly mayWrite: () => boolean;
  readonly instruments: Instruments;
}

export interface Controller {
  /** Runs until the signal aborts, then finishes running work and resolves. */
  run(signal: AbortSignal): Promise<void>;
  /** Number of waiting and running keys, as metric samples. */
  depths(): readonly Sample[];
  /** Number of lagging or unreachable data planes, by connection with a `controlApi`. */
  laggingDataPlanes(): ReadonlyMap<string, number>;
  /** See `debugState`. */
  debugState(): Promise<object>;
}

/**
 * Turns changes of objects, endpoints, Secrets and gateways into keys and runs the reconcilers on them. Reconciling starts
 * when the complete list of every required kind is known.
 */
export function createController(options: ControllerOptions): Controller {
  const { queue, sessions, verifier, snapshot, watches, upstreamSets } = connectParts(options);
  const { reporter, states } = options;
  return {
    depths: () => queue.depths(),
    debugState: () =>
      debugState({ ...options, ...snapshot, connectionState: (name) => sessions.state(name) }),
    laggingDataPlanes: () => verifier.lagging(),

    async run(signal) {
      queue.begin();
      using listeners = new DisposableStack();
      listeners.use(watches.listen());
      listeners.use(upstreamSets.listen());
      await aborted(signal);
      await queue.drain();
      await verifier.close();
      await sessions.close();
      await reporter.close();
      states[Symbol.dispose]();
    },
  };
}

interface Parts {
  readonly queue: EngineQueue;
  readonly sessions: Connections;
  readonly verifier: DataPlaneVerifier;
  readonly snapshot: Snapshot;
  readonly watches: Watches;
  readonly upstreamSets: UpstreamSets;
}

/** Creates the parts of the engine and connects them. */
function connectParts(options: ControllerOptions): Parts {
  const conflicts = new IdConflicts();
  const queue = new EngineQueue({ ...options, run: (work, signal) => dispatch(reconcilers, work, signal) });
  const enqueueConnection = (name: string) => queue.addConnection(name);
  const sessions: Connections = new Connections({
    ...options,
    onList: (name, report) => gatewayEvents.listed(name, report),
    onLateWrite: (name, id, observed) => gatewayEvents.lateWrite(name, id, observed),
    onConfirmation: (name, id) => gatewayEvents.confirmed(name, id),
    isWanted: (name, id) => gatewayEvents.isWanted(name, id),
    onState: (name, scope) => gatewayEvents.stateChanged(name, scope),
    setConcurrency: (name, concurrency) => queue.setGatewayConcurrency(name, concurrency),
    onDeleted: (name) => queue.releaseGateway(name),
  });
  const connectionState = (name: string) => sessions.state(name);
  const snapshot = snapshotOf(options, sessions, conflicts);
  const verifier = new DataPlaneVerifier({
    ...options,
    readerOf: (name) => sessions.session(name)?.dataPlanes,
    onChange: enqueueConnection,
  });
  const orphans = new OrphanCollector({ ...options, connectionState });
  const gatewayEvents = new GatewayEvents({
    ...options,
    connectionState,
    conflicts,
    queue,
    verifier,
    orphans,
  });
  const finalizers = new Finalizers({
    ...options,
    enqueue: (key, isUrgent) => queue.addFinalizer(key, isUrgent),
    onFailureReported(object) {
      if ('connection' in object) return queue.addUpstream(object, PRIORITY.spec);
      gatewayEvents.stateChanged(object.name, 'everything');
    },
  });
  const upstreamSets = new UpstreamSets({
    ...options,
    enqueueSet: (name) => queue.addSet(name),
    enqueueMember: (set, key, priority) => queue.addMember(set, key, priority),
    onUnused: (set) => queue.releaseMembers(set),
  });
  const deps = { ...options, ...snapshot, connectionState, finalizers, verifier, orphans, enqueueConnection };
  const reconcilers: Reconcilers = {
    upstream: createUpstreamReconciler(deps),
    connection: createConnectionReconciler({ ...deps, vendorOf: options.vendorOf }),
    registry: createRegistryReconciler(options),
    finalizers,
    orphans,
    upstreamSets,
    gatewayEvents,
    queue,
  };
  const tracker = new Tracker({ ...options, conflicts, verifier, queue });
  const watches = new Watches({ ...options, conflicts, queue, tracker, sessions, verifier });
  return { queue, sessions, verifier, snapshot, watches, upstreamSets };
}

/** The input of decisions: the stores, the known content of gateways, and state from earlier reconciles. */
function snapshotOf(options: ControllerOptions, sessions: Connections, conflicts: IdConflicts): Snapshot {
  const { states, clock } = options;
  return {
    ...options,
    gatewayInfo: (connection) => sessions.info(connection),
    conflicts,
    contentOf: (connection, id) => {
      const session = sessions.session(connection);
      return session?.listed === true ? { known: true, observed: session.peek(id) } : { known: false };
    },
    recall: (key) => states.recall(key),
    lastAnswers: (key) => states.lastAnswers(key),
    now: () => clock.now(),
  };
}

interface Reconcilers {
  readonly upstream: ReturnType<typeof createUpstreamReconciler>;
  readonly connection: ReturnType<typeof createConnectionReconciler>;
  readonly registry: ReturnType<typeof createRegistryReconciler>;
  readonly finalizers: Finalizers;
  readonly orphans: OrphanCollector;
  readonly upstreamSets: UpstreamSets;
  readonly gatewayEvents: GatewayEvents;
  readonly queue: EngineQueue;
}

async function dispatch(reconcilers: Reconcilers, work: Work, signal: AbortSignal): Promise<Result> {
  switch (work.kind) {
    case 'upstream':
      return await reconcilers.upstream(work.key, signal);
    case 'finalizer':
      return await reconcilers.finalizers.add(work.key, signal);
    case 'connection':
      return await reconcilers.connection(work.name, signal);
    case 'orphan': {
      const { orphans, gatewayEvents, queue } = reconcilers;
      await orphans.remove(work.connection, work.id, signal);
      if (gatewayEvents.isBeingDeleted(work.connection)) queue.addConnection(work.connection);
      return { kind: 'done' };
    }
    case 'registry':
      return reconcilers.registry(work.name);
    case 'set':
      return reconcilers.upstreamSets.reconcile(work.name);
    case 'member':
      return await reconcilers.upstreamSets.reconcileMember(work.set, work.key, signal);
    default:
      return work satisfies never;
  }
}
