import {
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
  SERVICE_REGISTRY,
} from '../../api/crd.ts';
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

/** How the status of a kind changes when no operator maintains it any more. */
interface StatusChange {
  readonly kind: CustomKind;
  readonly plural: string;
  readonly message: string;
  /** Conditions that become Unknown. The others are unchanged. */
  readonly unknown: readonly string[];
  /** Conditions to remove: they are present only while the operator is doing something. */
  readonly ended: readonly string[];
  /** Fields to remove: they show what the operator last observed. The next operator needs the other fields. */
  readonly stale: readonly string[];
}

const REMEDY = 'Install the operator again, or delete this object';

const STATUS_CHANGES = {
  upstreams: {
    kind: 'GatewayUpstream',
    plural: GATEWAY_UPSTREAM.plural,
    message: `The operator was uninstalled. The upstream stays in the gateway but is no longer updated. ${REMEDY}`,
    unknown: ['Ready', 'ResolvedRefs', 'Programmed'],
    ended: ['RemovalHeld'],
    stale: ['endpoints', 'excluded', 'plan', 'dataPlanes', 'warnings'],
  },
  connections: {
    kind: 'GatewayConnection',
    plural: GATEWAY_CONNECTION.plural,
    message: `The operator was uninstalled. It no longer writes to or checks this gateway. ${REMEDY}`,
    unknown: ['Ready', 'Reachable', 'Authorized'],
    ended: [],
    stale: ['upstreams', 'dataPlanes'],
  },
  sets: {
    kind: 'GatewayUpstreamSet',
    plural: GATEWAY_UPSTREAM_SET.plural,
    message: `The operator was uninstalled. It no longer creates or deletes GatewayUpstreams for this set. ${REMEDY}`,
    unknown: ['Ready'],
    ended: ['PruningHeld'],
    stale: ['services', 'ports', 'upstreams', 'problems', 'moreProblems', 'pruning'],
  },
  registries: {
    kind: 'ServiceRegistry',
    plural: SERVICE_REGISTRY.plural,
    message: `The operator was uninstalled. It no longer asks this registry. ${REMEDY}`,
    unknown: ['Ready', 'Reachable', 'Authorized'],
    ended: [],
    stale: ['users', 'followedServices'],
  },
} as const satisfies Record<string, StatusChange>;

type MaintainedObjects = Readonly<Record<keyof typeof STATUS_CHANGES, readonly Stored[]>>;

interface RawObject {
  readonly metadata: { readonly uid: string; readonly generation?: number };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly [field: string]: unknown };
}

/**
 * Reports in the status of `objects` that no operator maintains them any more. No operator may write the status at the same
 * time. Prints what the API server rejects. Rejects with `KubeApiError`.
 */
export async function markUninstalled(
  {
    transport,
    clock,
    print,
  }: { readonly transport: KubeTransport; readonly clock: Clock; readonly print: (line: string) => void },
  objects: MaintainedObjects,
  signal: AbortSignal,
): Promise<void> {
  const writer = createObjectWriter(transport);
  for (const [name, change] of Object.entries(STATUS_CHANGES) as [keyof MaintainedObjects, StatusChange][]) {
    const objectsByUid = new Map(objects[name].map((object) => [object.uid, object]));
    if (objectsByUid.size === 0) continue;
    const path = resourcePath({ group: GROUP, version: VERSION, plural: change.plural });
    // Raw objects, so that fields that this version does not know are kept.
    const raw = (await listAll(transport, path, {}, signal)) ?? [];
    const rejected: string[] = [];
    for (const object of raw as readonly RawObject[]) {
      const stored = objectsByUid.get(object.metadata.uid);
      if (stored === undefined) continue;
      const status = markedStatus(name, object, kubeTime(clock.now()));
      try {
        await writer.applyStatus(change.kind, stored, status, signal);
      } catch (error) {
        // 422: the object violates a newer version of the CRD.
        if (!(error instanceof KubeApiError && (error.status === 403 || error.status === 422))) throw error;
        rejected.push(error.message);
        if (error.status === 403) break;
      }
    }
    if (rejected.length > 0) print(`The status of some ${change.kind}s could not be updated: ${rejected[0]}`);
  }
}

/** The status of an object that no operator maintains any more. Pure. */
export function markedStatus(
  name: keyof MaintainedObjects,
  { metadata, status = {} }: RawObject,
  now: string,
): object {
  const { unknown, ended, stale, message }: StatusChange = STATUS_CHANGES[name];
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
