import { UPSTREAM_FINALIZER } from '../../api/group.ts';
import { belongingOf } from '../../decide/belonging.ts';
import { buildDesired, type DesiredState, isWithdrawn } from '../../decide/build-desired.ts';
import { type DeletionPlan, deletionPlanOf, type EndChange, planDeletion } from '../../decide/deletion.ts';
import { type FieldChange, fieldChanges, type NodeChange, nodeChanges } from '../../decide/diff.ts';
import { markedObject } from '../../decide/ownership.ts';
import { planChange } from '../../decide/plan-change.ts';
import type { Snapshot } from '../../decide/snapshot.ts';
import { kubeTime } from '../../decide/status.ts';
import { compareText, splitKey } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { ObservedUpstream, Upstream, UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import { createKubernetesSource } from '../../sources/kubernetes/source.ts';
import { combineSources } from '../../sources/sources.ts';
import { conflictsOf } from './kinds.ts';
import { createNodeReasons } from './node-reasons.ts';
import type { GatewayListing, Plan, PlanInput, PlannedGateway, PlannedUpstream } from './planned.ts';
import { missingRegistries, plannedRegistries } from './planned-registries.ts';
import type { RegistryAnswers } from './registry-answers.ts';
import { withoutSecrets } from './without-secrets.ts';

/** The changes that `run` would make for this cluster and these gateways. Pure. */
export function makePlan(input: PlanInput): Plan {
  const { stores, gateways, only } = input;
  const snapshot = snapshotOf(input);
  const upstreams = [...stores.upstreams.list()].map((object) =>
    planObject(snapshot, object, { listing: gateways.get(object.connection), registries: input.registries }),
  );
  for (const connection of stores.connections.list()) {
    upstreams.push(...planOrphans(snapshot, connection, gateways.get(connection.name)));
  }
  const shown = upstreams
    .filter(({ object }) => isSelected(only, object))
    .sort(inOrder)
    .map(withFieldsInOrder);
  const count = (action: PlannedUpstream['action']) =>
    shown.filter((upstream) => upstream.action === action).length;
  return {
    summary: {
      create: count('Create'),
      update: count('Update'),
      delete: count('Delete'),
      none: count('None'),
      observe: count('Observe'),
      unknown: count('Unknown'),
      problems: shown.filter(({ conditions }) => conditions.some(({ status }) => status !== 'True')).length,
    },
    gateways: [...gateways]
      .map(
        ([connection, listing]): PlannedGateway =>
          listing.kind === 'listed'
            ? { connection, known: true }
            : { connection, known: false, message: listing.message },
      )
      .sort((a, b) => compareText(a.connection, b.connection)),
    registries: plannedRegistries(input.registries),
    upstreams: shown,
  };
}

/** The snapshot of an operator that has just started, without any state of its own. */
function snapshotOf(input: PlanInput): Snapshot {
  const { catalog, stores, onlyNamespaces, clusterId, gateways, registries, now } = input;
  return {
    ...stores,
    onlyNamespaces,
    clusterId,
    vendorOf: catalog.vendor,
    conflicts: conflictsOf(stores),
    source: combineSources({
      Kubernetes: createKubernetesSource(stores),
      ...(registries === undefined ? {} : { Registry: registries.source }),
    }),
    contentOf: (connection, id) => {
      const listing = gateways.get(connection);
      return listing?.kind === 'listed'
        ? { known: true, observed: listing.upstreams.get(id) }
        : { known: false };
    },
    gatewayInfo: ({ name }) => {
      const listing = gateways.get(name);
      return listing?.kind === 'listed' ? listing.info : {};
    },
    recall: () => undefined,
    now: () => now,
  };
}

function planObject(
  snapshot: Snapshot,
  object: GatewayUpstream,
  {
    listing,
    registries,
  }: { readonly listing: GatewayListing | undefined; readonly registries: RegistryAnswers | undefined },
): PlannedUpstream {
  if (object.deletionTimestamp !== undefined) return planDeletedObject(snapshot, object, listing);
  const evaluation = buildDesired(snapshot, object);
  if (evaluation.kind === 'refused') {
    return {
      ...emptyEntry(object),
      why: 'The object is not accepted, so the upstream in the gateway is unchanged',
      conditions: [{ type: 'Accepted', ...evaluation.accepted }],
    };
  }
  if (listing?.kind !== 'listed') return unknown(object, evaluation.id);
  const planned = planEvaluated(snapshot, object, evaluation, listing);
  const missing = missingRegistries(evaluation, registries);
  if (missing.length === 0) return planned;
  // A running operator may have had an answer. What it keeps and writes is not known here.
  return {
    ...emptyEntry(object),
    upstreamId: evaluation.id,
    action: 'Unknown',
    why: `No complete answer of ${missing.map((name) => `ServiceRegistry ${name}`).join(', ')}`,
    conditions: planned.conditions,
  };
}

function planEvaluated(
  snapshot: Snapshot,
  object: GatewayUpstream,
  evaluation: Extract<DesiredState, { kind: 'evaluated' }>,
  { upstreams, canonical: canonicalOf }: Extract<GatewayListing, { kind: 'listed' }>,
): PlannedUpstream {
  const { id, accepted, spec, backends } = evaluation;
  const observed = upstreams.get(id);
  const { change, canonical, desired, guard } = planChange(
    snapshot,
    evaluation,
    object,
    observed,
    canonicalOf,
  );
  const reasons = createNodeReasons(accepted, backends);
  const entry = {
    ...emptyEntry(object),
    upstreamId: id,
    conditions: conditionsOf(accepted, desired.resolvedRefs, desired.ready),
    ...(guard === undefined
      ? {}
      : {
          held: {
            nodes: guard.held.map(({ node }) => ({ ...node, why: reasons.removed(node) })),
            since: kubeTime(guard.since),
            ...(guard.until === undefined ? {} : { until: kubeTime(guard.until) }),
          },
        }),
  };
  switch (change.kind) {
    case 'none':
      return { ...entry, why: whyNothing(observed, canonical, accepted) };
    case 'blocked':
      return {
        ...entry,
        why:
          change.programmed.reason === 'UpstreamNotFound'
            ? 'The upstream does not exist in the gateway, and another client must create it (manage Nodes)'
            : 'This object does not own the upstream',
        conditions: [...entry.conditions, { type: 'Programmed', ...change.programmed }],
      };
    case 'create':
    case 'update':
    case 'updateNodes': {
      const before = change.kind === 'create' ? undefined : change.observed;
      const does = change.kind === 'create' ? 'Create' : 'Update';
      return {
        ...entry,
        ...differences(before, change.desired, canonical, reasons.of),
        action: spec.syncPolicy === 'Observe' && !isWithdrawn(evaluation) ? 'Observe' : does,
        why: whyWritten(change.kind === 'update' ? change.from : change.kind, accepted),
      };
    }
    default:
      return change satisfies never;
  }
}

/** Plans the deletion of the upstream of an object that is being deleted. */
function planDeletedObject(
  snapshot: Snapshot,
  object: GatewayUpstream,
  listing: GatewayListing | undefined,
): PlannedUpstream {
  const entry = emptyEntry(object);
  const deletion = deletionFor(snapshot, object);
  if (deletion.kind === 'nothing') {
    return { ...entry, why: 'The object is being deleted, and it owns no upstream in the gateway' };
  }
  const { id } = deletion;
  const named = id === undefined ? entry : { ...entry, upstreamId: id };
  if (deletion.kind === 'left') {
    return { ...named, why: `The object is being deleted, and its upstream is retained: ${deletion.why}` };
  }
  if (listing?.kind !== 'listed') return unknown(object, deletion.id);
  const observed = listing.upstreams.get(deletion.id);
  const change = planDeletion(snapshot, object, deletion, observed);
  switch (change.kind) {
    case 'none':
      return {
        ...named,
        why:
          deletion.policy === 'Orphan'
            ? 'The object is being deleted, and its upstream is retained'
            : 'The object is being deleted, and it owns no upstream in the gateway',
      };
    case 'mark':
      return {
        ...named,
        fields: markChanges(snapshot, object, change),
        action: 'Update',
        why: 'The object is being deleted, and its upstream is retained with a label that marks it as orphaned (deletionPolicy Orphan)',
      };
    case 'delete':
      return {
        ...named,
        ...deletionEntry(change.observed),
        why:
          change.references === 'ignore'
            ? 'The object is being deleted. Its upstream is deleted even if a route uses it (deletionPolicy Force)'
            : 'The object is being deleted. Its upstream is deleted as soon as no route uses it',
      };
    default:
      return change satisfies never;
  }
}

/** The change of the ownership labels of an orphaned upstream, in the gateway's format. */
function markChanges(
  { connections, vendorOf }: Snapshot,
  { connection }: GatewayUpstream,
  { observed, owner }: Extract<EndChange, { kind: 'mark' }>,
): readonly FieldChange[] {
  const spec = connections.get('', connection)?.spec;
  if (spec?.ok !== true) return [];
  const { keptIn, encode } = vendorOf(spec.value.type).ownership;
  const before = { ...observed.labels, ...(observed.owner && encode(observed.owner)) };
  return [{ field: keptIn, before, after: { ...before, ...encode(owner) } }];
}

/** Upstreams that orphan collection would delete, because their objects no longer exist. */
function planOrphans(
  snapshot: Snapshot,
  { name: connection, status }: GatewayConnection,
  listing: GatewayListing | undefined,
): readonly PlannedUpstream[] {
  if (listing?.kind !== 'listed') return [];
  const retained = new Set([...(status?.leftBehind ?? []), ...retainedIds(snapshot, connection)]);
  return [...listing.upstreams.values()]
    .filter(
      (observed) => !retained.has(observed.id) && belongingOf(snapshot, connection, observed) === 'orphaned',
    )
    .map((observed) => ({
      ...deletionEntry(observed),
      connection,
      upstreamId: observed.id,
      object: splitKey(markedObject(observed)),
      why: 'The object that owned the upstream no longer exists. Orphan collection deletes the upstream unless a route uses it',
      conditions: [],
    }));
}

/** Ids of the upstreams that objects retain when they are deleted. */
function retainedIds(snapshot: Snapshot, connection: string): readonly UpstreamId[] {
  return [...snapshot.upstreams.list()].flatMap((object) => {
    if (object.connection !== connection || object.deletionTimestamp === undefined) return [];
    const deletion = deletionFor(snapshot, object);
    return deletion.kind === 'left' && deletion.id !== undefined ? [deletion.id] : [];
  });
}

/** An object without our finalizer is deleted at once, so the operator cannot change its upstream. */
function deletionFor(snapshot: Snapshot, object: GatewayUpstream): DeletionPlan {
  return object.finalizers.includes(UPSTREAM_FINALIZER)
    ? deletionPlanOf(snapshot, object)
    : { kind: 'nothing' };
}

function emptyEntry(object: GatewayUpstream): Omit<PlannedUpstream, 'why'> {
  const { connection, namespace, name } = object;
  return { connection, object: { namespace, name }, action: 'None', nodes: [], fields: [], conditions: [] };
}

function unknown(object: GatewayUpstream, id: UpstreamId): PlannedUpstream {
  return {
    ...emptyEntry(object),
    upstreamId: id,
    action: 'Unknown',
    why: 'The upstreams of the gateway could not be read',
  };
}

function deletionEntry(observed: ObservedUpstream): Pick<PlannedUpstream, 'action' | 'nodes' | 'fields'> {
  return { action: 'Delete', nodes: nodeChanges(observed.nodes, []), fields: [] };
}

function differences(
  before: ObservedUpstream | undefined,
  after: Upstream,
  canonical: string,
  whyOf: (change: NodeChange) => string | undefined,
): Pick<PlannedUpstream, 'nodes' | 'fields'> {
  return {
    nodes: nodeChanges(before?.nodes ?? [], after.nodes).map((change) => {
      const why = whyOf(change);
      return why === undefined ? change : { ...change, why };
    }),
    fields: fieldChanges(before?.canonical, canonical).map(withoutSecrets),
  };
}

function whyNothing(observed: ObservedUpstream | undefined, canonical: string, accepted: Verdict): string {
  if (observed?.canonical === canonical) return 'The gateway already has this configuration';
  if (accepted.status !== 'True') return 'The object is not accepted';
  return observed === undefined
    ? 'No backend is resolved, so no upstream is created'
    : "The gateway's current configuration is unchanged";
}

function whyWritten(
  what: 'create' | 'updateNodes' | 'ours' | 'stripped' | 'unowned',
  accepted: Verdict,
): string {
  if (accepted.status !== 'True')
    return 'The object is no longer accepted, so the operator removes all nodes from its upstream';
  switch (what) {
    case 'create':
      return 'The upstream does not exist in the gateway';
    case 'ours':
      return 'The upstream in the gateway differs';
    case 'updateNodes':
      return 'The nodes in the gateway differ. Other fields are not managed (manage Nodes)';
    case 'stripped':
      return 'Another client replaced the upstream and removed its ownership labels';
    case 'unowned':
      return 'The upstream has no owner, and this object takes it over (adoptionPolicy IfUnowned)';
    default:
      return what satisfies never;
  }
}

function conditionsOf(
  accepted: Verdict,
  resolvedRefs: Verdict,
  ready: Verdict,
): PlannedUpstream['conditions'] {
  if (accepted.status !== 'True') return [{ type: 'Accepted', ...accepted }];
  if (resolvedRefs.status !== 'True') return [{ type: 'ResolvedRefs', ...resolvedRefs }];
  return ready.reason === 'Ready' ? [] : [{ type: 'Ready', ...ready }];
}

/** Orders the fields for the JSON and YAML output. */
function withFieldsInOrder(upstream: PlannedUpstream): PlannedUpstream {
  const { connection, upstreamId, object, action, why, nodes, fields, held, conditions } = upstream;
  return {
    connection,
    ...(upstreamId === undefined ? {} : { upstreamId }),
    object,
    action,
    why,
    nodes,
    fields,
    ...(held === undefined ? {} : { held }),
    conditions,
  };
}

function isSelected(only: readonly string[], { namespace, name }: PlannedUpstream['object']): boolean {
  return only.length === 0 || only.includes(namespace) || only.includes(`${namespace}/${name}`);
}

function inOrder(a: PlannedUpstream, b: PlannedUpstream): number {
  return (
    compareText(a.connection, b.connection) ||
    compareText(a.object.namespace, b.object.namespace) ||
    compareText(a.object.name, b.object.name) ||
    compareText(a.upstreamId ?? '', b.upstreamId ?? '')
  );
}
