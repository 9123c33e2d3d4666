import { setImmediate as nextTurn } from 'node:timers/promises';
import { buildDesired } from '../decide/build-desired.ts';
import { describeChange, formatPlace } from '../decide/diff.ts';
import { planChange } from '../decide/plan-change.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import { OperatorError } from '../model/errors.ts';
import { keyOf } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Logger } from '../runtime/logger.ts';
import type { ConnectionState } from './connection/connections.ts';
import type { RegistryReader } from './registry/deps.ts';

export interface DebugStateDeps extends Snapshot {
  readonly connectionState: (name: string) => ConnectionState;
  /** Absent if ServiceRegistries are not watched. */
  readonly registryReader?: RegistryReader;
  readonly log: Logger;
}

/** Objects evaluated before the event loop runs other work. */
const BATCH_SIZE = 50;
const MAX_CHANGES = 20;

/**
 * The desired state, the last observed state, and the planned change of every connection and object, and the state of registries. Reads memory only and
 * sends no request. For a gateway's content it lists nodes and the names of differing fields, never keys or field values.
 */
export async function debugState(deps: DebugStateDeps): Promise<object> {
  const upstreams: object[] = [];
  for (const object of [...deps.upstreams.list()]) {
    upstreams.push(upstreamState(deps, object));
    if (upstreams.length % BATCH_SIZE === 0) await nextTurn();
  }
  const connections = [...deps.connections.list()].map(({ name, status }) => ({
    name,
    ...sessionState(deps.connectionState(name)),
    conditions: status?.conditions,
  }));
  return { connections, ...registriesState(deps), upstreams };
}

function registriesState({ registries, registryReader, upstreams }: DebugStateDeps): object {
  if (registries === undefined) return {};
  const states = [...registries.list()].map(({ name, spec, status }) => ({
    name,
    ...(spec.ok ? { type: spec.value.type } : { problem: spec.message }),
    ...registryReader?.facts(name),
    users: upstreams.byIndex('registry', name).length,
    conditions: status?.conditions,
  }));
  return { registries: states };
}

function sessionState(state: ConnectionState): object {
  if (state.kind === 'unusable') return state;
  const { session } = state;
  return {
    kind: session.state.kind,
    ...(session.state.kind === 'failing'
      ? { reason: session.state.error.reason, message: session.state.error.message }
      : {}),
    writeRefused: session.writeRefused?.message,
    version: session.info?.version,
    listed: session.listed,
    ids: session.ids,
  };
}

function upstreamState(deps: DebugStateDeps, object: GatewayUpstream): object {
  const { namespace, name, connection, generation, deletionTimestamp, status } = object;
  const about = { namespace, name, connection, generation, deletionTimestamp };
  const reported = { observedGeneration: status?.observedGeneration, conditions: status?.conditions };
  try {
    return { ...about, ...evaluate(deps, object), said: reported };
  } catch (error) {
    return { ...about, problem: problemOf(deps, object, error), said: reported };
  }
}

/** An object that cannot be evaluated must not hide the others. */
function problemOf({ log }: DebugStateDeps, { namespace, name }: GatewayUpstream, error: unknown): object {
  // As in the reconciler: a driver may reject content that its gateway cannot represent.
  if (error instanceof OperatorError) return { reason: error.reason, message: error.message };
  log.error({ err: error, namespace, name }, 'evaluating an object for /debug/state failed');
  return {
    reason: 'InternalError',
    message: 'the object cannot be evaluated: see the log of the operator',
  };
}

function evaluate(deps: DebugStateDeps, object: GatewayUpstream): object {
  const evaluation = buildDesired(deps, object);
  const remembered = deps.recall(keyOf(object));
  const memory = remembered && {
    isSettling: remembered.isSettling,
    lost: remembered.lost,
  };
  if (evaluation.kind === 'refused') return { accepted: evaluation.accepted, guard: { memory } };
  const { id, accepted, desired } = evaluation;
  const base = {
    upstreamId: id,
    accepted,
    resolvedRefs: desired.resolvedRefs,
    ready: desired.ready,
    desired: { action: desired.action, nodes: nodeTexts(desired.upstream.nodes) },
  };
  const state = deps.connectionState(object.connection);
  const content = deps.contentOf(object.connection, id);
  if (state.kind !== 'usable' || !content.known) return { ...base, observed: 'unknown', guard: { memory } };
  const { observed } = content;
  const { change, ownership, canonical, guard } = planChange(deps, evaluation, object, observed, (upstream) =>
    state.session.canonical(upstream),
  );
  return {
    ...base,
    observed: observed === undefined ? 'nothing' : { ownership, nodes: nodeTexts(observed.nodes) },
    change: { kind: change.kind, ...describeChange(change, canonical, MAX_CHANGES) },
    guard: { memory, held: guard && { ...guard, held: nodeTexts(guard.held.map(({ node }) => node)) } },
  };
}

function nodeTexts(nodes: readonly UpstreamNode[]): readonly string[] {
  return nodes.map((node) => `${formatPlace(node)} weight ${node.weight} priority ${node.priority}`);
}
