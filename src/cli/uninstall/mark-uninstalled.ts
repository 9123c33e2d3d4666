import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../../api/crd.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import type { Condition } from '../../api/schema.ts';
import { kubeTime, nextConditions, progressConditions } from '../../decide/status.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { listAll } from '../../kube/list-all.ts';
import { type CustomKind, createObjectWriter } from '../../kube/object-writer.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Stored } from '../../model/store-view.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Clock } from '../../runtime/clock.ts';

interface Mark {
  readonly kind: CustomKind;
  readonly plural: string;
  readonly message: string;
  /** Conditions that nobody can vouch for any more; the others stay as they are. */
  readonly unknown: readonly string[];
  /** Conditions that are present only while the operator does something: it does it no more. */
  readonly ended: readonly string[];
  /** Fields that tell what the operator saw last. The others are facts that the next operator reads. */
  readonly stale: readonly string[];
}

const NEXT = 'Install the operator again, or delete this object';

const MARKS = {
  upstreams: {
    kind: 'GatewayUpstream',
    plural: GATEWAY_UPSTREAM.plural,
    message: `The operator was uninstalled: the upstream no longer follows its backends, and stays in the gateway as it is. ${NEXT}`,
    unknown: ['Ready', 'ResolvedRefs', 'Programmed'],
    ended: ['RemovalHeld'],
    stale: ['endpoints', 'excluded', 'plan', 'dataPlanes', 'warnings'],
  },
  connections: {
    kind: 'GatewayConnection',
    plural: GATEWAY_CONNECTION.plural,
    message: `The operator was uninstalled: it no longer writes or checks this gateway. ${NEXT}`,
    unknown: ['Ready', 'Reachable', 'Authorized'],
    ended: [],
    stale: ['upstreams', 'dataPlanes'],
  },
  sets: {
    kind: 'GatewayUpstreamSet',
    plural: GATEWAY_UPSTREAM_SET.plural,
    message: `The operator was uninstalled: it no longer creates or deletes the GatewayUpstreams of this set. ${NEXT}`,
    unknown: ['Ready'],
    ended: ['PruningHeld'],
    stale: ['services', 'ports', 'upstreams', 'problems', 'moreProblems', 'pruning'],
  },
} as const satisfies Record<string, Mark>;

type Marked = Readonly<Record<keyof typeof MARKS, readonly Stored[]>>;

interface RawObject {
  readonly metadata: { readonly uid: string; readonly generation?: number };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly [field: string]: unknown };
}

/**
 * Says in the status of `objects` that no operator maintains them any more. Nothing else may write it meanwhile; the next
 * operator replaces it. What the API server refuses is said. Rejects with `KubeApiError`.
 */
export async function markUninstalled(
  {
    transport,
    clock,
    print,
  }: { readonly transport: KubeTransport; readonly clock: Clock; readonly print: (line: string) => void },
  objects: Marked,
  signal: AbortSignal,
): Promise<void> {
  const writer = createObjectWriter(transport);
  for (const [name, mark] of Object.entries(MARKS) as [keyof Marked, Mark][]) {
    const wanted = new Map(objects[name].map((object) => [object.uid, object]));
    if (wanted.size === 0) continue;
    const path = resourcePath({ group: GROUP, version: VERSION, plural: mark.plural });
    // As the API server has them: a field that this version does not know stays.
    const raw = (await listAll(transport, path, {}, signal)) ?? [];
    const refused: string[] = [];
    for (const object of raw as readonly RawObject[]) {
      const stored = wanted.get(object.metadata.uid);
      if (stored === undefined) continue;
      const status = markedStatus(name, object, kubeTime(clock.now()));
      try {
        await writer.applyStatus(mark.kind, stored, status, signal);
      } catch (error) {
        // 422: an object that a newer CRD would not accept.
        if (!(error instanceof KubeApiError && (error.status === 403 || error.status === 422))) throw error;
        refused.push(error.message);
        if (error.status === 403) break;
      }
    }
    if (refused.length > 0) print(`The status of some ${mark.kind}s stays as it was: ${refused[0]}`);
  }
}

/** The status of an object that no operator maintains any more. */
export function markedStatus(name: keyof Marked, { metadata, status = {} }: RawObject, now: string): object {
  const { unknown, ended, stale, message }: Mark = MARKS[name];
  const { conditions: before = [], ...fields } = status;
  const verdict: Verdict = { status: 'Unknown', reason: 'OperatorUninstalled', message };
  const types = unknown.filter((type) => type === 'Ready' || before.some((one) => one.type === type));
  const replaced = new Set([...types, ...ended, 'Reconciling', 'Stalled']);
  return {
    ...Object.fromEntries(Object.entries(fields).filter(([field]) => !stale.includes(field))),
    conditions: [
      ...nextConditions(
        before,
        [...types.map((type) => [type, verdict] as const), ...progressConditions(verdict)],
        metadata.generation ?? 0,
        () => now,
      ),
      ...before.filter(({ type }) => !replaced.has(type)),
    ],
  };
}
